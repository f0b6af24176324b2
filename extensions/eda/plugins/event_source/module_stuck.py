# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events for kernel modules that got stuck on the hosts of an inventory."""

import asyncio
import codecs
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

DOCUMENTATION = r'''
---
short_description: Watch hosts for kernel modules that got stuck
description:
  - An ansible-rulebook event source. Asks the hosts again and again by the module kernelops.kmod.kmod_facts, which
    reads the module table and the kernel log of each and changes nothing.
  - A module that is stuck gives one event C(module_stuck), and another when its verdict changes, or when it was loaded
    anew or crashed anew. What is stuck at the first look gives its event then. One that is gone is forgotten, and one
    that was parked (C(NAME_parkedN)) gives none.
  - A host that gives no answer gives one event C(host_silent), and another only when it has answered in between.
  - A look that fails as a whole, because there is no inventory, say, is logged, and tried again after a longer and
    longer time.
options:
  hosts:
    description: The hosts, a pattern as the command C(ansible) takes it, or a list of such patterns.
    type: raw
    default: all
  inventory:
    description:
      - Path of an inventory, hosts with commas between them, or a list of these.
      - Without it, the inventory that C(ansible) itself takes, as from E(ANSIBLE_INVENTORY).
    type: raw
    default: []
  names:
    description:
      - Only these modules. They are looked at closely, with a search for what holds them, which costs more than a
        tenth of a second for each. V(in_use_unknown) of a module that is not asked for by name means no more than that
        it has references, and that nobody has looked for who holds them.
      - Empty means all that are loaded.
    type: list
    elements: str
    default: []
  verdicts:
    description: The verdicts of kmod_facts that make a module stuck.
    type: list
    elements: str
    default: [init_died, exit_died, exit_lost, no_exit]
  no_exit_in_tree:
    description:
      - Whether V(no_exit) counts for modules of the kernel's own tree too. Many of those have no exit by design.
    type: bool
    default: false
  interval:
    description: Seconds from the end of a look to the next one.
    type: float
    default: 60
  longest_interval:
    description: To how many seconds the interval may grow while one look after another fails. It doubles each time.
    type: float
    default: 600
  host_timeout:
    description:
      - Seconds for reading a host, as the option C(timeout) of kmod_facts. A host that takes longer is silent, and the
        reason names what hangs there. Its task as a whole gets twice that and a minute.
    type: int
    default: 30
  timeout:
    description:
      - Seconds after which a look is ended. Hosts that had no turn until then are not called silent.
    type: float
    default: 600
  forks:
    description: How many hosts are asked at once. Without it, as many as Ansible's configuration says.
    type: int
  become:
    description: Whether to become root on the hosts, as kmod_facts needs it.
    type: bool
    default: true
notes:
  - The hosts are reached by the C(ansible) command on PATH, or else the one beside the Python of ansible-rulebook.
  - Texts of an event may come from a host's kernel log. What would begin a Jinja expression in them is broken up, since
    a rulebook hands an event to playbooks as extra variables, which Ansible trusts.
'''

EXAMPLES = r'''
- kernelops.kmod.module_stuck:
    hosts: webservers
    inventory: /etc/ansible/hosts.yml
    interval: 300
    forks: 50

- kernelops.kmod.module_stuck:
    names: [nicdrv]
    verdicts: [init_died, exit_died, exit_lost, in_use_unknown]
'''

LOGGER = logging.getLogger('kernelops.kmod.module_stuck')
# Those that leave a module in the kernel; plugins/modules/kmod_facts.py says what each means.
VERDICTS = ('has_dependents', 'init_running', 'init_waiting', 'init_died', 'exit_running', 'exit_waiting', 'exit_died',
            'no_exit', 'exit_lost', 'in_use', 'in_use_unknown', 'references_leaked', 'unload_disabled')
# What one answer is, so that no setting of the user's own changes it: one line for each host.
ENVIRONMENT = {'ANSIBLE_LOAD_CALLBACK_PLUGINS': 'false', 'ANSIBLE_CALLBACK_RESULT_FORMAT': 'json',
               'ANSIBLE_CALLBACK_FORMAT_PRETTY': 'false', 'ANSIBLE_NOCOLOR': 'true', 'ANSIBLE_FORCE_COLOR': 'false',
               'ANSIBLE_VERBOSITY': '0'}
HEADER = re.compile(r'(\S+) \| (SUCCESS|CHANGED|FAILED!|UNREACHABLE!) => (\{.*)', re.DOTALL)
NAME = re.compile(r'[A-Za-z0-9_.+-]{1,64}')
# What kmod_force_unload renames a module to that it parks: nothing more is to be done about it.
PARKED = re.compile(r'.+_parked[0-9]+')
# ansible-rulebook's Java ends the process at a signal, and Python has no turn: so the kernel ends the child then,
# by PR_SET_PDEATHSIG, which is 1 in include/uapi/linux/prctl.h.
LAUNCHER = '''import ctypes, os, signal, sys
if hasattr(ctypes.CDLL(None), 'prctl'):
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])'''
PATIENCE = 10  # seconds for an ended child to go


class ArgumentError(ValueError):
    """An argument of the source that cannot be."""


class LookError(Exception):
    """A look that told nothing of any host."""


class Options(NamedTuple):
    """The arguments of the source, checked."""

    hosts: str = 'all'
    inventory: Tuple[str, ...] = ()
    names: Tuple[str, ...] = ()
    verdicts: Tuple[str, ...] = ('init_died', 'exit_died', 'exit_lost', 'no_exit')
    no_exit_in_tree: bool = False
    interval: float = 60
    longest_interval: float = 600
    host_timeout: int = 30
    timeout: float = 600
    forks: Optional[int] = None
    become: bool = True


class Answer(NamedTuple):
    """What one host said: ``kmod`` as ansible_facts has it, or None and why."""

    host: str
    kmod: Optional[Dict[str, Any]]
    reason: str


def _words(name: str, value: Any, example: str) -> Tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) and word.strip() for word in words):
        raise ArgumentError(f'{name} must be text or a list of texts, such as {example}, not {value!r}.')
    for word in words:
        if word.startswith('-'):  # the command line would take it for an option
            raise ArgumentError(f'{name} must not begin with a hyphen: {word!r}.')
    return tuple(words)


def _number(name: str, value: Any, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 < value < 1e6:
        raise ArgumentError(f'{name} must be a {"whole " if whole else ""}number above 0, not {value!r}.')
    return value


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f'{name} must be true or false, not {value!r}.')
    return value


def options(args: Dict[str, Any]) -> Options:
    """The arguments with their defaults. Raises ArgumentError for one that is unknown or cannot be."""
    given = {name: value for name, value in args.items() if value is not None and name != 'eda_feedback_queue'}
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise ArgumentError('module_stuck has no argument {}; it has {}.'.format(
            ', '.join(unknown), ', '.join(Options._fields)))
    checked: Dict[str, Any] = {}
    for name, value in given.items():
        if name == 'hosts':
            checked[name] = ','.join(_words(name, value, 'webservers'))
            if not checked[name]:
                raise ArgumentError('hosts must name at least one host.')
        elif name in ('inventory', 'names', 'verdicts'):
            checked[name] = _words(name, value, {'inventory': 'hosts.ini'}.get(name, '[a, b]'))
        elif name in ('no_exit_in_tree', 'become'):
            checked[name] = _bool(name, value)
        else:
            checked[name] = _number(name, value, whole=name in ('host_timeout', 'forks'))
    chosen = Options(**checked)
    for place in chosen.inventory:
        if ',' not in place and not Path(place).exists():
            raise ArgumentError(f'inventory: there is no file {place!r} (in {Path.cwd()}).')
    for name in chosen.names:
        if not NAME.fullmatch(name):
            raise ArgumentError(f'names: {name!r} is not the name of a module.')
    for verdict in chosen.verdicts:
        if verdict not in VERDICTS:
            raise ArgumentError('verdicts: there is no {!r}; there are {}.'.format(verdict, ', '.join(VERDICTS)))
    if chosen.longest_interval < chosen.interval:
        return chosen._replace(longest_interval=chosen.interval)
    return chosen


def command(chosen: Options, *arguments: str) -> List[str]:
    """``ansible`` for the hosts, as an argv list. Raises LookError where there is none."""
    ansible = shutil.which('ansible') or shutil.which('ansible', path=str(Path(sys.executable).parent))
    if not ansible:
        raise LookError('There is no ansible command on PATH.')
    argv = [ansible, chosen.hosts, *arguments]
    for place in chosen.inventory:
        argv += ['-i', place]
    return argv


def question(chosen: Options) -> List[str]:
    """One look at all hosts, as an argv list."""
    argv = command(chosen, '-m', 'kernelops.kmod.kmod_facts', '-a',
                   json.dumps({'names': list(chosen.names), 'gather_subset': ['kernel', 'state', 'oops'],
                               'timeout': chosen.host_timeout}),
                   '--task-timeout', str(60 + 2 * chosen.host_timeout))
    if chosen.become:
        argv.append('-b')
    if chosen.forks:
        argv += ['-f', str(chosen.forks)]
    return argv


class Answers:
    """Takes the output of ``ansible`` by the piece and gives each host's answer as soon as it is whole."""

    def __init__(self) -> None:
        self._rest = ''
        self._host = self._status = ''
        self._lines: List[str] = []

    def feed(self, text: str) -> Iterator[Answer]:
        """The answers that this piece completes."""
        lines = (self._rest + text).split('\n')
        self._rest = lines.pop()
        for line in lines:
            header = HEADER.fullmatch(line)
            if header:
                self._host, self._status, begun = header.groups()
                self._lines = [begun]
            elif self._lines:
                self._lines.append(line)
            # Laid out over many lines, an answer ends at a brace in the first column.
            if self._lines and line.endswith('}') and (header or line == '}'):
                whole, self._lines = '\n'.join(self._lines), []
                try:
                    result, _end = json.JSONDecoder().raw_decode(whole)
                except (ValueError, RecursionError) as error:
                    yield Answer(self._host, None, f'its answer is not JSON: {error}')
                else:
                    yield self._answer(result)

    def _answer(self, result: Dict[str, Any]) -> Answer:
        facts = result.get('ansible_facts')
        kmod = facts.get('kmod') if isinstance(facts, dict) else None
        if self._status in ('SUCCESS', 'CHANGED') and isinstance(kmod, dict):
            return Answer(self._host, kmod, '')
        reason = str(result.get('msg') or result.get('module_stderr') or 'it returned no facts')
        return Answer(self._host, None, ' '.join(reason.split()))


def harmless(value: Any) -> Any:
    """The same with every beginning of a Jinja expression broken up, through dicts and lists."""
    if isinstance(value, str):
        return re.sub(r'\{(?=[{%#])', '{ ', value)
    if isinstance(value, dict):
        return {key: harmless(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [harmless(inner) for inner in value]
    return value


class Watch:
    """What is known of the hosts from look to look; makes the events."""

    def __init__(self, chosen: Options) -> None:
        self._chosen = chosen
        self._stuck: Dict[str, Dict[str, Tuple[str, ...]]] = {}
        self._silent: Dict[str, str] = {}

    def reduced(self, answer: Answer) -> Answer:
        """The answer without the modules that are not stuck: a fleet's are much to hold. A host may say anything."""
        if answer.kmod is None:
            return answer
        try:
            stuck = {name: module for name, module in answer.kmod['modules'].items()
                     if self._is_stuck(module) and not PARKED.fullmatch(name)}
            for name, module in stuck.items():
                _described(name, module, answer)
        except (AttributeError, KeyError, TypeError):
            return answer._replace(kmod=None, reason='its answer is not what kmod_facts returns')
        return answer._replace(kmod=dict(answer.kmod, modules=stuck))

    def events(self, answer: Answer) -> List[Dict[str, Any]]:
        """The events that one host's answer, reduced, makes."""
        host = answer.host
        if answer.kmod is None:
            known, self._silent[host] = host in self._silent, answer.reason
            return [] if known else [self._event('host_silent', host, {'reason': answer.reason})]
        if self._silent.pop(host, None) is not None:
            LOGGER.info('%s answers again', host)
        before, now, events = self._stuck.get(host, {}), {}, []
        for name, module in sorted(answer.kmod['modules'].items()):
            if not NAME.fullmatch(name):
                LOGGER.warning('%s names a module %r, which is no name of a module: left out', host, name)
                continue
            now[name] = _identity(module)
            if before.get(name) != now[name]:
                events.append(self._event('module_stuck', host, _described(name, module, answer)))
        for name in sorted(set(before) - set(now)):
            LOGGER.info('%s: %s is no longer stuck', host, name)
        self._stuck[host] = now
        return events

    def keep(self, hosts: List[str]) -> None:
        """Forgets all hosts but these: the inventory has no others."""
        for known in (self._stuck, self._silent):
            for host in set(known) - set(hosts):
                del known[host]

    def _is_stuck(self, module: Dict[str, Any]) -> bool:
        verdict = module['diagnosis']['verdict']
        if verdict == 'no_exit' and not self._chosen.no_exit_in_tree and 'O' not in str(module.get('taint', '')):
            return False
        return verdict in self._chosen.verdicts

    @staticmethod
    def _event(kind: str, host: str, content: Dict[str, Any]) -> Dict[str, Any]:
        return {kind: harmless({'host': host, **content}), 'meta': {'hosts': host}}


def _identity(module: Dict[str, Any]) -> Tuple[str, ...]:
    """Equal as long as a module is stuck for the same reason: its verdict, where it is loaded, when it crashed."""
    oops = module.get('oops')
    crashed = oops.get('time', '') if isinstance(oops, dict) else ''
    return module['diagnosis']['verdict'], json.dumps(module.get('address')), str(crashed)


def _described(name: str, module: Dict[str, Any], answer: Answer) -> Dict[str, Any]:
    diagnosis, kernel = module['diagnosis'], (answer.kmod or {}).get('kernel') or {}
    return {
        'module': name, 'state': module['state'], 'taint': module.get('taint', ''), 'verdict': diagnosis['verdict'],
        'reason': diagnosis['reason'], 'method': diagnosis['method'],
        'hazards': [hazard['code'] for hazard in diagnosis['hazards']],
        'next': diagnosis['next'].replace('ansible HOST ', f'ansible {answer.host} ').replace(
            ' -l HOST ', f' -l {answer.host} '),
        'oops': module.get('oops', {}), 'release': kernel.get('release', ''), 'loader': kernel.get('loader', ''),
    }


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a child that still runs: politely, so that ansible ends its workers, then with its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL) if process.returncode is None else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except asyncio.TimeoutError:
            continue
        return


async def _last(stream: asyncio.StreamReader) -> str:
    """The last line of a stream that has words in it, read to its end; '' where there is none."""
    kept = b''
    while True:
        piece = await stream.read(1 << 16)
        if not piece:
            break
        kept = (kept + piece)[-4096:]
    return next((line.strip() for line in reversed(kept.decode(errors='replace').splitlines()) if line.strip()), '')


async def _read(process: asyncio.subprocess.Process, take: Callable[[str], None]) -> str:
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018  (for mypy: both are pipes)
    complaint = asyncio.ensure_future(_last(process.stderr))
    decoder = codecs.getincrementaldecoder('utf-8')('replace')
    try:
        while True:
            piece = await process.stdout.read(1 << 16)
            if not piece:
                break
            take(decoder.decode(piece))
        await process.wait()
        return await complaint
    finally:
        complaint.cancel()


async def run(argv: List[str], seconds: float, take: Callable[[str], None]) -> Tuple[int, str]:
    """Runs a command, hands on its output by the piece; its status, and the last line of its complaints.

    Raises asyncio.TimeoutError after ``seconds``. However this ends, the child is gone.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, '-IS', '-c', LAUNCHER, str(os.getpid()), *argv, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **ENVIRONMENT},
        start_new_session=True)
    try:
        complaint = await asyncio.wait_for(_read(process, take), seconds)
        return process.returncode or 0, complaint
    finally:
        await _end(process)


async def listed(chosen: Options) -> List[str]:
    """The hosts that the inventory has for the pattern. Raises LookError where there are none."""
    output: List[str] = []
    try:
        status, complaint = await run(command(chosen, '--list-hosts'), chosen.timeout, output.append)
    except asyncio.TimeoutError:
        raise LookError(f'The inventory was not read within {chosen.timeout} s.') from None
    hosts = [line.strip() for line in ''.join(output).splitlines() if line.startswith('    ') and line.strip()]
    if status or not hosts:
        raise LookError(f'No hosts: ansible --list-hosts ended with status {status}: {complaint}')
    return hosts


async def look(chosen: Options, watch: Watch) -> List[Dict[str, Any]]:
    """Asks all hosts once and returns the events. Raises LookError when nothing was learnt of any host."""
    start = time.monotonic()
    hosts = await listed(chosen)
    answers = Answers()
    heard: Dict[str, List[Answer]] = {}

    def take(text: str) -> None:
        for answer in answers.feed(text):
            heard.setdefault(answer.host, []).append(watch.reduced(answer))

    why = f'no answer within {chosen.timeout} s'
    cut = False
    try:
        status, complaint = await run(question(chosen), chosen.timeout, take)
        why = f'ansible ended with status {status} and did not name it: {complaint}'
    except asyncio.TimeoutError:
        cut = True
    if not heard:
        raise LookError(f'None of {len(hosts)} hosts: {why}')
    if cut:
        LOGGER.warning('The look was ended after %s s: %d of %d hosts had answered; a longer timeout or more forks may '
                       'help', chosen.timeout, len(heard), len(hosts))
    watch.keep(hosts)
    events: List[Dict[str, Any]] = []
    for host in hosts:
        said = heard.pop(host, [] if cut else [Answer(host, None, why)])
        # A host's error is printed as it came, line by line, and can be made to look like an answer of another's.
        if len(said) > 1:
            LOGGER.error('%s seems to have answered %d times: left out, as not all of that is its own', host, len(said))
        elif said:
            events += watch.events(said[0])
    for host in sorted(heard):
        LOGGER.error('%r seems to have answered, and is not in the inventory: left out', host)
    LOGGER.info('%d hosts looked at in %.1f s: %d events', len(hosts), time.monotonic() - start, len(events))
    return events


async def main(queue: Any, args: Dict[str, Any]) -> None:
    """Looks, puts the events, waits, and so on until it is cancelled. Raises ArgumentError before the first look."""
    chosen = options(args)
    watch, wait = Watch(chosen), chosen.interval
    while True:
        try:
            for event in await look(chosen, watch):
                await queue.put(event)
            wait = chosen.interval
        except (LookError, OSError) as error:
            LOGGER.error('The hosts could not be looked at; next try in %s s: %s', wait, error)  # noqa: TRY400
            await asyncio.sleep(wait)
            wait = min(wait * 2, chosen.longest_interval)
        else:
            await asyncio.sleep(wait)


if __name__ == '__main__':
    # For a look at the events without ansible-rulebook: module_stuck.py '{"hosts": "all", "inventory": "hosts.ini"}'

    class Printer:
        """Stands in for the queue."""

        async def put(self, event: Dict[str, Any]) -> None:
            """Prints the event."""
            print(json.dumps(event), flush=True)

    logging.basicConfig(level=logging.INFO)
    try:
        asyncio.run(main(Printer(), json.loads((sys.argv[1:] or ['{}'])[0])))
    except ArgumentError as wrong:
        sys.exit(str(wrong))
    except KeyboardInterrupt:
        pass
