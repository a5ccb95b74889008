"""`--waves` and its kin: a roll-out in the shell."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
from collections.abc import Callable
from typing import Any, cast

import pytest

from spaces_async.cli import _keys
from spaces_async.cli._keys import keys_read
from spaces_async.cli._output import Output
from spaces_async.testing import FakeHub, Fault
from tests.cli.conftest import HubThread, Spaces, Tty

IDS = [f"acme/wave-{number}" for number in range(4)]


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    """Four Spaces that build in no time."""
    hub.add_org("acme", members={"tester": "write"})
    for repo_id in IDS:
        hub.add_space(repo_id)
    return hub


def test_a_canary_that_fails_halts_the_rest(fleet: FakeHub, spaces: Spaces) -> None:
    """The others are not attempted, the exit code says so, and why is told."""
    fleet.faults("POST /restart", Fault.status(409), repo_id=IDS[0])
    result = spaces("restart", *IDS, "--waves", "1,100%")
    assert result.code == 1
    assert sum(fleet.space(repo_id).restarts for repo_id in IDS) == 0
    assert "halted because a wave was not healthy" in result.err


def test_waves_that_are_well(fleet: FakeHub, spaces: Spaces) -> None:
    """One after the other is paused, and the command ends when all are."""
    result = spaces("pause", *IDS, "--waves", "1,50%", "--max-unavailable", "2")
    assert result.code == 0
    assert {str(fleet.space(repo_id).stage) for repo_id in IDS} == {"PAUSED"}


@pytest.mark.parametrize(
    "words",
    [("--waves", "1,x"), ("--waves", "0"), ("--max-unavailable", "120%"),
     ("--pause-between", "5"), ("--probe", "health"), ("--max-failures", "0%")],
)  # fmt: skip
def test_what_makes_no_sense(
    fleet: FakeHub, spaces: Spaces, words: tuple[str, ...]
) -> None:
    """It is wrong usage, and nothing is sent."""
    result = spaces("restart", *IDS, *words)
    assert result.code == 2
    assert not any(request.method == "POST" for request in fleet.requests)


# Keys ----------------------------------------------------------------------------------


IN_WAVES = ("pause", *IDS, "--waves", "1,2,100%", "--pause-between", "1h")
"""Without a key, it would take hours."""


def shown() -> str:
    """What the command has shown on its terminal until now."""
    return str(cast("Any", sys.stderr).getvalue())


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text)


def press_when(hub_thread: HubThread, tty: Tty, text: str, keys: str) -> None:
    """Press keys as soon as the command shows something."""

    hub_thread.when(lambda: text in plain(shown()), lambda: tty.press(keys))


def is_paused(hub: FakeHub) -> list[bool]:
    return [hub.space(repo_id).stage == "PAUSED" for repo_id in IDS]


def test_a_key_begins_the_next_wave(
    fleet: FakeHub, spaces: Spaces, hub_thread: HubThread, tty: Tty
) -> None:
    """Each press begins one wave, without the pause before it; other keys do nothing."""
    press_when(hub_thread, tty, "Wave 1 of 3: 1 of 1 paused, next in", "p")
    press_when(hub_thread, tty, "Wave 2 of 3: 1 of 1 paused, next in", "x\x1b[Ap")
    result = spaces(*IN_WAVES, stdin=tty.stdin, terminal=True)
    assert result.code == 0
    assert all(is_paused(fleet))
    assert " | p: next wave now, h: hold, a: abort" in plain(result.err)
    assert tty.mode == tty.before


def test_a_key_holds_and_another_goes_on(
    fleet: FakeHub, spaces: Spaces, hub_thread: HubThread, tty: Tty
) -> None:
    """A held bulk says so and begins no wave; one press is one wave."""
    seen: list[list[bool]] = []
    press_when(hub_thread, tty, "next in", "h")

    def go_on() -> None:
        seen.append(is_paused(fleet))
        tty.press("p")

    hub_thread.when(
        lambda: "1 of 1 paused, held | p: go on, a: abort" in plain(shown()), go_on
    )
    press_when(hub_thread, tty, "Wave 2 of 3: 1 of 1 paused, next in", "p")
    assert spaces(*IN_WAVES, stdin=tty.stdin, terminal=True).code == 0
    assert seen == [[True, False, False, False]]
    assert all(is_paused(fleet))


def test_a_key_aborts(
    fleet: FakeHub, spaces: Spaces, hub_thread: HubThread, tty: Tty
) -> None:
    """What is done stays done, nothing more is sent, and the way on is told."""
    press_when(hub_thread, tty, "next in", "a")
    result = spaces(*IN_WAVES, stdin=tty.stdin, terminal=True)
    assert result.code == 1
    assert "1 done, 3 not attempted (aborted)" in result.err
    assert "spaces-async resume" in result.err
    assert is_paused(fleet) == [True, False, False, False]
    assert tty.mode == tty.before


@pytest.mark.parametrize("how", ["interrupt", "terminate"])
def test_the_terminal_is_as_before(
    fleet: FakeHub, spaces: Spaces, hub_thread: HubThread, tty: Tty, how: str
) -> None:
    """Ctrl-C and SIGTERM, twice, leave no mode behind."""
    number = signal.SIGINT if how == "interrupt" else signal.SIGTERM
    modes: list[bool] = []

    def interrupt() -> None:
        modes.append(tty.is_line_by_line)
        hub_thread.interrupt(number)

    hub_thread.when(lambda: "next in" in shown(), interrupt)
    result = spaces(*IN_WAVES, stdin=tty.stdin, terminal=True)
    assert result.code == 130
    assert modes == [False]
    assert tty.mode == tty.before


def test_an_error_leaves_the_terminal_as_before(tty: Tty) -> None:
    """Whatever is raised while keys are read, the mode is put back."""

    async def work() -> None:
        with keys_read(Output(), lambda _: None) as reads:
            assert reads
            assert not tty.is_line_by_line
            raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", tty.stdin)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(work())
    assert tty.mode == tty.before


def test_where_there_are_no_keys(
    fleet: FakeHub, spaces: Spaces, tty: Tty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None with ids on stdin, with --quiet, in a pipe, and without waves."""
    waves = ("--waves", "1,100%")
    lines = "\n".join(IDS)
    tty.press(f"{lines}\n\x04")
    used = list[object]()
    monkeypatch.setattr(termios, "tcsetattr", lambda *args: used.append(args))
    typed = spaces("pause", "-", *waves, stdin=tty.stdin, terminal=True)
    assert "Wave 2 of 2" in typed.err
    others = [
        spaces("pause", "-", *waves, stdin=lines, terminal=True),
        spaces("pause", *IDS, *waves, "--quiet", stdin=tty.stdin, terminal=True),
        spaces("pause", *IDS, *waves, stdin=tty.stdin),
        spaces("pause", *IDS, stdin=tty.stdin, terminal=True),
    ]
    for result in (typed, *others):
        assert result.code == 0
        assert "a: abort" not in result.err
    assert used == []


def test_in_the_background_no_key_is_read(
    tty: Tty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed then is for the shell; in the foreground again keys work."""
    in_front = [False]
    pressed: list[str] = []
    monkeypatch.setattr(sys, "stdin", tty.stdin)
    looks: list[bool] = []

    def group(_: int) -> int:
        looks.append(in_front[0])
        return os.getpgrp() + (not in_front[0])

    monkeypatch.setattr(os, "tcgetpgrp", group)
    monkeypatch.setattr(_keys, "_FOREGROUND_PAUSE_SECONDS", 0.001)

    async def turns(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0)

    async def work() -> None:
        with keys_read(Output(), pressed.append):
            looks.clear()
            await turns(lambda: len(looks) > 2)
            assert tty.is_line_by_line
            in_front[0] = True
            await turns(lambda: not tty.is_line_by_line)
            tty.press("p")
            await turns(lambda: pressed == ["p"])
            in_front[0] = False
            tty.press("h")
            looks.clear()
            await turns(lambda: len(looks) > 2)
            assert pressed == ["p"]
            in_front[0] = True
            await turns(lambda: pressed == ["p", "h"])

    asyncio.run(work())
    assert tty.mode == tty.before
