"""What a reader of the pages has: a shell, Python and a Hub, in one loop of virtual time.

So each command prints the same in every run, down to the seconds that it took, and a
night takes no time.
"""

from __future__ import annotations

import asyncio
import io
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, Final, Self, TextIO

import pytest
from attrs import frozen
from rich.live import Live

from spaces_async._clock import Clock
from spaces_async._wire import places
from spaces_async.cli import _confirm, _runs, _signals, _times, main
from spaces_async.testing import FakeHub
from tests.support.virtual import put_disk_in, virtual_loop

COLUMNS: Final = 80
_UNSET: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_COLOR", "FORCE_COLOR")


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


def _app_of(hub: FakeHub, make: Callable[..., Any], template: str, *rest: Any) -> Any:
    """Return the address of an app; a program of a page finds it on the Hub, too."""
    return make(hub.app_url if ".hf.space" in template else template, *rest)


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


@frozen
class Ended:
    """What a command left where there is no terminal.

    Attributes:
        command: The command.
        code: The exit code.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    command: str
    code: int
    out: str
    err: str


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
        for name in _UNSET:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in {
            "HF_ENDPOINT": self.hub.url,
            "HF_TOKEN": self.hub.token,
            "SPACES_ASYNC_APP_URL": self.hub.app_url,
            "XDG_STATE_HOME": str(self._folder),
            "TERM": "xterm",
            "COLUMNS": str(COLUMNS),
            "TZ": "UTC",
        }.items():
            patch.setenv(name, value)
        self._exits.callback(time.tzset)
        time.tzset()
        patch.setattr(Clock, "utcnow", lambda _: self._clock.utcnow())
        patch.setattr(asyncio, "run", self._do)
        patch.setattr(places, "app_url", partial(_app_of, self.hub, places.app_url))
        # What draws by real time, and is gone when a command has ended.
        for method in ("start", "stop"):
            patch.setattr(Live, method, _draw_nothing)
        patch.setattr(_signals, "run", self._run_in_loop)
        for module in (_runs, _times):
            patch.setattr(module, "datetime", self._calendar())
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(
        self, command: str, answers: Sequence[str] = (), *, always: str | None = None
    ) -> Shown:
        """Type a command, and what it asks for; return what the terminal shows.

        Args:
            command: The line.
            answers: What is typed at each question; it has to ask for all of it.
            always: What is typed at any further question; None allows none.
        """
        screen, left = _Screen(), list(answers)

        async def read_line() -> str:
            answer = left.pop(0) if left or always is None else always
            screen.write(f"{answer}\n")  # a terminal shows what is typed
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_confirm, "_read_line", read_line)
            code = self._main(command, screen, screen, screen)
        assert not left, f"{command} did not ask: {left}"
        return Shown(command, code, screen.getvalue())

    def run_without_terminal(self, command: str, stdin: str = "") -> Ended:
        """Run a command in a pipe or in cron, where nothing can be asked."""
        out, err = io.StringIO(), io.StringIO()
        code = self._main(command, io.StringIO(stdin), out, err)
        return Ended(command, code, out.getvalue(), err.getvalue())

    def run_program(self, program: CodeType, names: dict[str, Any]) -> str:
        """Run a Python program, or a part of one that awaits; return what it prints.

        Args:
            program: The program.
            names: The names that it has, and that it gives.
        """
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            # Part of a program may await, and then it is a coroutine.
            waiting = eval(program, names)  # noqa: S307  (the page is ours)
            if waiting is not None:
                self._do(waiting)
        return printed.getvalue()

    @staticmethod
    def _main(command: str, stdin: TextIO, out: TextIO, err: TextIO) -> int:
        program, *words = shlex.split(command.replace("\\\n", ""))
        assert program == "spaces-async"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            return main(words)

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
