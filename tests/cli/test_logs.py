"""`logs` and `events`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spaces_async import logs
from spaces_async.cli._text import harmless
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
HubThread = Any

BEGIN = datetime(2026, 6, 20, 1, 9, 43, tzinfo=UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a log is that nothing comes for some seconds: not so long here."""
    monkeypatch.setattr(logs, "_REPLAY_SILENCE_SECONDS", 0.15)


@pytest.fixture
def talking(org: FakeHub) -> FakeHub:
    """Two apps that have taken turns in printing."""
    for number in range(6):
        repo_id = ("acme/run-1", "acme/run-2")[number % 2]
        when = BEGIN + timedelta(seconds=number)
        org.space(repo_id).log(f"line {number}\n", timestamp=when)
    return org


def test_log_of_one(talking: FakeHub, spaces: Spaces) -> None:
    """The log of one Space is its lines and nothing else."""
    result = spaces("logs", "acme/run-1")
    assert result.code == 0
    assert result.lines == ["line 0", "line 2", "line 4"]
    assert result.err == ""


def test_logs_are_merged_by_time(talking: FakeHub, spaces: Spaces) -> None:
    """Those of several are in the order in which they were written, each named."""
    result = spaces("logs", "acme/run-1", "acme/run-2")
    assert result.lines == [
        f"acme/run-{number % 2 + 1}\tline {number}" for number in range(6)
    ]
    org_wide = spaces("logs", "--org", "acme", "--match", "run-*", "--timestamps")
    assert org_wide.lines[1] == "acme/run-2\t2026-06-20T01:09:44.000Z\tline 1"
    assert "fit" in spaces("logs", "--org", "acme", "--match", "zzz").err


def test_tail_does_not_wait_for_silence(
    talking: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many lines as asked for there is nothing to wait for."""
    monkeypatch.setattr(logs, "_REPLAY_SILENCE_SECONDS", 60.0)
    assert spaces("logs", "acme/run-1", "-n", "2").lines == ["line 2", "line 4"]
    assert ("tail", "2") in talking.requests[-1].query


def test_log_of_the_build(org: FakeHub, spaces: Spaces) -> None:
    """`--build` shows the other log, and an empty one is said to be empty."""
    org.space("acme/bad-2").log("no matching distribution", kind="build")
    assert spaces("logs", "--build", "acme/bad-2").lines == ["no matching distribution"]
    empty = spaces("logs", "acme/bad-2")
    assert empty.code == 0
    assert empty.out == ""
    assert "acme/bad-2: the log is empty" in empty.err


def test_log_as_json_lines(talking: FakeHub, spaces: Spaces) -> None:
    """`--json` gives an object for each line, with the text as it came."""
    talking.space("acme/off").log("\x1b[31mred\x1b[0m\n", timestamp=BEGIN)
    result = spaces("logs", "acme/off", "acme/run-1", "--json")
    found = [json.loads(line) for line in result.lines]
    assert found[0]["id"] == "acme/off"
    assert found[0]["text"] == "\x1b[31mred\x1b[0m"
    assert found[1]["timestamp"] == "2026-06-20T01:09:43.000Z"
    assert len(found) == 4


def test_one_that_cannot_be_read(talking: FakeHub, spaces: Spaces) -> None:
    """It is reported, with the exit code, and the others are shown."""
    result = spaces("logs", "acme/run-1", "acme/none")
    assert result.code == 1
    assert len(result.lines) == 3
    assert "acme/none: 404" in result.err
    assert spaces("logs", "acme/run-1", "--anonymous").code == 3


def test_colours_are_for_terminals(talking: FakeHub, spaces: Spaces) -> None:
    """A terminal gets the app's colours and each id in its own, a pipe gets text."""
    talking.space("acme/run-1").log("\x1b[31mred\x1b[0m \x1b[2Jgone\x1b]0;title\x07")
    shown = spaces("logs", "acme/run-1", "acme/run-2", terminal=True)
    assert "\x1b[31mred\x1b[0m gone" in shown.out
    assert "\x1b[36macme/run-1\x1b[0m" in shown.out
    assert "\x1b[33macme/run-2\x1b[0m" in shown.out
    assert "\x1b[2J" not in shown.out
    assert "title" not in shown.out
    piped = spaces("logs", "acme/run-1", "-n", "1")
    assert piped.out == "red gone\n"


def test_no_color(
    talking: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR means the app's colours, too."""
    monkeypatch.setenv("NO_COLOR", "1")
    talking.space("acme/run-1").log("\x1b[31mred")
    shown = spaces("logs", "acme/run-1", "acme/run-2", "--timestamps", terminal=True)
    assert "red" in shown.out
    assert "\x1b" not in shown.out


def test_an_entry_of_several_lines(org: FakeHub, spaces: Spaces) -> None:
    """Each line of an entry is named; a progress bar cannot overwrite the name."""
    org.space("acme/run-1").log("one\ntwo\r\n10%\r20%\n", timestamp=BEGIN)
    org.space("acme/run-2").log("\n", timestamp=BEGIN + timedelta(seconds=1))
    result = spaces("logs", "acme/run-1", "acme/run-2")
    expected = [f"acme/run-1\t{text}" for text in ("one", "two", "10%", "20%")]
    assert result.out == "\n".join([*expected, "acme/run-2\t", ""])


@pytest.mark.parametrize(
    ("text", "plain", "colourful"),
    [
        ("plain", "plain", "plain"),
        ("\x1b[1;31mred\x1b[m", "red", "\x1b[1;31mred\x1b[m\x1b[0m"),
        ("\x1b[38:5:1mred", "red", "\x1b[38:5:1mred\x1b[0m"),
        ("\x1b[2J\x1b[10;10Hmoved\x1b[?25l", "moved", "moved"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x07", "link", "link"),
        ("\x1bP1$r\x1b\\a\x1bcb\x1b(Bc", "abc", "abc"),
        ("cut\x1b[", "cut", "cut"),
        ("a\x9b31mb\x07\x08\x00", "ab", "ab"),
        ("right\u202eleft", "rightleft", "rightleft"),
        ("\ttab \u00a0 日本 👩\u200d🚀", "\ttab \u00a0 日本 👩\u200d🚀", None),
    ],
)
def test_harmless(text: str, plain: str, colourful: str | None) -> None:
    """Nothing that a terminal obeys gets through, but colours where they are shown."""
    assert harmless(text, coloured=False) == plain
    assert harmless(text, coloured=True) == (plain if colourful is None else colourful)


def test_follow_ends_with_ctrl_c(
    talking: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """`-f` shows what comes, until Ctrl-C ends it with 130 and without a traceback."""

    def both() -> bool:
        return talking.count("GET", "/logs/run") == 2

    hub_thread.when(both, lambda: talking.space("acme/run-2").log("news"))
    hub_thread.when_printed("news", lambda: os.kill(os.getpid(), signal.SIGINT))
    result = spaces("logs", "-f", "acme/run-1", "acme/run-2", "-n", "1")
    assert result.code == 130
    assert sorted(result.lines[:2]) == ["acme/run-1\tline 4", "acme/run-2\tline 5"]
    assert result.lines[2] == "acme/run-2\tnews"
    assert result.err.strip() == "Interrupted."


def test_follow_goes_on_without_the_one_that_fails(
    talking: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """A Space that cannot be read does not end the others."""
    gone = talking.faults("GET /logs/run", Fault.status(404), repo_id="acme/run-1")
    hub_thread.when(
        lambda: gone.hits > 0, lambda: talking.space("acme/run-2").log("news")
    )
    hub_thread.when_printed("news", lambda: os.kill(os.getpid(), signal.SIGINT))
    result = spaces("logs", "-f", "acme/run-1", "acme/run-2")
    assert result.code == 130
    assert "acme/run-1: 404" in result.err
    assert "acme/run-2\tnews" in result.lines


def test_events(org: FakeHub, hub_thread: HubThread, spaces: Spaces) -> None:
    """Each change of a stage is a line as soon as it happens."""
    hub_thread.when_printed(
        "RUNTIME_ERROR", lambda: org.set_stage("acme/bad-1", "BUILDING")
    )
    hub_thread.when_printed("BUILDING", lambda: os.kill(os.getpid(), signal.SIGINT))
    result = spaces("events", "acme/bad-1")
    assert result.code == 130
    rows = [line.split("\t") for line in result.lines]
    assert [row[1:] for row in rows] == [
        ["stage", "RUNTIME_ERROR"],
        ["stage", "BUILDING"],
    ]
    assert datetime.fromisoformat(rows[0][0]).tzinfo is not None


def test_events_as_json_lines(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """`--json` gives an object for each event; use of ZeroGPU is one, too."""
    org.add_space("acme/zero", hardware="zero-a10g")
    hub_thread.when_printed("zero-gpu", lambda: os.kill(os.getpid(), signal.SIGINT))
    result = spaces("events", "--json", "acme/zero")
    found = [json.loads(line) for line in result.lines]
    assert [(e["id"], e["kind"], e["data"]) for e in found] == [
        ("acme/zero", "stage", "RUNNING"),
        ("acme/zero", "zero-gpu-count", 0),
    ]
