# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a module file: every plan and refusal, and parameters as the kernel takes them apart."""

import errno

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import load_plan
from hypothesis import given
from hypothesis import strategies as st

FIT = {'verdict': 'match', 'severity': 'ok', 'reason': 'It fits.'}
NONE = unavailable('the file has none')
NO_EXIT = dict(builders.LAYOUT, exit=None)


def module_file(**changes):
    return dict({'name': 'foo', 'build_id': 'aa', 'srcversion': 'SRC', 'signed': False, 'layout': builders.LAYOUT,
                 'fitness': FIT, 'parameters': {
                     'count': 'int', 'on': 'bool', 'ports': 'array of ushort', 'label': 'charp', 'own': None}},
                **changes)


def loaded(state='live', **changes):
    if state in ('absent', 'builtin'):
        return dict({'state': state, 'depends': {}}, **changes)
    return dict({'state': state, 'refcount': 0, 'used_by': [], 'permanent': False, 'build_id': 'aa',
                 'srcversion': 'SRC', 'parameters': {'count': '1', 'on': 'Y', 'ports': '1,2', 'label': 'a b'},
                 'depends': {}, 'diagnosis': {'verdict': 'init_died', 'reason': 'It died.'}}, **changes)


def host(**changes):
    return builders.kernel(**dict({'loader': 'ok'}, **changes))


def planned(file, there, kernel=None, replace=False, **params):
    options = {'params': load_plan.wanted(params), 'replace': replace}
    return load_plan.plan(file, there, kernel or host(), options)


# id: (file, loaded, replace, parameters): action, verdict, words of the reason
STANDING = {
    'absent': (({}, loaded('absent'), False, {}), 'load', 'loadable', 'foo is not loaded.'),
    'builtin': (({}, loaded('builtin'), True, {}), 'refuse', 'builtin', 'foo is built into this kernel.'),
    'same build': (({}, loaded(), False, {}), 'none', 'same_build', 'foo is loaded (build id aa).'),
    'same build, replace': (({}, loaded(), True, {}), 'none', 'same_build', 'build id aa'),
    'same parameters': (({}, loaded(), True, {'count': '0x1', 'on': True, 'ports': [1, 2], 'label': 'a b'}),
                        'none', 'same_build', 'build id aa'),
    'other parameters': (({}, loaded(), False, {'count': 2, 'on': False}), 'none', 'parameters_differ',
                         'count is 1 and not 2; on is Y and not 0'),
    'other parameters, replace': (({}, loaded(), True, {'count': 2}), 'replace', 'parameters_differ',
                                  'count is 1 and not 2'),
    'hidden parameter': (({}, loaded(), True, {'own': 2}), 'none', 'same_build', 'build id aa'),
    'other and hidden parameters, replace': (({}, loaded(), True, {'count': 2, 'own': 1}), 'replace',
                                             'parameters_differ', 'count is 1 and not 2'),
    'other build': (({}, loaded(build_id='bb'), False, {}), 'refuse', 'other_build', 'build id bb and not aa'),
    'other build, replace': (({}, loaded(build_id='bb'), True, {}), 'replace', 'other_build', 'build id bb and not aa'),
    'by srcversion, same': (({'build_id': NONE}, loaded(), False, {}), 'none', 'same_build', 'srcversion SRC'),
    'by srcversion, other': (({}, loaded(build_id=NONE, srcversion='X'), False, {}), 'refuse', 'other_build',
                             'srcversion X and not SRC'),
    'the build id counts more': (({}, loaded(srcversion='X'), False, {}), 'none', 'same_build', 'build id aa'),
    'cannot be told': (({'build_id': NONE, 'srcversion': NONE}, loaded(), False, {}), 'none', 'build_unknown',
                       'foo is loaded, maybe from another build.'),
    'cannot be told, replace': (({'build_id': NONE, 'srcversion': NONE}, loaded(), True, {}), 'replace',
                                'build_unknown', 'cannot be told: neither a build id nor a srcversion'),
    'coming': (({}, loaded('coming'), True, {}), 'refuse', 'stuck', 'is coming: It died.'),
    'going': (({}, loaded('going'), False, {}), 'refuse', 'stuck', 'is going: It died.'),
    'permanent, same build, exit lost': (({}, loaded(permanent=True), False, {}), 'refuse', 'stuck', 'is permanent'),
    'permanent, other build': (({'layout': NO_EXIT}, loaded(permanent=True, build_id='bb'), True, {}), 'refuse',
                               'stuck', 'is permanent'),
    'permanent by design': (({'layout': NO_EXIT}, loaded(permanent=True), True, {}), 'none', 'same_build', 'aa'),
    'permanent by design, other parameters': (({'layout': NO_EXIT}, loaded(permanent=True), True, {'count': 2}),
                                              'none', 'parameters_differ', 'count is 1'),
    'neither init nor exit, other parameters': (
        ({'layout': dict(NO_EXIT, init=None)}, loaded(), True, {'count': 2}), 'replace', 'parameters_differ', 'count'),
    'unknown parameter': (({}, loaded('absent'), False, {'bogus': 1}), 'refuse', 'bad_parameter',
                          "foo has no parameter 'bogus'."),
    'unknown parameter of what is loaded': (({}, loaded(), False, {'bogus': 1}), 'refuse', 'bad_parameter', 'bogus'),
}


@pytest.mark.parametrize(('given_facts', 'action', 'verdict', 'words'), STANDING.values(), ids=list(STANDING))
def test_what_is_loaded_decides(given_facts, action, verdict, words):
    changes, there, replace, params = given_facts
    plan = planned(module_file(**changes), there, None, replace, **params)
    assert (plan['action'], plan['verdict']) == (action, verdict)
    assert words in plan['reason']
    assert plan['reason'].endswith('.')
    assert bool(plan['next']) == (action == 'refuse')


@pytest.mark.parametrize(('case', 'words'), [
    ('coming', 'kmod_force_unload with name=foo'), ('permanent, other build', 'kmod_force_unload with name=foo'),
    ('other build', 'replace=true'), ('unknown parameter', 'It has count, label, on, own, ports')])
def test_the_next_step(case, words):
    changes, there, replace, params = STANDING[case][0]
    assert words in planned(module_file(**changes), there, None, replace, **params)['next']


# id: (case of STANDING, words of each warning)
WARNED = {
    'same build': [], 'other parameters': ['count is 1 and not 2 as asked for. Set replace=true', 'on is Y and not 0'],
    'hidden parameter': ['the parameter own of foo has the value asked for cannot be told'],
    'cannot be told': ['Whether this build of foo is the one that is loaded cannot be told'],
    'permanent by design, other parameters': ['count is 1 and not 2 as asked for. It cannot be unloaded'],
    'other parameters, replace': [],
    'other and hidden parameters, replace': ['the parameter own of foo has the value asked for cannot be told'],
}


@pytest.mark.parametrize('case', WARNED)
def test_what_differs_and_stays_is_a_warning(case):
    changes, there, replace, params = STANDING[case][0]
    warnings = planned(module_file(**changes), there, None, replace, **params)['warnings']
    assert len(warnings) == len(WARNED[case])
    assert all(words in warning for words, warning in zip(WARNED[case], warnings))


MISMATCH = {'verdict': 'layout_mismatch', 'severity': 'error', 'reason': 'Exit at 864 instead of 848.'}
FOREIGN = {'verdict': 'vermagic_differs', 'severity': 'error', 'reason': 'It is for another kernel.'}
# id: (file, kernel, states of what it depends on): verdict, words
OBSTACLES = {
    'layout': ({'fitness': MISMATCH}, {}, {}, 'layout_mismatch', 'Exit at 864 instead of 848.'),
    'vermagic': ({'fitness': FOREIGN}, {}, {}, 'vermagic_differs', 'another kernel'),
    'modules_disabled': ({}, {'modules_disabled': 1}, {}, 'load_disabled', 'until the next boot'),
    'wedged': ({}, {'loader': 'wedged'}, {}, 'loader_wedged', 'this load would hang'),
    'unsigned': ({}, {'module_signatures': 'enforced', 'lockdown': 'integrity'}, {}, 'unsigned', 'lockdown=integrity'),
    'unsigned, lockdown unknown': ({}, {'module_signatures': 'enforced', 'lockdown': NONE}, {}, 'unsigned', 'unknown'),
    'depends': ({}, {}, {'bar': 'absent', 'baz': 'live', 'qux': 'builtin'}, 'depends_missing', 'foo needs bar, not'),
    'depends, stuck': ({}, {}, {'bar': 'coming'}, 'depends_missing', 'bar is coming'),
}


@pytest.mark.parametrize('case', OBSTACLES)
@pytest.mark.parametrize('there', [loaded('absent'), loaded(build_id='bb')], ids=['absent', 'other build'])
def test_refused_before_the_kernel_sees_it(case, there):
    changes, kernel, depends, verdict, words = OBSTACLES[case]
    plan = planned(module_file(**changes), dict(there, depends=depends), host(**kernel), replace=True)
    assert (plan['action'], plan['verdict']) == ('refuse', verdict)
    assert words in plan['reason']
    assert plan['next']
    assert ('Reboot required' in plan['next']) == (case == 'wedged')


@pytest.mark.parametrize('case', OBSTACLES)
def test_what_is_loaded_already_needs_nothing_of_the_kernel(case):
    changes, kernel, depends, _verdict, _words = OBSTACLES[case]
    assert planned(module_file(**changes), loaded(depends=depends), host(**kernel))['action'] == 'none'


# id: (file, kernel): words of the warning, or None
LOADED_ALL_THE_SAME = {
    'signed': ({'signed': True}, {'module_signatures': 'enforced'}, None),
    'signatures unknown': ({}, {'module_signatures': NONE, 'modules_disabled': NONE}, None),
    'info': ({'fitness': dict(FIT, severity='info', reason='By gcc 12.3.')}, {}, None),
    'warning': ({'fitness': dict(FIT, severity='warning', reason='By gcc 9.')}, {}, 'foo: By gcc 9.'),
    'no exit': ({'layout': NO_EXIT}, {}, 'foo has no exit function: it cannot be unloaded again.'),
    'neither init nor exit': ({'layout': dict(NO_EXIT, init=None)}, {}, None),
    'a stale entry of finit_module': ({}, {'loader': 'stale_entry_suspected'}, load_plan.STALE),
}


@pytest.mark.parametrize('case', LOADED_ALL_THE_SAME)
def test_loaded_with_or_without_a_warning(case):
    changes, kernel, warning = LOADED_ALL_THE_SAME[case]
    plan = planned(module_file(**changes), loaded('absent'), host(**kernel))
    assert (plan['action'], plan['warnings']) == ('load', [warning] if warning else [])


# --- parameters ---------------------------------------------------------------------------------------------------

# parameter: (value, words of the fault, or None)
VALUES = [
    ('count', 5, None), ('count', '-5', None), ('count', '0x1F', None), ('count', '017', None), ('count', '+3', None),
    ('count', 'five', "'five' is no integer"), ('count', '5 ', "'5 ' is no integer"), ('count', '08', 'no integer'),
    ('count', '', 'no integer'), ('count', 2**31, 'is not between -2147483648 and 2147483647'),
    ('count', -2**31, None), ('count', 1.5, 'no integer'),
    ('on', True, None), ('on', 'off', None), ('on', 'N', None), ('on', 'maybe', 'neither yes nor no'),
    ('on', '', 'neither yes nor no'), ('on', 'o', 'neither yes nor no'),
    ('ports', [80, 443], None), ('ports', '80,443', None), ('ports', [80, -1], '-1 is not between 0 and 65535'),
    ('label', 'two words', None), ('label', '', None), ('label', 'gr\xfcn', None),
    ('label', 'a"b', "the character '\"'"), ('label', 'a\nb', "the character '\\n'"), ('label', 'a\0b', "'\\x00'"),
    ('label', 'a\ud83d', 'no UTF-8 text'), ('label', None, 'no value'), ('label', {'a': 1}, 'no value'),
    ('own', 'anything', None), ('dyndbg', '+p', None), ('async_probe', 1, None), ('no-such', 1, 'no parameter'),
    ('co=unt', 1, 'no parameter'), ('', 1, 'no parameter'), ('count b', 1, 'no parameter'),
]


@pytest.mark.parametrize(('name', 'value', 'words'), VALUES, ids=['%s=%s' % (row[0], ascii(row[1])) for row in VALUES])
def test_a_parameter_that_cannot_be_is_named(name, value, words):
    fault = load_plan.parameter_fault(module_file(), load_plan.wanted({name: value}))
    if words is None:
        assert fault is None
    else:
        assert words in fault[0]
        assert fault[1]


def test_a_module_without_parameters_says_so():
    assert load_plan.parameter_fault(module_file(parameters={}), {'a': '1'}) == (
        "foo has no parameter 'a'", 'It has none')


@pytest.mark.parametrize(('asked', 'shown', 'kind', 'same'), [
    ('1', 'Y', 'bool', True), ('0', 'Y', 'bool', False), ('no', 'N', 'invbool', True), ('x', 'N', 'bool', False),
    ('0x10', '16', 'int', True), ('0x10', '0x00000010', 'hexint', True), ('-1', '1', 'int', False),
    ('010', '8', None, True), ('1,2', '1,2', 'array of int', True), ('1,0x2', '1,2', 'array of int', True),
    ('1,2', '1,2,0', 'array of int', False), ('a', 'b', 'charp', False), ('a b', 'a b', 'charp', True),
])
def test_whether_a_value_is_the_one_shown(asked, shown, kind, same):
    assert load_plan.same_value(asked, shown, kind) is same


@given(st.integers())
def test_a_number_is_read_as_it_was_written(value):
    for text in (str(value), hex(value), '-0%o' % -value if value < 0 else '0%o' % value):
        assert load_plan.number(text) == value


def parse_args(text):
    """parse_args and next_arg of kernel/params.c on bytes, with isspace of lib/ctype.c: {name: value}."""
    space = b' \t\n\v\f\r\xa0'
    found = {}
    args = text.lstrip(space)
    while args:
        in_quote = quoted = args[:1] == b'"'
        args = args[1:] if quoted else args
        at, equals = 0, 0
        while at < len(args) and (in_quote or args[at:at + 1] not in tuple(bytes([c]) for c in space)):
            if not equals and args[at:at + 1] == b'=':
                equals = at
            if args[at:at + 1] == b'"':
                in_quote = not in_quote
            at += 1
        assert equals, 'a parameter without a value'
        value = args[equals + 1:at]
        if value[:1] == b'"':
            value = value[1:-1] if value[-1:] == b'"' else value[1:]
        found[args[:equals]] = value
        args = args[at + 1:].lstrip(space)
    return found


NAMES = st.from_regex(r'\A[a-z_][a-z0-9_]{0,8}\Z')
TEXTS = st.one_of(st.text(), st.text(alphabet=' \xa0\xe0=,"\'\\a-'), st.integers(), st.booleans(),
                  st.lists(st.integers()))


@given(st.dictionaries(NAMES, TEXTS))
def test_the_kernel_reads_what_was_asked_for_or_it_is_refused(params):
    file = module_file(parameters=dict.fromkeys(params))
    values = load_plan.wanted(params)
    if load_plan.parameter_fault(file, values):
        assert any(c in value for value in values.values()
                   for c in ['"', '\x7f'] + [chr(code) for code in range(32)])
    else:
        read = parse_args(load_plan.parameter_text(values).encode('utf-8'))
        assert read == {name.encode(): value.encode('utf-8') for name, value in values.items()}


# --- what the kernel answers --------------------------------------------------------------------------------------

@pytest.mark.parametrize('code', [*sorted(load_plan.ANSWERS), errno.EIO])
def test_an_answer_is_told_in_words(code):
    log = ['[    1.2] too old', '[   18.234789] foo: disagrees', '[   19.5][ T1] b',
           '[   20.1] foo: loading out-of-tree module taints kernel.', '[   20.2] c']
    why, following = load_plan.answer(code, loader_syscalls.errno_text(code), log)
    assert why.startswith('the kernel answered ' + errno.errorcode[code])
    assert why.endswith('. Its log says: foo: disagrees; b; c')
    assert following is None or not following.endswith('.')


def test_a_log_without_new_lines_is_not_mentioned():
    why, following = load_plan.answer(errno.ENOENT, 'ENOENT', [])
    assert why == 'the kernel answered ENOENT: it needs a symbol that neither the kernel nor a loaded module has'
    assert following.startswith('Load the module that exports the symbol first')
