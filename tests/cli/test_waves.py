"""`--waves` and its kin: a roll-out in the shell."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

from spaces_async import SpacesClient
from spaces_async.bulk._engine.rollout import HealthWatch
from spaces_async.bulk._journal.format import decode, encode
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
    press_when(hub_thread, tty, "Wave 1 of 3: 1 of 1 healthy, next in", "p")
    press_when(hub_thread, tty, "Wave 2 of 3: 1 of 1 healthy, next in", "x\x1b[Ap")
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
        lambda: "1 of 1 healthy, held | p: go on, a: abort" in plain(shown()), go_on
    )
    press_when(hub_thread, tty, "Wave 2 of 3: 1 of 1 healthy, next in", "p")
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


# Going on with a roll-out ----------------------------------------------------------


def broken_canary(fleet: FakeHub, spaces: Spaces, *more: str) -> None:
    """Begin a roll-out whose first Space starts and then fails."""
    fleet.space(IDS[0]).fails_with = "RUNTIME_ERROR"
    result = spaces("restart", *IDS, "--waves", "1,100%", *more)
    assert (result.code, restarted(fleet)) == (1, [1, 0, 0, 0])
    assert "To continue with the 4 Spaces left: spaces-async resume " in result.err


def restarted(fleet: FakeHub) -> list[int]:
    return [fleet.space(repo_id).restarts for repo_id in IDS]


@pytest.mark.parametrize("command", ["resume", "retry-failed"])
def test_who_goes_on_meets_the_canary_again(
    fleet: FakeHub, spaces: Spaces, command: str
) -> None:
    """A halted run keeps its waves, so its advice never sends to all at once."""
    broken_canary(fleet, spaces)
    again = spaces(command, "--last")
    assert again.code == 1
    assert restarted(fleet) == [2, 0, 0, 0]
    assert "In waves of 1, 100%; each must be healthy. With --waves 100%" in again.err
    assert "Of the 1 failed: 1 sent again, now failed." in again.err
    fleet.space(IDS[0]).fails_with = None
    mended = spaces("resume", "--last")
    assert mended.code == 0
    assert restarted(fleet) == [3, 1, 1, 1]
    assert "Of the 1 failed: 1 sent again, now done." in mended.err


def test_who_says_so_sends_to_all_at_once(fleet: FakeHub, spaces: Spaces) -> None:
    """`--waves 100%` goes before the waves of the run; health is looked at all the same."""
    broken_canary(fleet, spaces)
    result = spaces("resume", "--last", "--waves", "100%")
    assert (result.code, restarted(fleet)) == (1, [2, 1, 1, 1])
    assert "--waves 100% all" not in result.err
    assert stages_of(result) == ["failed", "done", "done", "done"]


def stages_of(result: Any) -> list[str]:
    return [line.split("\t")[1] for line in result.lines]


def test_the_probe_goes_on_as_well(
    fleet: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had to answer before has to answer again, unless another path is given."""
    asked: list[Any] = []

    async def judge(watch: HealthWatch, outcome: Any, _: Any) -> Any:
        asked.append(watch._healthy)
        return evolve(outcome, status="failed", reason="unhealthy")

    monkeypatch.setattr(HealthWatch, "judge", judge)
    health = ("--probe", "/up", "--healthy-for", "5")
    assert spaces("restart", *IDS, "--waves", "1,100%", *health).code == 1
    result = spaces("resume", "--last")
    assert "each must be healthy and answer at /up, for 5s." in result.err
    spaces("resume", "--last", "--probe", "/other")
    assert [(h.probe, h.for_seconds) for h in asked] == [
        *(("/up", 5.0), ("/up", 5.0)),
        ("/other", 5.0),
    ]


def test_a_function_of_a_program_cannot_be_kept(
    fleet: FakeHub, spaces: Spaces, tmp_path: Path, hub_thread: HubThread
) -> None:
    """The shell says so, and goes on once it is told how to judge."""
    path = str(tmp_path / "roll.jsonl")

    async def refuses(_: SpacesClient, __: str) -> bool:
        return False

    async def begin() -> None:
        async with SpacesClient(token=fleet.token, endpoint=fleet.url) as client:
            await client.bulk.restart(IDS, waves=[1, 2], healthy=refuses, journal=path)

    hub_thread.do(begin())
    result = spaces("resume", path)
    assert result.code == 2
    assert "a function of its program judged" in result.err
    assert restarted(fleet) == [1, 0, 0, 0]
    assert spaces("resume", path, "--waves", "100%").code == 0
    assert restarted(fleet) == [2, 1, 1, 1]


def test_what_is_not_looked_at_is_not_called_well(
    fleet: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """A journal of before has no waves; who goes on with it hears what was not checked."""
    path = tmp_path / "old.jsonl"
    broken_canary(fleet, spaces, "--journal", str(path))
    lines = path.read_bytes().splitlines()
    header = decode(lines[0], 0)
    assert header.pop("rollout")["waves"] == [1, "100%"]
    del header["n"]
    path.write_bytes(b"\n".join([encode(header, 0)[:-1], *lines[1:], b""]))
    result = spaces("resume", str(path))
    assert (result.code, restarted(fleet)) == (0, [2, 1, 1, 1])
    assert "Of the 1 failed: 1 sent again, its health not checked." in result.err
