# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the documentation, from a run of the demo: `make pictures`.

What it printed is drawn as a terminal: each heading and command, and the first lines of what came. The page that its
playbook wrote is drawn as a browser shows it.
"""

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple

import chromium

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / 'docs/docsite/rst/images'
COLUMNS = 118
LINES_OF_A_COMMAND = 7
# Browsers make one space of several.
NO_BREAK = '&#160;'
LINE_HEIGHT, CHARACTER = 19, 7.83
PAPER, PLAIN, HEADING, COMMAND, BAD = '#1b1f24', '#c9d1d9', '#ffffff', '#7ee787', '#ffa198'
UNTOLD = re.compile(r'    (Booting|TASK|ok:|included:|changed: |\[WARNING\])|    $')
TROUBLE = re.compile(r'ERROR|BUG:|Killed|refus')


class Line(NamedTuple):
    """A line of the picture."""

    text: str
    colour: str
    bold: bool = False


def lines_of(printed: str) -> List[Line]:
    """What of a run is drawn."""
    lines: List[Line] = []
    told = 0
    for text in printed.splitlines():
        if re.match(r'\d+\. ', text):
            lines += [Line('', PLAIN), Line(text, HEADING, bold=True)]
        elif text.startswith('$ '):
            lines.append(Line(text, COMMAND))
            told = 0
        elif text.startswith('    ') and not UNTOLD.match(text):
            told += 1
            if told <= LINES_OF_A_COMMAND:
                lines.append(Line(text, BAD if TROUBLE.search(text) else PLAIN))
            elif told == LINES_OF_A_COMMAND + 1:
                lines.append(Line('    ...', PLAIN))
    return [*lines, Line('', PLAIN), Line(printed.rstrip().rpartition('\n')[2], HEADING, bold=True)]


def shortened(text: str) -> str:
    """A line that fits the picture, with no name of who ran it."""
    text = text.replace(str(Path.home()), '~')
    return text if len(text) <= COLUMNS else text[:COLUMNS - 4] + ' ...'


def terminal(lines: List[Line]) -> str:
    """The lines as SVG."""
    width, height = round(COLUMNS * CHARACTER + 40), LINE_HEIGHT * len(lines) + 40
    rows = []
    for number, line in enumerate(lines):
        weight = ' font-weight="bold"' if line.bold else ''
        rows.append(f'<text x="20" y="{LINE_HEIGHT * number + 34}" fill="{line.colour}"{weight}>'
                    f'{html.escape(shortened(line.text)).replace(" ", NO_BREAK)}</text>')
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13">')
    return '\n'.join([
        head, '<title>Stuck modules, as make demo shows them</title>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>', *rows, '</svg>', ''])


def demo() -> str:
    """Runs the demo before the reader's eyes and returns what it printed."""
    printed = []
    with subprocess.Popen([sys.executable, 'tests/demo.py'], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout or ():
            print(line, end='', flush=True)
            printed.append(line)
    if run.returncode:
        raise SystemExit(f'The demo ended with {run.returncode}: no picture is drawn.')
    return ''.join(printed)


def main() -> None:
    """Draws both."""
    text = terminal(lines_of(demo()))
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / 'demo.svg').write_text(text, encoding='utf-8')
    with chromium.started() as browser:
        browser.show(width=1100, height=400)
        browser.open(CHECKOUT / 'kmod-force-unload.html')
        browser.screenshot(IMAGES / 'report.png', whole=True)
    print(f'demo.svg and report.png are in {IMAGES}.')


if __name__ == '__main__':
    main()
