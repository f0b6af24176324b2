# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's chromium, headless, told what to do over a pipe (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
         '--hide-scrollbars', '--remote-debugging-pipe')
SECONDS = 60.0


def installed() -> bool:
    """Whether the browser is there."""
    return shutil.which('chromium') is not None


@contextmanager
def started() -> Iterator['Browser']:
    """A browser for the length of a ``with`` statement."""
    browser = Browser()
    try:
        browser.attach()
        yield browser
    finally:
        browser.close()


class Browser:
    """One page of one browser with an empty profile. What it complains of and asks for is kept."""

    def __init__(self) -> None:
        self.complaints: List[str] = []
        self.requests: List[str] = []
        self._profile = tempfile.mkdtemp(prefix='kmod-chromium-')
        self._buffer = b''
        self._number = 0
        self._loaded = False
        self._session: Optional[str] = None
        to_it, self._to = os.pipe()
        self._from, from_it = os.pipe()
        self._process = subprocess.Popen(
            # The protocol is spoken on descriptors 3 and 4; dash knows no descriptor above 9.
            ['bash', '-c', f'exec "$@" 3<&{to_it} 4>&{from_it}', 'bash', 'chromium', *FLAGS,
             '--user-data-dir=' + self._profile, 'about:blank'],
            pass_fds=(to_it, from_it), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, 'HOME': self._profile, 'XDG_CONFIG_HOME': self._profile})
        os.close(to_it)
        os.close(from_it)

    def attach(self) -> None:
        """Takes the page that is open and has it report what happens."""
        targets = self.call('Target.getTargets')['targetInfos']
        page = next(target['targetId'] for target in targets if target['type'] == 'page')
        self._session = self.call('Target.attachToTarget', targetId=page, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network', 'Security'):
            self.call(domain + '.enable')

    def close(self) -> None:
        """Ends the browser, which goes when nobody is left to tell it what to do."""
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """What a method of the protocol returns. Raises RuntimeError where it is refused, TimeoutError if it hangs."""
        self._number += 1
        message: Dict[str, Any] = {'id': self._number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._to, json.dumps(message).encode() + b'\0')
        until = time.monotonic() + SECONDS
        while True:
            answer = self._next(until, method)
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError('%s: %s' % (method, answer['error']))
                result: Dict[str, Any] = answer['result']
                return result

    def open(self, page: Path) -> None:
        """Opens a file and waits until it is there."""
        self._loaded = False
        self.call('Page.navigate', url=page.resolve().as_uri())
        until = time.monotonic() + SECONDS
        while not self._loaded:
            self._next(until, 'load ' + page.name)

    def show(self, *, width: int = 1280, height: int = 800, scheme: str = 'light', media: str = 'screen') -> None:
        """The window's size, the colours that the reader prefers, screen or print."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call('Emulation.setEmulatedMedia', media=media,
                  features=[{'name': 'prefers-color-scheme', 'value': scheme}])

    def run_scripts(self, allowed: bool) -> None:
        """Whether the page may run its scripts."""
        self.call('Emulation.setScriptExecutionDisabled', value=not allowed)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError('%s: %s' % (expression[:200], json.dumps(answer['exceptionDetails'])[:800]))
        return answer['result'].get('value')

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        answer = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer['data']))

    def print(self, path: Path) -> None:
        """Writes the page as it is printed, as PDF."""
        answer = self.call('Page.printToPDF', preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(answer['data']))

    def accessibility(self) -> List[Dict[str, Any]]:
        """What a screen reader is told: the nodes that are not ignored."""
        nodes = self.call('Accessibility.getFullAXTree')['nodes']
        return [node for node in nodes if not node.get('ignored')]

    def _next(self, until: float, doing: str) -> Dict[str, Any]:
        while b'\0' not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise TimeoutError('chromium did not answer within %.0f seconds: %s' % (SECONDS, doing))
            data = os.read(self._from, 1 << 16)
            if not data:
                raise RuntimeError('chromium ended: ' + doing)
            self._buffer += data
        text, self._buffer = self._buffer.split(b'\0', 1)
        message: Dict[str, Any] = json.loads(text)
        self._note(message.get('method', ''), message.get('params', {}))
        return message

    def _note(self, event: str, about: Dict[str, Any]) -> None:
        if event == 'Page.loadEventFired':
            self._loaded = True
        elif event == 'Network.requestWillBeSent':
            self.requests.append(about['request']['url'])
        elif event == 'Log.entryAdded':
            self.complaints.append('%(level)s: %(text)s' % about['entry'])
        elif event == 'Runtime.exceptionThrown':
            self.complaints.append(json.dumps(about['exceptionDetails']))
        elif event == 'Runtime.consoleAPICalled':
            self.complaints.append('console.%s: %s' % (about['type'], json.dumps(about['args'])))
