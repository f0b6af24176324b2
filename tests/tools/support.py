# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's table of what was tested: `make support`, after a run of `make test` or `make molecule`.

Takes each scenario's result from the book of that run (tests/output/steps.jsonl) or, with --summary FILE --date DATE,
from what such a run printed; keeps it in docs/tested.json; and writes the table from that. A result stands
until the same scenario runs again on the same kernel.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
MOLECULE = CHECKOUT / 'extensions/molecule'
BOOK = CHECKOUT / 'tests/output/steps.jsonl'
TESTED = CHECKOUT / 'docs/tested.json'
README = CHECKOUT / 'README.md'
BEGIN, END = '<!-- what `make support` writes -->', '<!-- end of what it writes -->'
STEP = re.compile(r'molecule (?P<scenario>\w+)(?: on (?P<kernels>[\w. -]+)|, its own guest)')
PRINTED = (re.compile(r'[\d.]+ s +(?P<passed>\d+) passed +(?P<failed>\d+) failed +(?P<name>molecule .+)'),
           re.compile(r'== (?P<name>molecule .+): (?P<passed>\d+) passed, (?P<failed>\d+) failed in [\d.]+ s'))
OWN_KERNELS = re.compile(r'KMOD_KERNELS: "?([^"\n]+)"?')
PRETTY_NAME = re.compile(r'^PRETTY_NAME="?([^"\n]+)', re.MULTILINE)
NOT_SCENARIOS = ('create',)


class Result(NamedTuple):
    """What came of one scenario on one kernel."""

    scenario: str
    kernel: str
    passed: bool
    date: str


def kernels_of(scenario: str, named: str) -> List[str]:
    """The kernels that a step ran on: those that its name has, or those of the scenario's own guests."""
    if not named:
        found = OWN_KERNELS.search((MOLECULE / scenario / 'molecule.yml').read_text(encoding='utf-8'))
        if found is None:
            raise SystemExit(f'{scenario} names no KMOD_KERNELS in its molecule.yml.')
        named = found.group(1)
    names = [re.sub(r'^bare-|_\w+$', '', word) for word in named.split() if word != 'and']
    return sorted(set(names), key=names.index)


def of_step(name: str, passed: bool, date: str) -> Iterator[Result]:
    """The results that a step of the book stands for; none if it is no scenario."""
    step = STEP.fullmatch(name.strip())
    if step and step['scenario'] not in NOT_SCENARIOS:
        for kernel in kernels_of(step['scenario'], step['kernels'] or ''):
            yield Result(step['scenario'], kernel, passed, date)


def of_book(text: str) -> Iterator[Result]:
    """The results in a book of steps."""
    for line in text.splitlines():
        entry = json.loads(line)
        yield from of_step(entry['name'], entry['passed'] > 0 and not entry['failed'], entry['date'])


def of_summary(text: str, date: str) -> Iterator[Result]:
    """The results in what a run printed, as each step ended or all of them at its end."""
    for line in text.splitlines():
        for step in filter(None, (pattern.search(line) for pattern in PRINTED)):
            yield from of_step(step['name'], step['passed'] != '0' and step['failed'] == '0', date)


def host(kernel: str) -> Dict[str, str]:
    """What the lab's image of a kernel is: its release, distribution and Python."""
    done = subprocess.run([sys.executable, 'tests/lab', 'rootfs', kernel], cwd=CHECKOUT, stdout=subprocess.PIPE,
                          text=True, timeout=60, check=True)
    rootfs = Path(done.stdout.strip())
    named = PRETTY_NAME.search((rootfs / 'etc/os-release').read_text(encoding='utf-8'))
    (release,) = (path.name for path in (rootfs / 'lib/modules').iterdir())
    return {'release': release, 'distribution': named.group(1) if named else 'not known',
            'python': (rootfs / 'usr/bin/python3').readlink().name.replace('python', '')}


def merged(tested: Dict[str, Any], results: Iterator[Result]) -> Dict[str, Any]:
    """What is kept, with these results in place of those of the same scenario and kernel."""
    kept = {kernel: {**entry, 'scenarios': dict(entry['scenarios'])} for kernel, entry in tested.items()}
    for result in results:
        entry = kept.setdefault(result.kernel, {'scenarios': {}})
        entry['scenarios'][result.scenario] = {'passed': result.passed, 'date': result.date}
    return kept


def by_version(kernel: str) -> List[int]:
    """Sorts 6.12 behind 6.1."""
    return [int(part) for part in re.findall(r'\d+', kernel)]


def table(tested: Dict[str, Any]) -> str:
    """The table, in Markdown."""
    lines = ['| host | kernel | Python there | passed | last run |', '| --- | --- | --- | --- | --- |']
    for kernel in sorted(tested, key=by_version):
        entry = tested[kernel]
        passed = sorted(name for name, result in entry['scenarios'].items() if result['passed'])
        failed = sorted(name for name, result in entry['scenarios'].items() if not result['passed'])
        cell = ', '.join(f'`{name}`' for name in passed)
        if failed:
            cell += '; FAILED: ' + ', '.join(f'`{name}`' for name in failed)
        dates = [result['date'] for result in entry['scenarios'].values()]
        lines.append(f'| {entry["distribution"]} | {entry["release"]} | {entry["python"]} | {cell} | {max(dates)} |')
    return '\n'.join(lines)


def with_table(readme: str, tested: Dict[str, Any]) -> str:
    """The README with the table of now."""
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f'README.md has no place for the table: {BEGIN} ... {END}')
    return f'{before}{BEGIN}\n{table(tested)}\n{END}{after}'


def main() -> None:
    """Keeps the results of the last run and writes the table."""
    parser = argparse.ArgumentParser(description='The README\'s table of what was tested.')
    parser.add_argument('--summary', type=Path, help='what a run printed, in place of the book of the last one here')
    parser.add_argument('--date', default='', help='of that run, as in 2026-11-22')
    arguments = parser.parse_args()
    if arguments.summary:
        if not re.fullmatch(r'\d{4}-\d\d-\d\d', arguments.date):
            parser.error('--summary needs the --date of its run, as in 2026-11-22')
        results = list(of_summary(arguments.summary.read_text(encoding='utf-8'), arguments.date))
    elif BOOK.exists():
        results = list(of_book(BOOK.read_text(encoding='utf-8')))
    else:
        raise SystemExit(f'There is no {BOOK}: run `make test` or `make molecule` first.')
    tested = merged(json.loads(TESTED.read_text(encoding='utf-8')) if TESTED.exists() else {}, iter(results))
    for kernel in {result.kernel for result in results}:
        tested[kernel].update(host(kernel))
    TESTED.write_text(json.dumps(tested, indent=1, sort_keys=True) + '\n', encoding='utf-8')
    README.write_text(with_table(README.read_text(encoding='utf-8'), tested), encoding='utf-8')
    print(table(tested))
    print(f'{len(results)} results taken, {sum(not result.passed for result in results)} of them failures.')


if __name__ == '__main__':
    main()
