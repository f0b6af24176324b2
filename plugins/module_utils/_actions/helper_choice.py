# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which helper a step uses: the compiled one if it was built for this kernel, else one that is written on the spot."""

from typing import Optional, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper, generated_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import HelperState
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Kernel, ModuleFacts, StructLayout

Helper = Union[compiled_helper.Helper, generated_helper.Helper]
Target = Union[compiled_helper.Target, generated_helper.Target]


class HelperChoice:
    """The choice for one module on one kernel; ``state`` tells of it. ``wanted`` is the option helper."""

    def __init__(self, name: str, kernel: Kernel, wanted: str, path: Optional[str], timeout: float) -> None:
        self._name, self._kernel, self._wanted, self._timeout = name, kernel, wanted, timeout
        self._tried = f'unload {name}'
        self._path = path or compiled_helper.helper_path(kernel['release'])
        self.state: HelperState = {'kind': 'none', 'needed': False, 'usable': None, 'reason': 'not needed',
                                   'path': self._path}

    def choose(self, method: str, will_be_built: bool) -> Optional[Helper]:
        """The helper of either kind. Raises KmodError where none can be used, in check mode as well: only what can
        happen is promised. None where the compiled one ``will_be_built``.
        """
        self.state['needed'] = True
        try:
            return self._chosen(method)
        except KmodError as error:
            self.state['usable'], self.state['reason'] = False, str(error)
            if 'compiled' in self.state and will_be_built:
                return None
            raise

    def _chosen(self, method: str) -> Helper:
        if self._wanted == 'synthesized':
            return self._generated('it was asked for', method)
        refused = self._kernel['loads_refused']
        layout = child_process.with_deadline(struct_module.layout, self._timeout, self._tried)
        self.state['compiled'] = {'path': self._path, 'key': compiled_helper.fitting(self._kernel, layout),
                                  'must_be_signed': bool(refused['unsigned'])}
        try:
            return self._compiled(layout)
        except KmodError as error:
            may_be_loaded = not (refused['unsigned'] or refused['from_memory'])
            if self._wanted == 'auto' and method not in ladder.CALL_THE_KERNEL and may_be_loaded:
                return self._generated(str(error), method)
            raise KmodError(error.tried, error.why, self._have_it_built()) from error

    def _have_it_built(self) -> str:
        return 'Have it built: ' + ladder.with_helper(self._name, self._kernel)

    def _compiled(self, layout: Fact[StructLayout]) -> compiled_helper.Helper:
        from_memory = self._kernel['loads_refused']['from_memory']
        if from_memory:
            self.state.pop('compiled')  # to build one would not help
            raise KmodError('use a helper', from_memory)
        image = child_process.with_deadline(
            lambda: compiled_helper.vet_helper(self._path, self._kernel, layout), self._timeout, self._tried)
        self.state.update({'kind': 'compiled', 'usable': True, 'reason': 'built for this kernel, owned by root'})
        return compiled_helper.Helper(image)

    def _generated(self, why: str, method: str) -> generated_helper.Helper:
        release, refused = self._kernel['release'], self._kernel['loads_refused']
        if method in ladder.CALL_THE_KERNEL or refused['unsigned'] or refused['from_memory']:
            cannot = f'it calls nothing in the kernel: it cannot {method}'
            lacks = refused['from_memory'] or refused['unsigned'] or cannot
            raise KmodError('use a helper that is written on the spot', lacks, self._have_it_built())
        donor = generated_helper.Donor._make(child_process.with_deadline(
            lambda: tuple(generated_helper.find_donor(release)), self._timeout, self._tried))
        self.state.update({'kind': 'synthesized', 'usable': True, 'path': donor.path,
                           'reason': f'written on the spot: {why}'})
        return generated_helper.Helper(donor)


def target_of(helper: Optional[Helper], name: str, facts: ModuleFacts) -> Target:
    """A module's entry, as the helper reaches it. Raises KmodError where it is not known where that is."""
    address, anchors = facts['module']['struct_address'], facts['anchors']
    if helper is None or is_unavailable(address) or is_unavailable(anchors):
        raise KmodError(f'unload {name}', 'where it is in memory is not known any more', 'Run the task again')
    return helper.target(name, address, anchors)
