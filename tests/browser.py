"""A real browser without a window, spoken to through a pipe.

Chromium takes commands of its DevTools protocol as JSON that ends with a zero
byte, on file descriptor 3, and answers on 4: no package is needed for it.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
PATIENCE = 60  # seconds for one answer


def find_browser():
    """Path of an installed Chromium; None without."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser.

    Attributes:
        errors (list[str]): What the console has said since the last
            :meth:`open`: errors, exceptions, files that did not load.
        requests (list[str]): Addresses that the page has asked for.
    """

    def __init__(self, process, commands, answers):
        self._process = process
        self._commands, self._answers = commands, answers
        self._rest, self._number = b'', 0
        self._session = None
        self.errors, self.requests, self._events = [], [], []
        target = self._call('Target.createTarget', url='about:blank')
        self._session = self._call(
            'Target.attachToTarget', targetId=target['targetId'], flatten=True
        )['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self._call(f'{domain}.enable')

    def open(self, path, width, height=900, dark=False):
        """Show a file in a window of some size."""
        self.errors, self.requests, self._events = [], [], []
        self._call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        theme = {
            'name': 'prefers-color-scheme',
            'value': 'dark' if dark else 'light',
        }
        self._call('Emulation.setEmulatedMedia', features=[theme])
        self._call('Page.navigate', url=path.resolve().as_uri())
        while 'Page.loadEventFired' not in self._events:
            self._read()
        self.evaluate('new Promise(done => requestAnimationFrame(done))')

    def evaluate(self, expression):
        """Value of a JavaScript expression in the page."""
        found = self._call(
            'Runtime.evaluate',
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if 'exceptionDetails' in found:
            raise RuntimeError(f'{expression}: {found["exceptionDetails"]}')
        return found['result'].get('value')

    def screenshot(self, path):
        """Write the whole page as PNG."""
        found = self._call(
            'Page.captureScreenshot', captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(found['data']))

    def close(self):
        """End the browser."""
        with contextlib.suppress(OSError):
            self._call('Browser.close')
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _call(self, method, **params):
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session and not method.startswith(('Target', 'Browser')):
            message['sessionId'] = self._session
        os.write(self._commands, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']

    def _read(self):
        """Next message; what pages say is noted."""
        limit = time.monotonic() + PATIENCE
        while b'\0' not in self._rest:
            left = limit - time.monotonic()
            if left < 0 or not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError(f'no answer in {PATIENCE} s')
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise OSError('the browser has ended')
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b'\0')
        message = json.loads(text)
        self._note(message.get('method'), message.get('params', {}))
        return message

    def _note(self, event, params):
        self._events.append(event)
        if event == 'Runtime.exceptionThrown':
            self.errors.append(str(params['exceptionDetails']))
        elif event == 'Runtime.consoleAPICalled':
            if params['type'] in ('error', 'assert', 'warning'):
                self.errors.append(str(params['args']))
        elif event == 'Log.entryAdded':
            if params['entry']['level'] in ('error', 'warning'):
                self.errors.append(params['entry']['text'])
        elif event == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif event == 'Network.loadingFailed':
            self.errors.append(params['errorText'])


@contextlib.contextmanager
def browser(profile):
    """Start a browser; end it behind the block.

    Args:
        profile (Path): Empty folder for what it writes.
    """
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    arguments = [
        find_browser(),
        '--headless=new',
        '--no-sandbox',  # a test may run as root
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        f'--user-data-dir={profile}',
        '--remote-debugging-pipe',
    ]
    command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ['bash', '-c', command, 'browser', *arguments],
        pass_fds=[theirs_in, theirs_out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    page = Browser(process, commands, answers)
    try:
        yield page
    finally:
        page.close()
