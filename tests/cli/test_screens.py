"""What a person sees: the main commands at a terminal of 80 and of 120 columns.

The screens are files in `screens/`, to be looked at. `SCREENS=write pytest
tests/cli/test_screens.py` writes them anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import pyte
import pytest

from spaces_async.cli import _runs, main
from spaces_async.testing import FakeHub, Fault
from tests.cli.conftest import HubThread, Terminal, Tty

FOLDER: Final = Path(__file__).parent / "screens"
WIDTHS: Final = (80, 120)
_HEIGHT: Final = 200
"""Lines of the terminal: nothing scrolls."""

_CHANGING: Final = (
    (r"since \d{4}-\d\d-\d\d", "since 2026-01-01"),
    (r"\b\d{4}-\d\d-\d\d[ T-]\d\d:?\d\d(:?\d\d)?", "2026-01-01 00:00"),
    (r"\b2\d{7}T\d{6}Z", "20260101T000000Z"),
    (r"\d+:\d\d:\d\d", "0:00:00"),
    (r"\d+\.\d s", "0.1 s"),
    (r"next in [0-9hms ]+[hms]", "next in 1h"),
    (r"[⠀-⣿]", "⠋"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8000"),
)
"""What is another one each time."""


class Keyboard:
    """A terminal on which an answer was typed already; it is echoed when it is read."""

    def __init__(self, screen: Terminal, typed: str) -> None:
        self._screen = screen
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)  # what was typed is there when it is read
        os.write(write, typed.encode())
        os.close(write)

    def fileno(self) -> int:
        return self._read

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        line = os.read(self._read, 100).decode()
        self._screen.write(line)
        return line

    def close(self) -> None:
        os.close(self._read)


class Session:
    """Runs commands at a terminal, and tells what it shows."""

    def __init__(self, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._columns = columns
        self._patch = monkeypatch
        self._terminal = Terminal()
        self._frames: list[str] = []
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))

    @property
    def raw(self) -> str:
        return self._terminal.getvalue()

    def run(self, *args: str, typed: str = "", stdin: Any = None) -> int:
        shown = " ".join(f"'{a}'" if re.search(r"[ *]", a) else a for a in args)
        self._terminal.write(f"$ spaces-async {shown}\n")
        keyboard = Keyboard(self._terminal, typed)
        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", stdin or keyboard)
            patch.setattr(sys, "stdout", self._terminal)
            patch.setattr(sys, "stderr", self._terminal)
            code = main(args)
        keyboard.close()
        return code

    def quietly(self, *args: str) -> int:
        """Run a command of which nothing is seen."""
        before = self.raw
        code = self.run(*args, "--yes")
        self._terminal.seek(0)
        self._terminal.truncate()
        self._terminal.write(before)
        return code

    def screen(self) -> str:
        """What the terminal shows."""
        screen = pyte.Screen(self._columns, _HEIGHT)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed(self.raw)
        text = "\n".join(line.rstrip() for line in screen.display).rstrip()
        for pattern, constant in _CHANGING:
            text = re.sub(pattern, constant, text)
        return f"{text}\n"


class OneSecond(datetime):
    """The second in which all runs begin: those of one second have numbers."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> OneSecond:
        return cls(2026, 1, 1, tzinfo=tz)


@pytest.fixture(params=WIDTHS)
def session(
    request: pytest.FixtureRequest,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(_runs, "datetime", OneSecond)
    return Session(request.param, monkeypatch)


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    """An org as people have one: long names, long errors, some money."""
    hub.add_org("acme", members={"tester": "admin"})
    idle, busy = {"cpu_usage_pct": 0.2}, {"cpu_usage_pct": 40.0}
    hub.add_space("acme/image-upscaler", hardware="t4-small", load=busy)
    hub.add_space(
        "acme/prod-chat-assistant-with-retrieval",
        hardware="a10g-large",
        load=busy,
        sdk="docker",
    )
    hub.add_space("acme/leaderboard", hardware="l4x1", load=idle)
    hub.add_space("acme/demo-ocr")
    hub.add_space(
        "acme/demo-asr",
        stage="RUNTIME_ERROR",
        hardware="cpu-upgrade",
        error_message="Exit code: 137. Reason: the container was killed for"
        " using more memory than the flavor has",
    )
    hub.add_space(
        "acme/demo-tts",
        stage="BUILD_ERROR",
        error_message="Job failed with exit code: 1. Reason: cache miss",
    )
    hub.add_space("acme/night-batch", stage="SLEEPING", hardware="cpu-upgrade")
    hub.add_space("acme/old-demo", stage="PAUSED", visibility="private")
    hub.add_space("acme/homepage", sdk="static")
    hub.space("acme/demo-ocr").configure({}, {"OPENAI_KEY": "x"})
    hub.space("acme/image-upscaler").configure({}, {"OPENAI_KEY": "x"})
    hub.space("acme/image-upscaler").configure({}, {"HF_TOKEN_READ": "x"})
    return hub  # fmt: skip


def check(name: str, session: Session, text: str | None = None) -> None:
    """Compare what is shown with the file of that name, or write it."""
    shown = session.screen() if text is None else text
    assert all(len(line) <= session._columns for line in shown.splitlines())
    path = FOLDER / f"{name}-{session._columns}.txt"
    if os.environ.get("SCREENS") == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(shown, "utf-8")
        return
    assert path.exists(), f"there is no {path.name}: write it with SCREENS=write"
    assert shown == path.read_text("utf-8"), f"{path.name} is another one"


QUICK: Final = ("--sample", "0.01")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("help-delete", ("delete", "--help")),
        ("list", ("list", "--org", "acme")),
        ("status", ("status", "--org", "acme")),
        ("costs", ("costs", "--org", "acme", *QUICK)),
        ("plan", ("pause", "--org", "acme", "--dry-run")),
        ("plan-hardware", ("hardware", "cpu-basic", "--org", "acme", "--dry-run")),
        ("secrets-diff", ("secrets", "diff", "--org", "acme")),
        ("wait-failed", ("wait", "acme/demo-asr", "acme/demo-ocr")),
    ],
)
def test_what_is_read(
    fleet: FakeHub, session: Session, name: str, args: tuple[str, ...]
) -> None:
    """Help, tables and plans fit, with what matters first."""
    session.run(*args)
    check(name, session)


@pytest.mark.parametrize(
    ("name", "args", "typed"),
    [
        ("prompt", ("pause", "--org", "acme"), "n\n"),
        ("prompt-delete", ("delete", "--org", "acme", "--match", "demo-*"), "2\n"),
        ("prompt-sweep", ("sweep", "--org", "acme", *QUICK), "n\n"),
    ],
)
def test_what_is_asked(
    fleet: FakeHub, session: Session, name: str, args: tuple[str, ...], typed: str
) -> None:
    """A question says what would be done, to how many, and what it costs."""
    session.run(*args, typed=typed)
    check(name, session)
    assert not [r for r in fleet.requests if r.method != "GET"]


def test_a_result_with_failures(
    fleet: FakeHub, session: Session, hub_thread: HubThread
) -> None:
    """Successes are one line, failures are grouped by cause, and the way on is told."""
    hub_thread.stand_still()
    fleet.faults("POST *", Fault.status(403), repo_id="acme/leaderboard", times=None)
    fleet.faults("POST *", Fault.status(403), repo_id="acme/demo-ocr", times=None)
    fleet.faults("POST *", Fault.status(409), repo_id="acme/demo-tts", times=None)
    assert session.run("pause", "--org", "acme", typed="y\n") == 1
    check("result", session)


def test_a_halted_roll_out(fleet: FakeHub, session: Session) -> None:
    """Which wave halted, why, and what was not begun."""
    fleet.faults("POST *", Fault.status(409), repo_id="acme/leaderboard", times=None)
    ids = ("acme/leaderboard", "acme/demo-ocr", "acme/demo-tts", "acme/demo-asr")
    assert session.run("pause", *ids, "--waves", "1,100%") == 1
    check("halted", session)


@pytest.mark.parametrize("keys", [True, False])
def test_progress_in_waves(
    fleet: FakeHub, session: Session, hub_thread: HubThread, tty: Tty, *, keys: bool
) -> None:
    """The line below the progress says which wave, what comes next, and the keys."""
    ids = ("acme/demo-ocr", "acme/leaderboard", "acme/image-upscaler", "acme/demo-asr")
    # The bar and the line below it are drawn one after the other.
    line = re.compile(r"2/4.*\n.*next in " + (".*a: abort" if keys else r"\d"))
    frames: list[str] = []

    def is_shown() -> bool:
        return line.search(session.raw) is not None

    def look() -> None:
        frames.append(session.screen())
        os.kill(os.getpid(), signal.SIGINT)

    hub_thread.when(is_shown, look)
    args = ("pause", *ids, "--waves", "2,100%", "--pause-between", "1h")
    session.run(*args, stdin=tty.stdin if keys else None)
    check("progress" if keys else "progress-without-keys", session, frames[0])


def test_runs_and_undo(fleet: FakeHub, session: Session) -> None:
    """The runs of a day, their names uncut, and the plan that brings one back."""
    assert session.quietly("hardware", "t4-small", "acme/demo-ocr") == 0
    assert session.quietly("pause", "--org", "acme", "--match", "demo-*") == 0
    assert session.quietly("restart", "acme/old-demo") == 0
    assert session.quietly("pause", "acme/leaderboard", "acme/image-upscaler") == 0
    session.run("runs")
    check("runs", session)
    session._terminal.seek(0)
    session._terminal.truncate()
    session.run("undo", "--last", "--dry-run")
    session.run("undo", "--last", typed="n\n")
    check("undo", session)


def test_each_screen_is_tested() -> None:
    """No file stays behind whose screen is gone."""
    source = Path(__file__).read_text("utf-8")
    names = {path.name.rpartition("-")[0] for path in FOLDER.glob("*.txt")}
    assert len(names) > 10
    assert all(f'"{name}"' in source for name in names)
