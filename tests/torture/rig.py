# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of the lab, made ready: the collection's utilities, the compiled helper and the faults are in it."""

import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible import module_utils

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / 'tests/lab'))

import fault_modules  # noqa: E402  (the lab is no package: it is reached by its directory)
import fault_table  # noqa: E402
import guests  # noqa: E402
import images  # noqa: E402
from host import LabError, cache_dir, digest, locked  # noqa: E402

__all__ = ('HostLostError', 'LabError', 'Rig', 'answer', 'fault_table', 'guests', 'helper', 'locked', 'progress')

HELPER_SOURCES = CHECKOUT / 'roles/force_unload/files/kmod_reset'
PLUGINS = CHECKOUT / 'plugins'
IN_GUEST = Path(__file__).resolve().parent / 'in_guest'
GUEST_DIRECTORY = '/root/torture'
PACKAGE = 'ansible_collections/kernelops/kmod/plugins'
READY = 'ready'
SERVE = f"""cd {GUEST_DIRECTORY} && setsid -f python3 turns.py </dev/null >serve.txt 2>&1
timeout 90 sh -c 'until test -p /run/turns/asked; do sleep 0.2; done' || {{ cat serve.txt; exit 1; }}"""
ASK = """printf %s {} >/run/turns/asked; cat /run/turns/answered; cat /run/turns/errors >&2; rm -f /run/turns/errors"""
OUTPUT = CHECKOUT / 'tests/output/torture'


# What a run returned, and the host as it was then.
Turned = Tuple[Dict[str, Any], Optional[Dict[str, Any]]]


class HostLostError(Exception):
    """The guest ended or answers no more."""


class Said(NamedTuple):
    """How a command in the guest ended: its status, or None where it did not end in time or the guest was lost."""

    status: Optional[int]
    out: str
    err: str
    seconds: float

    @property
    def last(self) -> Dict[str, Any]:
        """The last line of its stdout, as JSON; a LabError where there is none."""
        lines = self.out.strip().splitlines()
        try:
            found: Dict[str, Any] = json.loads(lines[-1] if lines else '')
        except ValueError as exc:
            raise LabError('A command in the guest (status %s) printed no JSON:\n%s' % (
                self.status, (self.out + self.err)[-2000:])) from exc
        return found


def progress(text: str) -> None:
    """One line on stderr, with the time of day: stdout holds nothing but results."""
    print(time.strftime('%H:%M:%S ') + text, file=sys.stderr, flush=True)


def helper(kernel: str) -> Path:
    """The compiled helper of this checkout for a kernel of the lab, built on its image's headers; kept."""
    return built(kernel, ['kmod_reset'], HELPER_SOURCES) / 'kmod_reset.ko'


def built(kernel: str, names: Sequence[str], directory: Path) -> Path:
    """The directory of the modules of these names, built from one with their Kbuild on a kernel's headers; kept."""
    image = images.image(images.known(kernel))
    sources = [path.name + '\n' + path.read_text(encoding='ascii') for path in sorted(directory.iterdir())]
    key = digest(image.key, image.release, inspect.getsource(fault_modules.Workplace), *names, *sources)
    kept = cache_dir() / 'built' / f'{kernel}-{key}'
    with locked(f'built-{kernel}'):
        if not kept.exists():
            progress(f'building {", ".join(names)} for {kernel}')
            with fault_modules.workplace(image) as place, tempfile.TemporaryDirectory(dir=cache_dir()) as made:
                place.make(names, Path(made, 'modules'), sources=directory)
                kept.parent.mkdir(exist_ok=True)
                Path(made, 'modules').rename(kept)
    return kept


def answer(said: Said) -> Dict[str, Any]:
    """The module's return values from what ansible printed; ``no_report`` says what it said where there are none."""
    head, arrow, body = said.out.partition(' => {')
    try:
        # NAME | CHANGED => {...}
        found: Dict[str, Any] = json.JSONDecoder().raw_decode('{' + body)[0] if arrow else {}
    except ValueError:
        found = {}
    if not found:
        ended = 'did not end in time' if said.status is None else f'ended with {said.status}'
        return {'failed': True, 'changed': False, 'no_report': f'ansible {ended}: {(said.out + said.err)[-1500:]}'}
    # The callback prints no key `failed`.
    found['failed'] = 'FAILED!' in head or 'UNREACHABLE!' in head
    if 'UNREACHABLE!' in head:
        found['no_report'] = 'unreachable: ' + str(found.get('msg', ''))
    return found


class Rig:
    """One guest, and how to run things in it and against it."""

    def __init__(self, kernel: str, name: str = '') -> None:
        self.kernel = kernel
        self.guest = guests.Guest(name or f'torture-{kernel}')
        self.install_helper = ''
        self.snapshots: Set[str] = set()
        self.returns = False  # whether the same faults are asked for again, so that a snapshot pays
        # The option timeout: a guest that is emulated on a busy machine is slow.
        self.seconds = 150
        self.inventory = OUTPUT / f'{self.guest.name}.inventory.yml'

    def __enter__(self) -> 'Rig':  # noqa: PYI034  (Self came with Python 3.11)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.helper = helper(self.kernel)
        self.guest = guests.up(self.guest.name, self.kernel)
        self._move_in()
        self.guest.ssh(SERVE, timeout=120, what=f'Starting what serves the turns in {self.guest.name}')
        self._keep(READY)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.guest.end()

    def restore(self) -> None:
        """A clean kernel, with everything moved in."""
        self._back_to(READY)

    def _keep(self, tag: str) -> None:
        self.guest.close_connections()
        self.guest.monitor_command(f'savevm {tag}', timeout=120)
        self.snapshots.add(tag)

    def _back_to(self, tag: str) -> None:
        self.guest.stop()
        self.guest.launch(self.guest.facts, ['-loadvm', tag])
        self.guest.wait_for_ssh(120)

    def injected(self, faults: Sequence[str], late: bool = False) -> None:
        """A clean kernel with all of these faults in it; from the second time on from a snapshot of that."""
        tag = 'injected-' + digest(*faults, str(late))
        if tag in self.snapshots:
            self._back_to(tag)
            return
        self.restore()
        script = [f'( {fault_modules.inject_script(fault, late)} ); echo "injected {fault} $?"' for fault in faults]
        said = self.sh('\n'.join(script), timeout=60 + 20 * len(faults))
        missing = [fault for fault in faults if f'injected {fault} 0\n' not in said.out]
        if missing:
            raise LabError(f'{missing} could not be injected into {self.kernel}:\n{said.out[-3000:]}{said.err}')
        if self.returns:
            self._keep(tag)
            self._back_to(tag)

    def _move_in(self) -> None:
        release = self.guest.facts['release']
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode='w') as tar:
            for directory in ('module_utils', 'modules'):
                for source in sorted((PLUGINS / directory).rglob('*.py')):
                    tar.add(source, arcname=f'torture/{PACKAGE}/{source.relative_to(PLUGINS)}')
            tar.addfile(tarfile.TarInfo('torture/ansible/__init__.py'))
            for source in sorted(Path(module_utils.__path__[0]).rglob('*.py')):
                tar.add(source, arcname=f'torture/ansible/module_utils/{source.relative_to(module_utils.__path__[0])}')
            for source, name in self._besides():
                tar.add(source, arcname=name)
            tar.add(self.helper, arcname='torture/kmod_reset.ko')
        place = f'/var/lib/kmod_reset/{release}'
        self.install_helper = f'mkdir -p -m 755 {place} && install -m 600 {GUEST_DIRECTORY}/kmod_reset.ko {place}/'
        self.guest.ssh(
            f'tar -x -C /root --no-same-owner --touch && {self.install_helper} && '
            f'python3 -m compileall -q {GUEST_DIRECTORY} && sync', timeout=300,
            stdin=archive.getvalue(), what=f'Moving into {self.guest.name}')
        self.inventory.write_text(guests.inventory([self.guest.name]), encoding='utf-8')

    def _besides(self) -> Iterator[Tuple[Path, str]]:
        """What is moved in besides the utilities and the helper, and its name below /root."""
        yield fault_modules.build(self.kernel), 'lab'
        for source in sorted(IN_GUEST.glob('*.py')):
            yield source, f'torture/{source.name}'

    def sh(self, script: str, timeout: float = 60) -> Said:
        """Runs a shell script in the guest; never raises for what the guest does."""
        return self._run(self.guest.ssh_argv(script), timeout)

    def python(self, words: str, timeout: float) -> Said:
        """Runs one of the programs of in_guest, with the collection's utilities on its path."""
        return self.sh(f'cd {GUEST_DIRECTORY} && python3 {words}', timeout)

    def unload_each(self, names: Sequence[str], *more: str, check: bool = False) -> Iterator[Turned]:
        """One play that unloads each in turn: what was returned, and the host after it; None where it was lost."""
        given = json.dumps({'names': list(names), 'only_check': check, 'directory': GUEST_DIRECTORY,
                            'seconds': self.seconds})
        said = self._run(
            ['ansible-playbook', '-i', str(self.inventory), 'tests/torture/turns.yml', '-e', given, *more],
            60 + 300 * len(names), {'ANSIBLE_STDOUT_CALLBACK': 'ansible.builtin.minimal'})
        # Each task prints NAME | STATUS => {...} or, a command, NAME | STATUS | rc=0 >> and its output.
        parts = re.split(rf'^{re.escape(self.guest.name)} \| ', said.out, flags=re.MULTILINE)[1:]
        # The loop itself prints one, too.
        parts = [part for part in parts if (' => {' in part or ' >>' in part) and '"ansible_loop_var"' not in part]
        for number in range(len(names)):
            mine = parts[2 * number:2 * number + 2]
            if not mine:
                raise HostLostError(f'the play ended early: {(said.out + said.err)[-800:]}')
            report = answer(said._replace(out=mine[0]))
            looked = mine[1].partition('>>\n')[2].strip() if len(mine) == 2 and 'rc=0' in mine[1] else ''
            yield report, json.loads(looked.splitlines()[0]) if looked else None

    def whole(self, asked: Sequence[str], to_tell: Sequence[str], names: Sequence[str]) -> List[Any]:
        """What is told, foreseen, done and done again by in_guest/turns.py, each of all; what never came is missing.

        ``names``: the modules that each look at the host is for.
        """
        said = self._turns('whole', asked, 60 + 300 * len(asked), to_tell, names)
        return [json.loads(line) for line in said.out.splitlines()]

    def _turns(self, how: str, asked: Sequence[str], timeout: float, to_tell: Sequence[str] = (),
               names: Sequence[str] = ()) -> Said:
        """What in_guest/turns.py prints, which has read what is the same for all."""
        names = names or [word.partition('=')[0] for word in asked]
        words = json.dumps([how, self.seconds, list(asked), list(to_tell), list(names)])
        return self.sh(ASK.format(shlex.quote(words)), timeout)

    def unload_each_in_guest(self, names: Sequence[str]) -> Iterator[Turned]:
        """The same as Ansible calls it in the guest, without a controller: three times as fast."""
        said = self._turns('run', names, 60 + 300 * len(names))
        lines = said.out.splitlines()
        for line in lines:
            yield json.loads(line)
        if len(lines) < len(names):
            raise HostLostError(f'{self.guest.name}: only {len(lines)} of {len(names)} turns: {said.err[-600:]}')

    def both(self, name: str) -> List[Dict[str, Any]]:
        """What each of two unloads at once returned, as Ansible calls it in the guest."""
        said = self._turns('two', [name], 400)
        if not said.out:
            raise HostLostError(f'{self.guest.name}: two runs at once gave no answer: {said.err[-600:]}')
        return list(said.last['reports'])

    def role(self, names: Sequence[str], timeout: float) -> Dict[str, Dict[str, Any]]:
        """What the role said of each module, in a run for all of them."""
        result = OUTPUT / f'{self.guest.name}.role.json'
        result.unlink(missing_ok=True)
        given = json.dumps({'force_unload_names': list(names), 'force_unload_timeout': self.seconds,
                            'result_file': str(result)})
        said = self._run(['ansible-playbook', '-i', str(self.inventory), 'tests/torture/role.yml', '-e', given],
                         timeout)
        try:
            found = json.loads(result.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            words = (said.out + said.err)[-1500:]
            lost = {'failed': True, 'no_report': f'the role ended with {said.status}: {words}'}
            return dict.fromkeys(names, lost)
        each = {entry['item']: entry for entry in found.get('results', []) if 'item' in entry}
        return {name: each.get(name, found) for name in names}

    @staticmethod
    def _run(command: List[str], timeout: float, environment: Optional[Dict[str, str]] = None) -> Said:
        start = time.monotonic()
        with subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **(environment or {})}, text=True,
                              errors='replace', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
                status: Optional[int] = process.returncode
            except subprocess.TimeoutExpired:
                process.kill()
                status = None
                try:
                    out, err = process.communicate(timeout=10)
                except subprocess.TimeoutExpired as held:
                    # ssh's shared connection holds the pipes for as long as the hung command lasts.
                    out, err = ((part or b'').decode(errors='replace') for part in (held.stdout, held.stderr))
        return Said(status, out, err, time.monotonic() - start)

    def unload_words(self, name: str, *arguments: str) -> List[str]:
        """The command line of kmod_force_unload ad hoc, as users run it."""
        options = [f'name={name}', f'timeout={self.seconds}', *arguments]
        words = ['-m', 'kernelops.kmod.kmod_force_unload', '-a', ' '.join(options)]
        return ['ansible', self.guest.name, '-i', str(self.inventory), '-b', *words]

    def force_unload(self, name: str, *more: str, accept: Sequence[str] = (), timeout: float = 400) -> Dict[str, Any]:
        """What kmod_force_unload returns; ``more``: further words for ansible; ``accept``: hazards, by name."""
        accepted = ['accept_hazards=' + ','.join(accept)] if accept else []
        return answer(self._run([*self.unload_words(name, *accepted), *more], timeout))

    def look(self, names: Sequence[str] = (), timeout: float = 180) -> Dict[str, Any]:
        """What the host shows of itself (in_guest/witness.py); HostLostError where it does not answer in time."""
        said = self.python('witness.py settle ' + ' '.join(names), timeout)
        if said.status != 0:
            raise HostLostError(f'{self.guest.name} does not answer ({said.err.strip()[-300:]})')
        return said.last

    def is_alive(self) -> bool:
        """Whether the guest's process runs and it answers to ssh within 20 seconds."""
        return self.guest.is_running() and self.sh('true', timeout=20).status == 0
