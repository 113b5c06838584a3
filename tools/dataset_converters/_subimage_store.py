"""Where sub-images go, and what of them is done."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

MAP_SIZE = 2**26  # bytes of a new database; doubled when it is full


class FolderWriter:
    """Writes PNG files into a folder; each appears whole or not at all.

    Args:
        folder (Path): Created if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def write(self, names: list[str], files: list[bytes]) -> None:
        """Write the sub-images of one image."""
        for name, content in zip(names, files):
            part = self.folder / f'.{name}.part'
            part.write_bytes(content)
            os.replace(part, self.folder / f'{name}.png')

    def close(self) -> None:
        """Nothing is open."""


class LmdbWriter:
    """Writes PNG files into a database that MMEngine's backend reads.

    Args:
        folder (Path): The database, a folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import lmdb
        except ImportError as error:
            raise SystemExit(
                'error: --lmdb needs the package lmdb: pip install lmdb'
            ) from error
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._full = lmdb.MapFullError
        self.database = lmdb.open(str(folder), map_size=MAP_SIZE)

    def write(self, names: list[str], files: list[bytes]) -> None:
        """Write the sub-images of one image, all or none."""
        try:
            with self.database.begin(write=True) as transaction:
                for name, content in zip(names, files):
                    transaction.put(name.encode(), content)
        except self._full:
            self.database.set_mapsize(2 * self.database.info()['map_size'])
            self.write(names, files)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class Journal:
    """Remembers what is done, so that a run can be resumed.

    Args:
        path (Path): File: the settings, then one line per finished image.
        settings (dataclass): Of this run; an older one must be equal.
    """

    def __init__(self, path: Path, settings: Any) -> None:
        self.done: dict[str, dict] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        if lines:
            self._check(path, json.loads(lines[0]), asdict(settings))
        for line in lines[1:]:
            try:
                entry = json.loads(line)
            except ValueError:  # empty, or written when a run was killed
                continue
            self.done[entry['image']] = entry
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f'{path.name}.part')
            part.write_text(json.dumps(asdict(settings)) + '\n')
            os.replace(part, path)
        self.file = path.open('a')

    @staticmethod
    def _check(path: Path, found: dict, wanted: dict) -> None:
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        if changed:
            values = ', '.join(
                f'{key} was {found.get(key)!r}, is {wanted[key]!r}'
                for key in changed
            )
            raise SystemExit(
                f'error: {path} belongs to a run with other settings '
                f'({values}). Use the same ones to continue it, or choose '
                'another folder.'
            )

    def add(self, entry: dict) -> None:
        """Note that an image is finished."""
        self.done[entry['image']] = entry
        # A leading newline, because the last line may be half of one.
        self.file.write(f'\n{json.dumps(entry)}\n')
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
