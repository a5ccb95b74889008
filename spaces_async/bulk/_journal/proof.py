"""Tells whether a secret's value is the one that a journal was begun with.

A journal never holds the value. It holds a salted hash, made slow on purpose: who reads
the file could otherwise try short values one after the other.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted

__all__ = ["is_proven", "prove"]

_SALT_BYTES: Final = 16
_COST: Final = 2**14
"""About 50 ms and 16 MiB."""


def prove(secret: Redacted[str]) -> str:
    """Return a salted hash of a value, as text. It takes a while."""
    salt = os.urandom(_SALT_BYTES)
    return f"{salt.hex()}:{_hash(secret, salt)}"


def is_proven(secret: Redacted[str], proof: str) -> bool:
    """Return whether a hash was made of this value. It takes a while."""
    salt, _, made = proof.partition(":")
    return hmac.compare_digest(_hash(secret, bytes.fromhex(salt)), made)


def _hash(secret: Redacted[str], salt: bytes) -> str:
    hashed = hashlib.scrypt(
        secret.reveal().encode("utf-8", "surrogatepass"), salt=salt, n=_COST, r=8, p=1
    )
    return hashed.hex()
