# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault, on every kernel, under every condition: `python3 tests/torture table`. Run it by `make torture`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import conditions
import hazards
import memory
import page
import rig
import stale_entry
import table
from expectations import EXPECTED, NOT_RUN


def run_table(options: argparse.Namespace) -> bool:
    """The fault suite; whether every row holds."""
    faults = options.faults.split() or [name for name in rig.fault_table.FAULTS if name not in NOT_RUN]
    rows = table.run(options.kernels.split(), faults, conditions.names_of(options.conditions), options.guest,
                     options.shared)
    if options.junit:
        table.write_junit(rows, options.junit)
    print(table.aligned(rows))
    return all(row['row'] == 'holds' for row in rows)


def run_measure(options: argparse.Namespace) -> bool:
    """The stale entry, the memory or the hazards, on each kernel."""
    program = {'stale-entry': stale_entry, 'memory': memory, 'hazards': hazards}[options.command]
    rows: List[Dict[str, Any]] = []
    for kernel in options.kernels.split():
        found = program.measure(kernel, options.guest)
        rows += found
        target = rig.OUTPUT / f'{options.command}-{kernel}.json'
        target.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print('\n'.join('; '.join(f'{key}: {value}' for key, value in row.items() if key != 'samples') for row in rows))
    return all(row['holds'] for row in rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog='python3 tests/torture', description='Proof that nothing makes it worse.')
    commands = top.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, text in (('table', 'every fault under every condition'),
                       ('stale-entry', 'loads by finit_module(2) after one that crashed, its entry cleared or not'),
                       ('memory', '200 cycles of stuck, unloaded, loaded again: what grows'),
                       ('hazards', 'every hazard: refused, accepted by name, and what that brings about')):
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument('--kernels', default='5.10 6.1 6.12 7.3')
        one.add_argument('--guest', default='', help='the first part of the guests\' names')
        if name == 'table':
            one.add_argument('--faults', default='', help='default: ' + ' '.join(EXPECTED))
            one.add_argument('--junit', type=Path, help='a file for the rows, as JUnit\'s XML')
            one.add_argument('--shared', type=Path, metavar='DIRECTORY',
                             help='takes only what no other run with this directory has taken; empty before')
            one.add_argument('--conditions', default='', help='default: ' + ' '.join(conditions.CONDITIONS))
    made = commands.add_parser('helper', help='builds the compiled helper for a kernel of the lab; prints its path')
    made.add_argument('kernel')
    commands.add_parser('docs', help='what the last runs found, into docs/TORTURE.md')
    return top


if __name__ == '__main__':
    asked = parser().parse_args()
    try:
        if asked.command == 'docs':
            page.write()
            sys.exit(0)
        if asked.command == 'helper':
            print(rig.helper(asked.kernel))
            sys.exit(0)
        held = run_table(asked) if asked.command == 'table' else run_measure(asked)
    except rig.LabError as error:
        sys.exit(f'torture: {error}')
    except KeyboardInterrupt:
        sys.exit('torture: interrupted')
    sys.exit(0 if held else 1)
