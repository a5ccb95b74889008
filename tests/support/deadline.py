"""A deadline that comes when a test wants it, however slow the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from spaces_async._clock import Clock

DEADLINE: Final = 60.0
"""What a bulk gets as its `deadline`."""


class DeadlineClock(Clock):
    """A clock that lets `DEADLINE` seconds pass when something has happened."""

    def __init__(self, happened: Callable[[], bool]) -> None:
        self._happened = happened

    async def sleep(self, seconds: float) -> None:
        if seconds != DEADLINE:
            await super().sleep(seconds)
        while not self._happened():
            await asyncio.sleep(0)
