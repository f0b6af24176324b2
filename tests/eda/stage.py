# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage for the event source: a stand-in for the command ``ansible`` prints what the real one printed.

captures/stuck.txt is what was collected from three hosts (one without a port that answers, one without a Python), on
kernel 6.1 with init_oops, no_exit and leaked_ref injected; captures/asked_by_name.txt is the same with names, laid out
for reading.
"""

import asyncio
import json
import runpy
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGIN = CHECKOUT / 'extensions/eda/plugins/event_source/module_stuck.py'
SOURCE = runpy.run_path(str(PLUGIN))
CAPTURES = Path(__file__).with_name('captures')
STUCK = (CAPTURES / 'stuck.txt').read_text()
BY_NAME = (CAPTURES / 'asked_by_name.txt').read_text()
HOSTS = ('web1', 'web2', 'web3')
# Plays a script: each look takes the next of its entries, the last one for good.
STAND_IN = '''#!{python}
import json, os, pathlib, subprocess, sys, time
place = pathlib.Path({place!r})
log = place / 'log'
script = json.loads((place / 'script.json').read_text())
listing = '--list-hosts' in sys.argv
before = log.read_text().splitlines() if log.exists() else []
turn = sum(json.loads(line)['listing'] == listing for line in before)
scene = script[min(turn, len(script) - 1)]
environment = {{key: os.environ.get(key) for key in ('ANSIBLE_CALLBACK_RESULT_FORMAT', 'ANSIBLE_NOCOLOR', 'OWN')}}
with log.open('a') as book:
    book.write(json.dumps({{'argv': sys.argv[1:], 'listing': listing, 'environment': environment}}) + '\\n')
if listing:
    if scene['hosts']:
        print('  hosts (%d):' % len(scene['hosts']))
    for host in scene['hosts']:
        print('    ' + host)
    sys.exit(scene.get('list_status', 0))
sys.stdout.write(scene['output'])
sys.stdout.flush()
if scene.get('hang'):
    child = subprocess.Popen(['sleep', '600'])
    (place / 'pids').write_text('%d %d' % (os.getpid(), child.pid))
    time.sleep(600)
sys.stderr.write(scene.get('complaint', ''))
sys.exit(scene.get('status', 0))
'''


def scene(output=STUCK, hosts=HOSTS, **more):
    """One look."""
    return {'output': output, 'hosts': list(hosts), **more}


class Stage:
    """The stand-in with its script."""

    def __init__(self, place):
        self.place = place
        stand_in = place / 'ansible'
        stand_in.write_text(STAND_IN.format(python=sys.executable, place=str(place)))
        stand_in.chmod(0o755)

    def play(self, *scenes):
        """What is to be seen, look by look."""
        (self.place / 'script.json').write_text(json.dumps(scenes))

    def calls(self):
        """What was asked, the lists of hosts left out."""
        return [call for call in map(json.loads, (self.place / 'log').read_text().splitlines()) if not call['listing']]


def looks(stage, *scenes, **args):
    """The events of one look after the other."""
    stage.play(*scenes)
    chosen = SOURCE['options'](args)
    watch = SOURCE['Watch'](chosen)

    async def all_of_them():
        return [await SOURCE['look'](chosen, watch) for dummy in scenes]

    return asyncio.run(all_of_them())


def told(events):
    """The short form of events."""
    short = []
    for event in events:
        kind = 'module_stuck' if 'module_stuck' in event else 'host_silent'
        short.append((event[kind]['host'], event[kind].get('module', 'silent'), event[kind].get('verdict', '')))
    return short


DIED, NO_EXIT = ('web1', 'init_oops', 'init_died'), ('web1', 'no_exit', 'no_exit')
SILENT = [('web2', 'silent', ''), ('web3', 'silent', '')]
