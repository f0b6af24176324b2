# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the playbook audit in a browser: colours, widths, print, what a screen reader is told."""

import sys
from pathlib import Path

import pytest
from fleet import GCC_12, compared, file, fleet, page_of, told

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools'))

import chromium

pytestmark = pytest.mark.skipif(not chromium.installed(), reason='Debian\'s chromium is not installed: make prepare')

# The contrast of each element that has text of its own with what lies behind it (WCAG 2.2, 1.4.3), the least first.
CONTRASTS = '''
(() => {
  const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const part = (value) => value <= 10.31475 ? value / 3294.6 : Math.pow((value / 255 + 0.055) / 1.055, 2.4);
  const light = ([red, green, blue]) => 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 0, 0];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
    const [text, back] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    found.push([contrast, element.tagName, element.textContent.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
'''
BEYOND = '''
[...document.querySelectorAll('body *')].filter((element) => !element.matches('.skip, thead, thead *'))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML)
'''
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((heading) => Number(heading.tagName[1]))"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
ROWS = "[...document.querySelectorAll('#modules tbody tr')].filter((row) => row.checkVisibility()).length"


def bottom(browser, selector):
    """Where the element's lower edge lies in the window."""
    return browser.evaluate("document.querySelector('%s').getBoundingClientRect().bottom" % selector)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    written = tmp_path_factory.mktemp('audit') / 'kmod-audit.html'
    written.write_text(page_of(fleet()))
    return written


@pytest.fixture(scope='module')
def started():
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def browser(started, path):
    """The page, just opened, in a window of a desk."""
    started.complaints.clear()
    started.requests.clear()
    started.run_scripts(allowed=True)
    started.show()
    started.open(path)
    return started


def test_it_opens_without_a_complaint_and_asks_for_nothing_else(browser, path):
    assert browser.evaluate('document.title') == 'Kernel module audit: 3 modules will not unload'
    assert browser.complaints == []
    assert browser.requests == [path.as_uri()]


def test_the_policy_stops_what_a_host_could_smuggle_in(browser):
    browser.evaluate("""(() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "taken over"';
      document.body.append(script);
      const image = document.createElement('img');
      image.src = 'https://example.org/x.png';
      document.body.append(image);
    })()""")
    assert browser.evaluate('document.title') != 'taken over'
    assert len(browser.complaints) == 2
    assert all('Content Security Policy' in complaint for complaint in browser.complaints)


@pytest.mark.parametrize(('scheme', 'background'), [('light', 'rgb(255, 255, 255)'), ('dark', 'rgb(20, 23, 27)')])
def test_all_text_has_contrast(browser, scheme, background):
    browser.show(scheme=scheme)
    assert browser.evaluate(BACKGROUND) == background
    contrasts = browser.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [found for found in contrasts if found[0] < 4.5] == []


@pytest.mark.parametrize('width', [320, 360, 768, 1280, 2560])
def test_nothing_lies_beyond_the_edge(browser, width):
    browser.show(width=width)
    assert browser.evaluate('document.documentElement.scrollWidth') <= width
    assert browser.evaluate(BEYOND) == []


@pytest.mark.parametrize('width', [360, 1280])
def test_no_word_is_too_long(browser, tmp_path, width):
    word = 'a' * 400
    release = '6.1.0-56-amd64'
    odd = file('layout_mismatch', 'error', word, word, [dict(GCC_12, version=word)])
    (tmp_path / 'long.html').write_text(page_of({word: {
        'audit_modules': told(release, {word: ('no_exit', 'reset', word, word)}),
        'audit_files': {'results': [compared(release, {word: odd}, recommended=word)]}}, word + '2': {}}))
    browser.show(width=width)
    browser.open(tmp_path / 'long.html')
    assert browser.evaluate('document.documentElement.scrollWidth') <= width
    assert browser.evaluate(BEYOND) == []


def test_a_glance_is_enough(browser):
    """The number of stuck modules, and the first rows with why and what to do, are on the first screen."""
    assert browser.evaluate("document.querySelector('.lead').innerText") == '3 modules will not unload, on 4 hosts'
    assert bottom(browser, '#glance tbody tr:last-child') < 800
    browser.show(width=360, height=740)
    assert bottom(browser, '.lead') < 200
    assert bottom(browser, '#glance tbody th') < 740


def test_headings_are_in_order(browser):
    levels = browser.evaluate(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(following <= level + 1 for level, following in zip(levels, levels[1:]))


@pytest.mark.parametrize('width', [360, 1280])
def test_a_screen_reader_is_told_of_landmarks_and_tables(browser, width):
    browser.show(width=width)
    nodes = browser.accessibility()
    roles = [node['role']['value'] for node in nodes]
    for role in ('banner', 'navigation', 'main', 'contentinfo'):
        assert roles.count(role) == 1, role
    regions = [node['name']['value'] for node in nodes if node['role']['value'] == 'region']
    assert regions == ['Will not unload', 'Worth a look', 'By kernel', 'Hosts without an answer', 'All modules']
    tables = [node['name']['value'] for node in nodes if node['role']['value'] == 'table']
    assert len(tables) == 7
    assert all(tables)
    assert roles.count('columnheader') > 30
    assert roles.count('rowheader') > 30
    assert roles.count('cell') == browser.evaluate("document.querySelectorAll('td').length") > 100


def test_the_filter_shows_the_rows_with_all_words(browser):
    total = browser.evaluate(ROWS)
    assert total == 21
    browser.evaluate("""(() => {
      const field = document.getElementById('filter');
      field.value = 'WEB1 match';
      field.dispatchEvent(new Event('input'));
    })()""")
    assert browser.evaluate(ROWS) == 5
    assert browser.evaluate("document.getElementById('filtered').textContent") == '5 of 21 rows'
    assert browser.complaints == []


def test_it_says_all_without_scripts(browser, path):
    browser.run_scripts(allowed=False)
    browser.open(path)
    browser.run_scripts(allowed=True)
    assert browser.evaluate(ROWS) == 21
    assert not browser.evaluate("document.querySelector('.filter').checkVisibility()")


def test_printed_it_is_black_on_white_and_whole(browser, tmp_path):
    browser.show(scheme='dark', media='print', width=700)
    assert browser.evaluate(BACKGROUND) == 'rgb(255, 255, 255)'
    assert all(found[0] > 12 for found in browser.evaluate(CONTRASTS))
    assert not browser.evaluate("document.querySelector('nav').checkVisibility()")
    assert browser.evaluate(ROWS) == 21
    assert browser.evaluate('document.documentElement.scrollWidth') <= 700
    browser.print(tmp_path / 'page.pdf')
    assert (tmp_path / 'page.pdf').read_bytes().startswith(b'%PDF-')


def test_a_long_list_of_hosts_is_folded_on_the_screen_and_whole_in_print(browser, tmp_path):
    many = tmp_path / 'many.html'
    many.write_text(page_of({'host%03d.example.org' % number: fleet()['web1'] for number in range(300)}))
    browser.open(many)
    height = "document.querySelector('#glance details').getBoundingClientRect().height"
    assert browser.evaluate(height) < 60
    assert bottom(browser, '#glance tbody tr:last-child') < 800
    browser.show(media='print', width=700)
    assert browser.evaluate(height) > 200
    assert browser.evaluate('document.documentElement.scrollWidth') <= 700
