# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what HEAD holds fit to publish? Clones it, builds the collection, has Galaxy's importer look, installs, tries it.

Prints a table of the steps; 1 if one failed, with its reason. Nothing is published, tagged or changed.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Set

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
IMPORTER = CHECKOUT / '.venv-release/bin'
SECONDS = 900
SEMANTIC = re.compile(r'(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?')
GALAXY_LIMIT = 20 * 1024 * 1024
# All that a user needs; whatever else is in the tarball is an error.
FILES = {'CHANGELOG.rst', 'CONTRIBUTING.md', 'FILES.json', 'LICENSE', 'MANIFEST.json', 'README.md', 'SECURITY.md'}
DIRECTORIES = ('LICENSES/', 'changelogs/', 'docs/', 'extensions/eda/', 'extensions/execution-environment/', 'meta/',
               'playbooks/', 'plugins/', 'roles/')
# What the importer says and we cannot help, each with its reason: none.
UNAVOIDABLE: Dict[str, str] = {}
# How AnsibleModule refuses an option, as a text in an expression.
REFUSAL = '"argument \'timeout\' is of type str"'


class StepError(Exception):
    """What was tried, why it failed, what to do next."""


def output(*command: str, cwd: Path, **environment: str) -> str:
    """What a command prints on both streams. Raises StepError where it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepError('%s: %s' % (' '.join(command), error)) from error
    if done.returncode:
        raise StepError('%s ended with %d:\n%s' % (' '.join(command), done.returncode, done.stdout[-3000:].strip()))
    return done.stdout


def tool(name: str) -> str:
    """A program of the venv that this runs in."""
    return str(Path(sys.executable).with_name(name))


class Release:
    """The steps, in their order. Each returns what to print beside it."""

    def __init__(self, place: Path) -> None:
        self.clone = place / 'clone'
        self.place = place
        self.installed = place / 'installed/ansible_collections/kernelops/kmod'
        (place / 'ansible.cfg').write_text('')
        self.environment = {'ANSIBLE_COLLECTIONS_PATH': str(place / 'installed'), 'ANSIBLE_NOCOLOR': '1',
                            'ANSIBLE_HOME': str(place / 'home'), 'ANSIBLE_CONFIG': str(place / 'ansible.cfg')}

    def steps(self) -> List[Callable[[], str]]:
        """All of them; the docstring is the name of each."""
        return [self.cloned, self.changelog, self.version, self.build, self.contents, self.importer, self.install,
                self.documentation, self.playbooks, self.action_group]

    def cloned(self) -> str:
        """Clone of HEAD"""
        output('git', 'clone', '--quiet', '--no-hardlinks', str(CHECKOUT), str(self.clone), cwd=self.place)
        head = output('git', 'rev-parse', 'HEAD', cwd=CHECKOUT).strip()
        output('git', 'checkout', '--quiet', '--detach', head, cwd=self.clone)
        changed = output('git', 'status', '--porcelain', cwd=CHECKOUT).splitlines()
        return head[:12] + (', without %d changes that are not committed' % len(changed) if changed else '')

    def changelog(self) -> str:
        """antsibull-changelog lint"""
        output(tool('antsibull-changelog'), 'lint', cwd=self.clone)
        version = self._galaxy()['version']
        released = yaml.safe_load((self.clone / 'changelogs/changelog.yaml').read_text())['releases']
        waiting = [path.name for path in (self.clone / 'changelogs/fragments').glob('*.y*ml')]
        if version not in released and not waiting:
            raise StepError('the changelog has no entry for %s, and no fragment waits for one' % version)
        return 'entry for %s' % version if version in released else '%d fragments wait for %s' % (len(waiting), version)

    def version(self) -> str:
        """Version of galaxy.yml"""
        version = str(self._galaxy()['version'])
        if not SEMANTIC.fullmatch(version):
            raise StepError('galaxy.yml: version %s is not MAJOR.MINOR.PATCH (https://semver.org)' % version)
        head = output('git', 'rev-parse', 'HEAD', cwd=self.clone).strip()
        tags = output('git', 'tag', '--list', version, 'v' + version, cwd=self.clone).split()
        for tag in tags:
            tagged = output('git', 'rev-list', '-n', '1', tag, cwd=self.clone).strip()
            if tagged != head:
                raise StepError('%s is tagged already, on commit %s: raise the version in galaxy.yml' %
                                (tag, tagged[:12]))
        return '%s, %s' % (version, 'tagged here' if tags else 'not tagged yet')

    def build(self) -> str:
        """ansible-galaxy collection build"""
        output(tool('ansible-galaxy'), 'collection', 'build', '--output-path', str(self.place), cwd=self.clone,
               **self.environment)
        return self._tarball().name

    def contents(self) -> str:
        """What is in the tarball"""
        with tarfile.open(self._tarball()) as archive:
            names = {member.name for member in archive.getmembers() if not member.isdir()}
        stray = {name for name in names if not belongs(name)}
        tracked = output('git', 'ls-files', cwd=self.clone).splitlines()
        missing = {name for name in tracked if belongs(name)} - names
        if stray:
            raise StepError('these do not belong there; name them in build_ignore of galaxy.yml: ' + some(stray))
        if missing:
            raise StepError('these are missing; build_ignore of galaxy.yml leaves out too much: ' + some(missing))
        size = self._tarball().stat().st_size
        if size > GALAXY_LIMIT:
            raise StepError('%d bytes; Galaxy takes %d' % (size, GALAXY_LIMIT))
        return '%d files, %d KB' % (len(names), size // 1024)

    def importer(self) -> str:
        """galaxy-importer"""
        said = output(str(IMPORTER / 'python'), '-m', 'galaxy_importer.main', str(self._tarball()), cwd=self.place,
                      PATH=os.pathsep.join([str(IMPORTER), os.environ.get('PATH', os.defpath)]),
                      GALAXY_IMPORTER_TMP_ROOT_DIR=str(self.place),
                      GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP=str(self.place / 'importer'))
        complaints = [line for line in said.splitlines() if re.match('(WARNING|ERROR|CRITICAL): ', line)]
        ours = [line for line in complaints if not any(text in line for text in UNAVOIDABLE)]
        if ours or 'ansible-lint run complete' not in said:
            raise StepError('\n'.join(ours) or 'it did not run ansible-lint:\n' + said[-2000:])
        return 'no error, %d warnings that cannot be helped' % len(complaints)

    def install(self) -> str:
        """Installation from the tarball"""
        output(tool('ansible-galaxy'), 'collection', 'install', '--offline', '-p', str(self.place / 'installed'),
               str(self._tarball()), cwd=self.place, **self.environment)
        return 'into an empty collections path'

    def documentation(self) -> str:
        """ansible-doc of each module and role"""
        roles = sorted(path.name for path in (self.installed / 'roles').iterdir())
        for kind, names in (('module', self._modules()), ('role', roles)):
            for name in names:
                said = output(tool('ansible-doc'), '-t', kind, '--json', 'kernelops.kmod.' + name, cwd=self.place,
                              **self.environment)
                if 'kernelops.kmod.' + name not in json.loads(said[said.index('{'):]):
                    raise StepError('ansible-doc -t %s kernelops.kmod.%s says nothing of it' % (kind, name))
        return '%d modules, %d roles' % (len(self._modules()), len(roles))

    def playbooks(self) -> str:
        """Syntax of each playbook, by its full name"""
        names = sorted(path.stem for path in (self.installed / 'playbooks').glob('*.yml'))
        for name in names:
            output(tool('ansible-playbook'), '--syntax-check', '-i', 'localhost,', 'kernelops.kmod.' + name,
                   cwd=self.place, **self.environment)
        return ', '.join(names)

    def action_group(self) -> str:
        """module_defaults of group/kernelops.kmod.kmod"""
        runtime = yaml.safe_load((self.installed / 'meta/runtime.yml').read_text())
        listed = sorted(runtime['action_groups']['kmod'])
        if listed != self._modules():
            raise StepError('meta/runtime.yml lists %s, the modules are %s' % (listed, self._modules()))
        # Each module has a timeout, and refuses one that is no number before it looks at anything.
        tasks = [{'kernelops.kmod.' + name: dict.fromkeys(self._required(name), '/x'), 'register': 'answer',
                  'failed_when': REFUSAL + " not in answer.msg | default('')"} for name in listed]
        play = [{'hosts': 'localhost', 'connection': 'local', 'gather_facts': False, 'tasks': tasks,
                 'module_defaults': {'group/kernelops.kmod.kmod': {'timeout': 'no number'}}}]
        (self.place / 'group.json').write_text(json.dumps(play))
        output(tool('ansible-playbook'), '--check', '-i', 'localhost,',
               '-e', 'ansible_python_interpreter=' + sys.executable, 'group.json', cwd=self.place, **self.environment)
        return 'takes effect in %s' % ', '.join(listed)

    def _required(self, module: str) -> Set[str]:
        text = (self.installed / 'plugins/modules' / (module + '.py')).read_text()
        documented = re.search(r"^DOCUMENTATION = r?'''(.*?)'''", text, re.DOTALL | re.MULTILINE)
        options = yaml.safe_load(documented.group(1))['options'] if documented else {}
        return {name for name, option in options.items() if option.get('required')}

    def _modules(self) -> List[str]:
        return sorted(path.stem for path in (self.installed / 'plugins/modules').glob('*.py'))

    def _galaxy(self) -> Dict[str, str]:
        galaxy: Dict[str, str] = yaml.safe_load((self.clone / 'galaxy.yml').read_text())
        return galaxy

    def _tarball(self) -> Path:
        return self.place / ('kernelops-kmod-%s.tar.gz' % self._galaxy()['version'])


def belongs(name: str) -> bool:
    """Whether a file is for the users of the collection."""
    return name in FILES or name.startswith(DIRECTORIES)


def some(names: Set[str]) -> str:
    """The first of them, in order."""
    return ', '.join(sorted(names)[:10]) + (' and %d more' % (len(names) - 10) if len(names) > 10 else '')


def main() -> int:
    """Runs the steps until one fails."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='kmod-release-') as place:
        for step in Release(Path(place)).steps():
            name, began = step.__doc__ or '', time.monotonic()
            try:
                told = step()
            except StepError as error:
                print('%7.1f s  FAILED  %s' % (time.monotonic() - began, name))
                sys.stderr.write('release-check: %s: %s\n' % (name, error))
                return 1
            print('%7.1f s  ok      %-44s %s' % (time.monotonic() - began, name, told), flush=True)
    print('%7.1f s  fit to publish' % (time.monotonic() - start))
    return 0


if __name__ == '__main__':
    sys.exit(main())
