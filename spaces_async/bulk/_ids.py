"""Which ids came before, in at most 24 bytes an id and without their text. Pure.

An id is kept as a hash of 64 bits, under a key that is drawn for each table: no one can
choose ids that collide. The hashes lie in packed arrays with open addressing. There are
many small arrays instead of a large one, so that growing one never holds up the event
loop for more than about a millisecond, nor takes the memory twice.

Two ids have the same hash with a probability of 2**-64. Among n ids that makes about
n**2 / 2**65 for any pair: 1e-9 for 200,000 ids, 3e-8 for a million. Then the second of
the two is taken for a duplicate of the first, and left out.
"""

from __future__ import annotations

import secrets
from array import array
from hashlib import blake2b
from typing import Final

__all__ = ["IdTable"]

_KEY_BYTES: Final = 16
_HASH_BYTES: Final = 8
_PARTS: Final = 256
"""How many arrays there are; the last byte of a hash says which one is its own."""
_PART_BITS: Final = 8
_FIRST_SIZE: Final = 8
_EMPTY: Final = bytes(_HASH_BYTES)


class IdTable:
    """The ids that have been added."""

    __slots__ = ("_keyed", "_parts", "_used")

    def __init__(self, key: bytes | None = None) -> None:
        """Make an empty table.

        Args:
            key: The key of the hash; None draws one.
        """
        key = secrets.token_bytes(_KEY_BYTES) if key is None else key
        self._keyed = blake2b(digest_size=_HASH_BYTES, key=key)
        self._parts: list[array[int] | None] = [None] * _PARTS
        self._used = array("L", bytes(array("L").itemsize * _PARTS))

    def __len__(self) -> int:
        return sum(self._used)

    def add(self, repo_id: str) -> bool:
        """Add an id; return whether it was not there."""
        hashed = self._keyed.copy()
        hashed.update(repo_id.encode("utf-8", "surrogatepass"))
        # 0 stands for an empty slot.
        value = int.from_bytes(hashed.digest(), "little") or 1
        number = value & (_PARTS - 1)
        part = self._parts[number]
        if part is None:
            part = self._parts[number] = array("Q", _EMPTY * _FIRST_SIZE)
        mask = len(part) - 1
        slot = (value >> _PART_BITS) & mask
        while found := part[slot]:
            if found == value:
                return False
            slot = (slot + 1) & mask
        part[slot] = value
        self._used[number] = used = self._used[number] + 1
        if 3 * used > 2 * mask:
            self._parts[number] = _doubled(part)
        return True


def _doubled(part: array[int]) -> array[int]:
    """Return an array with twice the slots and the same hashes."""
    grown = array("Q", _EMPTY * (2 * len(part)))
    mask = len(grown) - 1
    for value in part:
        if value:
            slot = (value >> _PART_BITS) & mask
            while grown[slot]:
                slot = (slot + 1) & mask
            grown[slot] = value
    return grown
