"""Measurements on disk, one file per machine and setting."""

import hashlib
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import torch

FORMAT_VERSION = 1
VARIABLE = 'MMDHP_CACHE'


def default_folder() -> Path:
    """``$MMDHP_CACHE``, else ``mmdhp`` in the user's folder for caches."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'mmdhp'


def environment(device: torch.device) -> dict[str, Any]:
    """What the time of an operator depends on besides itself.

    Args:
        device (torch.device): Where it runs.
    """
    name = cpu_name()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return {
        'device': name,
        'threads': torch.get_num_threads(),
        'torch': str(torch.__version__),
        'benchmark': torch.backends.cudnn.benchmark,
        'tf32': torch.backends.cudnn.allow_tf32,
    }


def cpu_name() -> str:
    """Model of the processor, as far as the system tells."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith(('model name', 'Model')):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Store:
    """Numbers by name, kept in a file.

    A file that cannot be read is ignored, one that cannot be written makes a
    warning: then the same is measured again the next time.

    Args:
        environment (Mapping): What the numbers depend on.
        folder (str, optional): Where. Defaults to :func:`default_folder`.
    """

    def __init__(
        self, environment: Mapping[str, Any], folder: Optional[str] = None
    ) -> None:
        text = json.dumps(environment, sort_keys=True)
        self.environment = dict(environment)
        own = Path(folder) if folder else default_folder()
        name = hashlib.sha1(text.encode()).hexdigest()[:16]
        self.path = own / f'latency-{name}.json'
        self.numbers: dict[str, list] = self._read()

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self.path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return {}
        same = isinstance(content, dict) and (
            content.get('format_version') == FORMAT_VERSION
            and content.get('environment') == self.environment
        )
        numbers = content.get('numbers') if same else None
        return numbers if isinstance(numbers, dict) else {}

    def save(self, numbers: Mapping[str, list]) -> None:
        """Add numbers to the file, beside what others have written."""
        self.numbers = {**self._read(), **numbers}
        content = {
            'format_version': FORMAT_VERSION,
            'environment': self.environment,
            'numbers': self.numbers,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, 'w', encoding='utf-8') as file:
                json.dump(content, file)
            os.replace(part, self.path)
        except OSError as error:
            warnings.warn(
                f'Latencies cannot be kept in {self.path} ({error}), so they '
                'are measured again the next time. Set the environment '
                f'variable {VARIABLE} to a folder that can be written.',
                stacklevel=2,
            )
