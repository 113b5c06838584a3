"""Atoms: which of them must live together, and which may not go."""

from collections.abc import Sequence

import numpy as np

Reason = tuple[str, str]

# Codes that say "not understood", which a declaration of the user overrules.
CAUTIOUS = ('unknown-operator', 'bypass', 'no-producer')

_COMPACT = 4096  # pairs of one union above which duplicates are dropped


class AtomTable:
    """Allocates atoms, records which must live together and which may not go.

    Unions are only recorded here; :meth:`labels` resolves them at once.
    """

    def __init__(self) -> None:
        self.size = 0
        self._frozen: list[tuple[np.ndarray, Reason, str]] = []
        self._declared: list[np.ndarray] = []
        self._safe: set[str] = set()
        self._pairs: list[np.ndarray] = []

    def allocate(self, count: int) -> np.ndarray:
        """Return ``count`` fresh atoms, shape ``(count, )``."""
        atoms = np.arange(self.size, self.size + count)
        self.size += count
        return atoms

    def union(self, first: np.ndarray, second: np.ndarray) -> None:
        """Tie atoms position by position, after broadcasting.

        Positions without an atom tie nothing.
        """
        first, second = np.broadcast_arrays(first, second)
        differ = (first != second) & (first >= 0) & (second >= 0)
        if not differ.any():
            return
        pairs = np.stack([first[differ], second[differ]])  # (2, n)
        if pairs.shape[1] > _COMPACT:
            keys = np.unique(pairs[0] * self.size + pairs[1])
            pairs = np.stack([keys // self.size, keys % self.size])
        self._pairs.append(pairs)

    def freeze(
        self, atoms: np.ndarray, code: str, reason: str, module: str = ''
    ) -> None:
        """Forbid pruning ``atoms``; the first reason given is kept."""
        atoms = atoms[atoms >= 0]
        if atoms.size:
            self._frozen.append((atoms, (code, reason), module))

    def trust(self, modules: Sequence[str]) -> list[str]:
        """The user accepts that these modules mix fewer channels.

        Returns:
            list[str]: Those of them that mix channels.
        """
        mixing = {m for _, (code, _), m in self._frozen if code == 'mixed'}
        self._safe.update(modules)
        return sorted(mixing.intersection(modules))

    def declare(self, atoms: np.ndarray) -> None:
        """The user vouches for what an unknown operator does to ``atoms``."""
        self._declared.append(atoms)

    def reasons(self, labels: np.ndarray) -> dict[int, Reason]:
        """First reason of every frozen component, by its label."""
        first = np.full(self.size, -1)
        declared = np.zeros(self.size, bool)
        for atoms in self._declared:
            declared[labels[atoms]] = True
        for number in range(len(self._frozen) - 1, -1, -1):
            atoms, (code, _), module = self._frozen[number]
            if code == 'mixed' and module in self._safe:
                continue
            own = labels[atoms]
            if code in CAUTIOUS:
                own = own[~declared[own]]
            first[own] = number
        frozen = np.flatnonzero(first >= 0)
        return {
            label: self._frozen[first[label]][1] for label in frozen.tolist()
        }

    def labels(self) -> np.ndarray:
        """Component label of every atom: its smallest member, ``(size, )``."""
        label = np.arange(self.size)
        if not self._pairs:
            return label
        self._pairs = [np.concatenate(self._pairs, axis=1)]
        first, second = self._pairs[0]
        while True:
            low = np.minimum(label[first], label[second])
            if np.array_equal(label[first], label[second]):
                return label
            np.minimum.at(label, label[first], low)
            np.minimum.at(label, label[second], low)
            while not np.array_equal(label[label], label):
                label = label[label]
