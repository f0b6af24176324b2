# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the playbook audit: what is put together from a fleet's facts, and the page as text."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest
from fleet import (
    BUSY,
    DIED,
    GCC_12,
    HOSTILE,
    IDLE,
    LOST,
    NO_POINTER,
    PADDED,
    compared,
    cure,
    file,
    fleet,
    page_of,
    playbook,
    report_of,
    template,
    told,
)


@pytest.fixture(scope='module')
def report():
    return report_of(fleet())


@pytest.fixture(scope='module')
def page():
    return page_of(fleet())


# --- what is put together -----------------------------------------------------------------------------------------

def findings(report, **wanted):
    """Those with these values."""
    return [found for found in report['findings'] if all(found[key] == value for key, value in wanted.items())]


def test_the_sum_of_the_fleet_is_this(report):
    assert report['summary'] == {
        'hosts': 6, 'answered': 5, 'without_answer': 1, 'incomplete': 1, 'kernels': 3, 'findings': 21,
        'will_not_unload': 3, 'stuck_kernels': 3, 'stuck_hosts': 4, 'worth_a_look': 2}


def test_a_module_is_told_once_for_all_hosts_of_a_kernel(report):
    (found,) = findings(report, module='nicdrv')
    assert found == {
        'module': 'nicdrv', 'kernel': '6.1.0-56-amd64', 'arch': 'x86_64', 'severity': 'error', 'will_not_unload': True,
        'loaded': True, 'diagnosis': 'exit_lost', 'file_verdict': 'layout_mismatch', 'reasons': [LOST[2], PADDED],
        'file': '/opt/nic/nicdrv.ko', 'compilers': [GCC_12], 'layout': {'size': 896, 'init': 312, 'exit': 848},
        'method': 'reset', 'unload': cure('nicdrv'), 'rebuild': True, 'rebuild_with': {'gcc-12': ['web1', 'web2']},
        'without_headers': ['web2'], 'hosts': ['web1', 'web2']}


def test_the_worst_come_first(report):
    assert [found['module'] for found in report['findings']][:5] == ['later', 'nicdrv', 'sensor', 'scanner', 'odd']
    severities = [found['severity'] for found in report['findings']]
    assert severities == sorted(severities, key=['error', 'warning', 'info', 'ok'].index)


def test_kernels_have_their_hosts_and_what_to_build_with(report):
    assert [(kernel['release'], kernel['hosts'], kernel['recommended_compilers'], kernel['without_headers'],
             kernel['will_not_unload']) for kernel in report['kernels']] == [
        ('6.1.0-56-amd64', ['web1', 'web2'], {'gcc-12': ['web1', 'web2']}, ['web2'], 1),
        ('6.12.90+deb13-amd64', ['db1'], {'gcc-12': ['db1']}, [], 1),
        ('7.3.1+deb13-arm64', ['edge1', 'edge2'], {'clang-19': ['edge1']}, [], 1)]
    assert [kernel['compiler']['family'] for kernel in report['kernels']] == ['gcc', 'gcc', 'clang']


def test_silent_hosts_say_why(report):
    assert report['silent_hosts'] == [
        {'host': 'edge2', 'answer': 'modules only',
         'reason': 'Its module files were not compared. Failed to import pyelftools ' + HOSTILE},
        {'host': 'gone<b>', 'answer': 'none', 'reason': 'Failed to connect to the host via ssh: no route ' + HOSTILE}]


# id: (verdict of the diagnosis or None, the file or None, severity, will not unload, rebuild)
OUTCOMES = {
    'as it should be': ('unloadable', file(), 'ok', False, False),
    'in use is no fault': ('in_use', file(), 'ok', False, False),
    'has dependents is no fault': ('has_dependents', file(), 'ok', False, False),
    'died': ('exit_died', file(), 'error', True, False),
    'leaked': ('references_leaked', file(), 'error', True, False),
    'no exit, by design': ('no_exit', file(), 'warning', True, False),
    'unloading is forbidden': ('unload_disabled', file(), 'warning', True, False),
    'exit lost, its file unknown': ('exit_lost', None, 'error', True, True),
    'a mismatch that is not loaded': (None, file('layout_mismatch', 'error', 'x', loaded=False), 'error', True, True),
    'the kernel refuses it': (None, file('vermagic_differs', 'error', 'x', loaded=False), 'error', False, True),
    'vermagic differs, and it loads': ('unloadable', file('vermagic_differs', 'warning', 'x'), 'warning', False, True),
    'another compiler': ('unloadable', file('compiler_differs', 'warning', 'x'), 'warning', False, True),
    'nearly the same compiler': ('unloadable', file('compiler_differs', 'info', 'x'), 'info', False, False),
    'cannot be told': ('unloadable', file('unknown', 'warning', 'x'), 'warning', False, False),
    'died, its file says nothing': ('init_died', file('unknown', 'warning', ''), 'error', True, False),
    'its file is unknown': ('unloadable', None, 'info', False, False),
    'a severity of tomorrow': ('unloadable', file('odd', 'fatal', 'x'), 'warning', False, False),
}


@pytest.mark.parametrize('row', OUTCOMES.values(), ids=list(OUTCOMES))
def test_each_outcome(row):
    verdict, about, severity, stuck, rebuild = row
    release = '6.1.0-56-amd64'
    modules = {'foo': (verdict, 'none', 'Reason.', 'Next')} if verdict else {}
    answers = [compared(release, {'foo': about} if about else {})]
    (found,) = report_of({'a': {'audit_modules': told(release, modules),
                                'audit_files': {'results': answers}}})['findings']
    assert (found['severity'], found['will_not_unload'], found['rebuild']) == (severity, stuck, rebuild)
    assert found['loaded'] == bool(verdict)
    assert found['reasons'] == (['Reason.'] if stuck and verdict else []) + (
        ['x'] if about and about['reason'] else [])


@pytest.mark.parametrize('answer', [
    {}, {'audit_modules': {}}, {'audit_modules': {'unreachable': True}},
    {'audit_modules': {'failed': True, 'msg': 'no Python'}, 'audit_files': {'skipped': True}},
    # Ansible's own facts come with a failure, too.
    {'audit_modules': {'failed': True, 'msg': 'no Python', 'ansible_facts': {'discovered_interpreter_python': '/x'}}},
])
def test_a_fleet_that_does_not_answer_gives_a_report(answer):
    found = report_of({'a': answer})
    assert found['summary']['answered'] == 0
    assert found['findings'] == []
    assert found['silent_hosts'][0]['reason'] in ('the host was not reached', 'no Python')
    assert 'No host answered' in page_of({'a': answer})


def test_a_module_without_a_file_is_told_with_the_reason():
    absent = {'unavailable': 'modules.dep does not name it: it was loaded from elsewhere'}
    unknown = dict(file('layout_mismatch', 'error', 'It has exit at 864.'), file=absent, compilers=absent,
                   layout=absent)
    hosts = {'a': {'audit_modules': told('6.1.0-56-amd64', {'nicdrv': LOST}),
                   'audit_files': {'results': [compared('6.1.0-56-amd64', {'nicdrv': unknown})]}}}
    (found,) = report_of(hosts)['findings']
    assert found['reasons'] == ['It has exit at 864.']
    assert 'data-label="Built by">not known</td>' in page_of(hosts)


def test_a_host_whose_files_were_not_looked_at_has_its_modules():
    found = report_of({'a': {'audit_modules': told('6.1.0-56-amd64', {'foo': DIED})}})
    assert [entry['severity'] for entry in found['findings']] == ['error']
    assert found['kernels'][0]['compiler'] == {'unavailable': 'not asked'}


def test_an_unknown_file_adds_nothing_to_what_is_known():
    (found,) = report_of({'a': {
        'audit_modules': told('6.1.0-56-amd64', {'sensor': DIED}),
        'audit_files': {'results': [compared('6.1.0-56-amd64', {'sensor': file('unknown', 'warning', 'No file.')})]},
    }})['findings']
    assert found['reasons'] == [DIED[2]]


def test_what_a_closer_look_found_counts():
    leaked = ('references_leaked', 'kernel_force', 'foo has 3 references, and nothing was found that holds them.', 'x')
    host = {'audit_modules': told('6.1.0-56-amd64', {'foo': BUSY, 'bar': IDLE}),
            'audit_closer': told('6.1.0-56-amd64', {'foo': leaked})}
    assert [(found['module'], found['diagnosis'], found['will_not_unload'])
            for found in report_of({'a': host})['findings']] == [
        ('foo', 'references_leaked', True), ('bar', 'unloadable', False)]


def test_many_hosts_are_one_row():
    hosts = {'host%03d' % number: fleet()['web1'] for number in range(40)}
    found = report_of(hosts)
    assert found['summary']['findings'] == 5
    text = page_of(hosts)
    assert text.count('and 35 more') == 2
    assert 'host039' in text
    # The command names no more hosts than one can read.
    assert 'ansible HOST -b' in text


def test_a_command_is_told_as_one_that_can_be_copied(page):
    text = html.unescape(page)
    assert 'Get it out: <code>%s</code>' % cure('nicdrv').replace('HOST', 'web1,web2') in text
    assert 'Get it out: <code>%s</code>' % playbook('sensor').replace('HOST', 'db1') in text
    assert '-l HOST' not in text


def test_what_is_said_at_the_end(report):
    text = template('audit.txt.j2', {}, audit_report=report, audit_file='/tmp/kmod-audit')
    assert text.splitlines() == [
        'Hosts that answered: 5 of 6', 'Modules that will not unload: 3',
        '- nicdrv on web1, web2 (6.1.0-56-amd64): %s %s' % (NO_POINTER, PADDED),
        '- sensor on db1 (6.12.90+deb13-amd64): ' + DIED[2],
        '- odd on edge1 (7.3.1+deb13-arm64): odd %s %s' % (HOSTILE, HOSTILE),
        '- edge2: Its module files were not compared. Failed to import pyelftools ' + HOSTILE,
        '- gone<b>: Failed to connect to the host via ssh: no route ' + HOSTILE,
        'The report: /tmp/kmod-audit.html and /tmp/kmod-audit.json']


# --- the page as text ---------------------------------------------------------------------------------------------

TAGS = {'html', 'head', 'meta', 'title', 'link', 'style', 'body', 'a', 'header', 'h1', 'h2', 'h3', 'p', 'ul', 'li', 'b',
        'nav', 'main', 'section', 'table', 'caption', 'thead', 'tbody', 'tr', 'th', 'td', 'span', 'code', 'dl', 'dt',
        'dd', 'label', 'input', 'footer', 'script', 'details', 'summary'}


class Page(HTMLParser):
    """Tags, attributes and text of a page, as an HTML parser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.text, self.blocks = [], [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ('meta', 'link', 'input'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('style', 'script'):
            self.blocks[self.open[-1]] = self.blocks.get(self.open[-1], '') + data
        else:
            self.text.append(data)


def test_every_tag_is_closed_and_known(page):
    parsed = Page(page)
    assert parsed.open == []
    assert set(parsed.tags) - TAGS == set()
    assert parsed.tags.count('script') == 1


def test_the_page_asks_for_nothing_from_elsewhere(page):
    parsed = Page(page)
    links = [value for _tag, name, value in parsed.attributes if name in ('href', 'src', 'action', 'data', 'srcset')]
    assert all(link.startswith('#') or link == 'data:,' for link in links)
    assert 'url(' not in parsed.blocks['style']
    assert '@import' not in parsed.blocks['style']
    ids = {value for _tag, name, value in parsed.attributes if name == 'id'}
    assert {link[1:] for link in links if link.startswith('#')} <= ids
    assert not [name for _tag, name, _value in parsed.attributes if name.startswith('on') or name == 'style']


@pytest.mark.parametrize('block', ['style', 'script'])
def test_the_policy_allows_this_block_and_no_other(page, block):
    parsed = Page(page)
    digest = base64.b64encode(hashlib.sha256(parsed.blocks[block].encode()).digest()).decode()
    (policy,) = [value for _tag, name, value in parsed.attributes if name == 'content' and "'none'" in value]
    assert "%s-src 'sha256-%s'" % (block, digest) in policy.split('; ')
    assert policy.startswith("default-src 'none'; ")
    assert 'unsafe' not in policy


def hostile(value, key=''):
    """The same facts with every text that a host can choose turned hostile."""
    if isinstance(value, dict):
        own = key in ('modules',)
        return {HOSTILE + name if own else name: hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_no_text_of_a_host_becomes_markup():
    hosts = {HOSTILE + host: hostile(answers) for host, answers in fleet().items()}
    text = page_of(hosts)
    parsed = Page(text)
    assert set(parsed.tags) - TAGS == set()
    assert parsed.tags.count('script') == 1
    assert not [name for _tag, name, _value in parsed.attributes if name.startswith('on')]
    assert HOSTILE in ''.join(parsed.text)
    # As it came: neither rendered as a template nor escaped twice.
    assert '&amp;lt;' not in text
    assert html.escape(HOSTILE)[:30] in text


def test_tables_have_captions_and_scopes(page):
    parsed = Page(page)
    assert parsed.tags.count('table') == parsed.tags.count('caption') > 3
    scopes = [value for tag, name, value in parsed.attributes if tag == 'th' and name == 'scope']
    assert len(scopes) == parsed.tags.count('th')
    assert set(scopes) == {'col', 'row'}


def test_severity_is_a_word(page):
    assert set(re.findall(r'<span class="severity (\w+)">\1</span>', page)) == {'error', 'warning', 'info', 'ok'}
