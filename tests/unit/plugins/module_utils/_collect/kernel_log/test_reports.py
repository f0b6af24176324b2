# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of public bug reports, names replaced: what each says, who died, and what is to be done about it."""

import json
import re

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import (
    crashes,
    diagnose,
    ladder,
    load_plan,
    refusals,
)

REPORTS = builders.CAPTURES.parent / 'reports'
CASES = {entry['file']: entry for entry in json.loads((REPORTS / 'expected.json').read_text())}
# What a report of the log says, beside the verdict.
FIELDS = ('kind', 'cause', 'address', 'function', 'offset', 'module', 'pc', 'task', 'pid', 'taint', 'time', 'died_in',
          'of', 'locks', 'waits_in', 'wants', 'cache', 'workqueue', 'last_unloaded', 'freed_code')
REFUSED = [name for name, entry in CASES.items() if entry['kind'] == 'refusal']
LOGS = [name for name, entry in CASES.items() if entry['kind'] not in ('refusal', 'proc-modules-mark')]
JUDGED = [name for name in LOGS if CASES[name]['expected'].get('verdict')]
LOADED = re.compile(r'foo is (coming|going|live), refcount (-?\d+)')
GONE = re.compile(r'task (\d+) is gone')
ALIVE = re.compile(r'task (\d+) \((\w+)\) (sleeps|runs on a CPU) in (\w+)(?: at (\w+))?'
                   r'(?:, (no frame|\w+) of foo on its stack)?')
HOLDER = re.compile(r'process (\d+) \((\w+)\) has (\S+) of \w+ open')


def lines_of(name):
    """The log's lines, as their reader hands them on; of /dev/kmsg by its records."""
    text = (REPORTS / name).read_text()
    if 'the file is /dev/kmsg' not in CASES[name]['given']:
        return text.splitlines()
    records = re.findall(r'^\d+,.*\n(?: .*\n)*', text, re.MULTILINE)
    return [line for record in records for line in log_source.lines_of(record.encode())]


def reports_of(name):
    given = CASES[name]['given']
    gone = {int(pid) for pid in GONE.findall(given)}
    return [dict(entry, task_gone=entry['pid'] in gone, **attribution.attribution(entry))
            for entry in oops.oopses(lines_of(name))]


def plain(value):
    return None if is_unavailable(value) else value


@pytest.mark.parametrize('name', LOGS)
def test_what_the_log_says(name):
    expected, reports = CASES[name]['expected'], reports_of(name)
    if 'reports' in expected:
        assert len(reports) == expected['reports']
        return
    (report,) = reports
    found = {key: plain(report.get(key)) for key in FIELDS if key in expected}
    for key in ('address', 'offset', 'pc'):
        if found.get(key) is not None:
            found[key] = hex(found[key])
    assert found == {key: expected[key] for key in FIELDS if key in expected}


@pytest.mark.parametrize('name', [name for name in LOGS if 'loader' in CASES[name]['expected']])
def test_what_it_left_in_the_loader(name):
    given = CASES[name]['given']
    assert crashes.loader(reports_of(name), 'no idem_hash' not in given, {'unavailable': 'not counted'}) == \
        CASES[name]['expected']['loader']


def task_of(match):
    pid, command, does, call, waits_in, frame = match
    busy = does != 'sleeps'
    loading = builders.loader_task(call, 'foo', None if busy else waits_in, command, int(pid))
    in_code = [builders.task(command, int(pid), frame)] if frame not in ('', 'no frame') else []
    return loading, in_code


def facts_of(name):
    given = CASES[name]['given']
    state, refcount = LOADED.search(given).groups()
    raw = int(refcount) + 1
    loading, in_code = [], []
    for match in ALIVE.findall(given):
        task, code = task_of(match)
        loading.append(task)
        in_code += code
    below = [builders.holder(f'process {command} (pid {pid}) with {path} open', f'kill {pid}')
             for pid, command, path in HOLDER.findall(given)]
    taint = [] if 'taint of the kernel has no D' in given else ['died']
    oopses, lost = attribution.believed(reports_of(name), taint, None)
    return builders.facts(state, int(refcount), live=builders.live(state=state, refcount=raw), oopses=oopses,
                          oopses_lost=lost, loader_tasks=builders.tasks(*loading), tasks=builders.tasks(*in_code),
                          holders_below={'others': below})


@pytest.mark.parametrize('name', JUDGED)
def test_what_is_to_be_done_about_it(name):
    expected, facts = CASES[name]['expected'], facts_of(name)
    diagnosis = diagnose.diagnose(facts)
    codes = [hazard['code'] for hazard in diagnosis['hazards']]
    assert diagnosis['verdict'] == expected['verdict']
    assert set(expected.get('hazards', [])) <= set(codes)
    assert not set(expected.get('not_hazards', [])) & set(codes)
    if 'method' in expected:
        assert ladder.plan(facts, diagnosis, list(ladder.METHODS))['method'] == expected['method']
    if 'holder' in expected:
        assert expected['holder'] in diagnosis['reason']


def test_the_marks_of_proc_modules_are_no_taint(tmp_path):
    (name,) = [name for name, entry in CASES.items() if entry['kind'] == 'proc-modules-mark']
    builders.write(tmp_path, 'proc/modules', (REPORTS / name).read_text())
    found = module_table.read(str(tmp_path))['modules']
    expected = CASES[name]['expected']['modules']
    assert [{key: found[entry['name']][key] for key in entry} for entry in expected] == expected


@pytest.mark.parametrize('name', REFUSED)
def test_why_the_kernel_refused_a_load(name):
    expected = CASES[name]['expected']
    code = re.match(r'errno (\w+)', CASES[name]['given']).group(1)
    told = refusals.explained(code, expected['module'], lines_of(name))
    assert told == (expected['refused'], expected['symbols'], expected['says'], expected['next'])
    assert refusals.explained(code, 'bar_' + expected['module'], []) is None


# id: (a line of the log, kind, symbols)
REFUSALS = {
    'a CRC': ('[    1.2] foo: disagrees about version of symbol module_layout', 'symbol_version', ['module_layout']),
    'vermagic': ("[    1.2] foo: version magic '6.1.0-1 SMP ' should be '6.1.0-2 SMP '", 'vermagic', []),
    'a missing module': ('[    1.2][  T9] foo: Unknown symbol bar_do (err -2)', 'unknown_symbol', ['bar_do']),
    'exported twice': ('foo: exports duplicate symbol f_do (owned by foo_parked1)', 'duplicate_symbol', ['f_do']),
    'size': ("foo: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time",
             'struct_module_size', []),
    'a relocation': ('module: foo: Unknown rela relocation: 42', 'relocation', []),
}


@pytest.mark.parametrize(('line', 'kind', 'symbols'), REFUSALS.values(), ids=list(REFUSALS))
def test_other_words_of_the_loader(line, kind, symbols):
    told = refusals.explained('EINVAL', 'foo', ['[    1.0] other line', line])
    assert (told.kind, told.symbols) == (kind, symbols)
    assert told.says.startswith('the kernel answered EINVAL because ')
    assert all(symbol in told.says for symbol in symbols)
    why, following = load_plan.answer(22, 'EINVAL (Invalid argument)', [line], 'foo')
    assert told.says in why
    assert following.lower() == told.next.lower()
