"""A terminal for the pages: the real shell and a FakeHub in one loop of virtual time.

So each command prints the same in every run, down to the seconds that it took, and a
night takes no time.
"""

from __future__ import annotations

import asyncio
import io
import shlex
import sys
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import pytest
from attrs import frozen
from rich.live import Live

from spaces_async._clock import Clock
from spaces_async.cli import _app, _confirm, _runs, _signals, _times, main
from spaces_async.testing import FakeHub
from tests.support.virtual import put_disk_in, virtual_loop

COLUMNS: Final = 80
_ASKS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_COLOR", "FORCE_COLOR")


class _DatedClock(Clock):
    """The loop's time, and a wall clock that goes with it, readable outside the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime) -> None:
        self._loop = loop
        self._start = start - timedelta(seconds=loop.time())

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return self._loop.time()

    def utcnow(self) -> datetime:
        """Return the start plus the loop's seconds."""
        return self._start + timedelta(seconds=self.monotonic())


class _Screen(io.StringIO):
    """A terminal that keeps what is written, of both streams."""

    def isatty(self) -> bool:
        return True


def _draw_nothing(_live: Live, *, refresh: bool = False) -> None:
    """Draw no progress."""


@frozen
class Shown:
    """What a terminal shows after a command.

    Attributes:
        command: The line that was typed.
        code: The exit code.
        text: All that was printed, with escape codes for the colours.
    """

    command: str
    code: int
    text: str


class VirtualShell:
    """A terminal of 80 columns, and the Hub that its commands talk to.

    Attributes:
        hub: The Hub.
    """

    def __init__(self, start: datetime, folder: Path, **options: Any) -> None:
        """Prepare it.

        Args:
            start: The date and time at which it begins.
            folder: Where the shell keeps its runs.
            options: Those of FakeHub.
        """
        self._exits = ExitStack()
        self._loop: Any = self._exits.enter_context(virtual_loop())
        self._clock = _DatedClock(self._loop, start)
        self._folder = folder
        self.hub = FakeHub(clock=self._clock, **options)

    def __enter__(self) -> Self:
        patch = self._exits.enter_context(pytest.MonkeyPatch.context())
        pool = self._exits.enter_context(ThreadPoolExecutor(1))
        put_disk_in(self._loop, pool, turns=1)
        self._do(self.hub.start())
        self._exits.callback(lambda: self._do(self.hub.aclose()))
        for name in _ASKS:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in {
            "HF_ENDPOINT": self.hub.url,
            "HF_TOKEN": self.hub.token,
            "XDG_STATE_HOME": str(self._folder),
            "TERM": "xterm",
            "COLUMNS": str(COLUMNS),
            "TZ": "UTC",
        }.items():
            patch.setenv(name, value)
        self._exits.callback(time.tzset)
        time.tzset()
        dated = partial(_app._Client, clock=self._clock)
        patch.setattr(_app, "_Client", dated)
        # What draws by real time, and is gone when a command has ended.
        for method in ("start", "stop"):
            patch.setattr(Live, method, _draw_nothing)
        patch.setattr(_signals, "run", self._run_in_loop)
        for module in (_runs, _times):
            patch.setattr(module, "datetime", self._calendar())
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(self, command: str, answers: Sequence[str] = ()) -> Shown:
        """Type a command, and what it asks for; return what the terminal shows."""
        program, *words = shlex.split(command.replace("\\\n", ""))
        assert program == "spaces-async"
        screen, left = _Screen(), list(answers)

        async def read_line() -> str:
            answer = left.pop(0)
            screen.write(f"{answer}\n")  # a terminal shows what is typed
            return answer

        with pytest.MonkeyPatch.context() as patch:
            for name in ("stdin", "stdout", "stderr"):
                patch.setattr(sys, name, screen)
            patch.setattr(_confirm, "_read_line", read_line)
            code = main(words)
        assert not left, f"{command} did not ask: {left}"
        return Shown(command, code, screen.getvalue())

    def pass_time(self, seconds: float) -> None:
        """Let some time go by."""
        self._do(asyncio.sleep(seconds))

    def pass_until(self, time: datetime) -> None:
        """Let time go by until then."""
        self.pass_time((time - self._clock.utcnow()).total_seconds())

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def _run_in_loop(self, work: Coroutine[Any, Any, Any], *_: object) -> Any:
        return self._do(work)

    def _calendar(self) -> type[datetime]:
        clock = self._clock

        class Calendar(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.utcnow().astimezone(tz)

        return Calendar
