"""Find out from a Space's state whether a write took effect.

Single calls and bulk operations share this code. They differ in how they read the state
(a bulk can take it from a listing) and in what they know about the write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from spaces_async._wire.calls import (
    Circumstances,
    Done,
    Evidence,
    Finding,
    TooEarly,
    Verdict,
)

T = TypeVar("T")

Read = Callable[[Evidence[Any, Any], float], Awaitable[tuple[Any, Circumstances]]]
"""Waits until the write has a given age in seconds, then reads the state."""


async def examine(evidence: Evidence[Any, T], read: Read) -> Done[T] | Verdict:
    """Read the state, several times if necessary, until it proves something.

    Args:
        evidence: What proves that the write took effect.
        read: Reads the state, and returns it with the circumstances.

    Raises:
        SpacesError: The state cannot be read.
    """
    least_age = 0.0
    while True:
        found: Finding[T] = evidence.judge(*await read(evidence, least_age))
        match found:
            case TooEarly(age):
                least_age = age
            case Evidence():
                evidence = found
            case Done() | Verdict():
                return found
