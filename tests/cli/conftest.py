"""The real command line in this process, against a Hub in another thread."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TextIO, cast

import pytest

# A command loads it when it first shows something, inside its loop, which nobody else
# waits for. Here that would count as a blocking call.
import rich.console  # noqa: F401
from attrs import frozen

from spaces_async._clock import Clock
from spaces_async.cli import _signals, main
from spaces_async.testing import FakeHub

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")


# Between two looks; without it the Hub would take a core from the command's process.
_A_MOMENT = 0.001
_SAME_PRESS_SECONDS = 0.1


class ThreadClock(Clock):
    """The same time as the loop's, but for every thread."""

    def monotonic(self) -> float:
        return time.monotonic()


class HubThread:
    """A Hub with a loop of its own, as far from the command as a process is."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.hub: FakeHub = self.do(self._start())

    async def _start(self) -> FakeHub:
        hub = FakeHub(clock=ThreadClock(), build_seconds=0.0, start_seconds=0.0)
        await hub.start()
        return hub

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def when(self, condition: Callable[[], bool], action: Callable[[], Any]) -> None:
        """Do something as soon as something is so."""

        async def watch() -> None:
            while not condition():
                await asyncio.sleep(_A_MOMENT)
            action()

        asyncio.run_coroutine_threadsafe(watch(), self.loop)

    def when_printed(self, text: str, action: Callable[[], Any]) -> None:
        """Do something as soon as a command has printed something, flushed."""
        self.when(lambda: text in cast("Any", sys.stdout).getvalue(), action)

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Press Ctrl-C twice: the first lets what is in flight end, the second not."""
        before = signal.getsignal(number)

        def press_again() -> None:
            # A command that has ended has put the handler back: the test would end.
            if signal.getsignal(number) is before:
                os.kill(os.getpid(), number)

        os.kill(os.getpid(), number)
        self.loop.call_later(6 * _SAME_PRESS_SECONDS, press_again)

    def slow_down(self, seconds: float) -> None:
        """Let builds take so long that a wait for them sees it."""
        self.hub._world.timing.build = seconds

    def stand_still(self) -> None:
        """Let what a Space begins not end, and a setting restart nothing."""
        timing = self.hub._world.timing
        timing.build = timing.factory_build = timing.hardware = 1e6
        timing.config_restarts = False

    def until(self, condition: Callable[[], bool]) -> None:
        async def watch() -> None:
            while not condition():
                await asyncio.sleep(_A_MOMENT)

        self.do(watch())

    def close(self) -> None:
        self.do(self.hub.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def hub_thread() -> Iterator[HubThread]:
    thread = HubThread()
    yield thread
    thread.close()


@pytest.fixture
def hub(hub_thread: HubThread, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A Hub that the environment points to."""
    hub = hub_thread.hub
    for name in (*PROXIES, "HF_HUB_OFFLINE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return hub


@frozen
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Tty:
    """A pseudo-terminal as stdin, on which keys are pressed at the other end."""

    def __init__(self) -> None:
        self._keyboard, end = pty.openpty()
        self.stdin = os.fdopen(end, encoding="utf-8")
        self.before = termios.tcgetattr(end)

    def press(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    @property
    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.stdin.fileno())

    @property
    def is_line_by_line(self) -> bool:
        return bool(self.mode[3] & termios.ICANON)

    def close(self) -> None:
        self.stdin.close()
        os.close(self._keyboard)


@pytest.fixture
def tty() -> Iterator[Tty]:
    made = Tty()
    yield made
    made.close()


Spaces = Callable[..., Result]


@pytest.fixture
def spaces(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spaces:
    """Run `spaces-async` with these arguments."""

    def run(
        *args: str,
        stdin: str | TextIO = "",
        terminal: bool = False,
        columns: int = 120,
    ) -> Result:
        with monkeypatch.context() as patch:
            text = io.StringIO(stdin) if isinstance(stdin, str) else stdin
            patch.setattr(sys, "stdin", text)
            patch.setattr(_signals, "_SAME_PRESS_SECONDS", _SAME_PRESS_SECONDS)
            capsys.readouterr()
            if not terminal:
                code = main(args)
                return Result(code, *capsys.readouterr())
            patch.setenv("TERM", "xterm")
            patch.setenv("COLUMNS", str(columns))
            streams = Terminal(), Terminal()
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = main(args)
            return Result(code, *(stream.getvalue() for stream in streams))

    return run


@pytest.fixture
def org(hub: FakeHub) -> FakeHub:
    """A Hub with a small org: two that run, two that failed, a static and a paused."""
    hub.add_space("acme/run-1", hardware="t4-small", sleep_time=3600)
    hub.add_space("acme/run-2", sdk="docker")
    hub.add_space("acme/bad-1", stage="RUNTIME_ERROR", error_message="out of memory")
    hub.add_space("acme/bad-2", stage="BUILD_ERROR", error_message="pip failed")
    hub.add_space("acme/site", sdk="static")
    hub.add_space("acme/off", stage="PAUSED", private=True)
    return hub


@pytest.fixture
def writes() -> Callable[[FakeHub], list[str]]:
    """Say which writes a Hub has received."""

    def received(hub: FakeHub) -> list[str]:
        return [f"{r.method} {r.path}" for r in hub.requests if r.method != "GET"]

    return received
