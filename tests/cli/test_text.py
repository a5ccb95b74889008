"""The door for text from outside, and how texts fit a terminal of 80 columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from spaces_async.bulk import Outcome, OutcomeStatus
from spaces_async.cli._app import App
from spaces_async.cli._details import info_details, quota_details
from spaces_async.cli._errors import reason, sentence
from spaces_async.cli._lines import LineWriter
from spaces_async.cli._output import Output
from spaces_async.cli._progress import ProgressDisplay
from spaces_async.cli._text import clean, json_text, local_time, one_word, wrapped
from spaces_async.errors import SpacesError
from spaces_async.models import SpaceInfo, SpaceStage
from spaces_async.records import LogLine, ZeroGpuQuota
from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]

EVILS = (
    "\x1b]0;EVIL\x07",
    "\x1b[2J",
    "\x9b2J",
    "\x9d0;EVIL\x9c",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\r",
    "\n",
    "\x7f",
)
EVIL = "".join(EVILS)
ACTED_ON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e\u2066]")
SGR = re.compile("\x1b\\[[0-9;]*m")
CONTROL = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("evil", EVILS)
def test_clean(evil: str) -> None:
    """A cleaned text is one line that no terminal acts on, with the rest kept."""
    assert re.fullmatch("a ?b", clean(f"a{evil}b"))
    assert not ACTED_ON.search(one_word(f"a{evil}b"))
    assert one_word(f"a{evil}b") != "ab"


@pytest.mark.parametrize("evil", [*EVILS, "\U000e0041", "\ud800"])
def test_json(evil: str) -> None:
    """JSON has such characters as escapes: the same data, with nothing to act on."""
    data = {f"k{evil}": [evil, "日本 é"]}
    text = json_text(data, indent=2)
    assert json.loads(text) == data
    assert not ACTED_ON.search(text)
    assert not {"\U000e0041", "\ud800"} & set(text)
    assert "日本 é" in text


def test_results_in_a_pipe(hub: FakeHub, spaces: Spaces) -> None:
    """What the Hub says of a Space reaches no pipe with anything to act on."""
    hub.add_space("acme/x", stage="RUNTIME_ERROR", error_message=f"x{EVIL}y")
    for args in (("status", "acme/x"), ("status", "acme/x", "--json")):
        result = spaces(*args)
        assert not ACTED_ON.search(result.out.replace("\n", ""))


def test_ids_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """An id with a newline or a space stays one line and one word."""
    Output().ids(["acme/a\nacme/b c"])
    assert capsys.readouterr().out == "acme/a\ufffdacme/b\ufffdc\n"


def test_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of a result stays one line: what a dry run shows may be the Hub's."""
    Output().line(f"PUT /volumes a{EVIL}b")
    out = capsys.readouterr().out
    assert not ACTED_ON.search(out.removesuffix("\n"))
    assert out.count("\n") == 1


def test_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """Questions, advice, errors and logs on stderr have nothing to act on."""
    output = Output()
    output.complain(f"a{EVIL}b")
    output.say(f"a{EVIL}b [red]c[/red] [/x]")
    output.advise(f"a{EVIL}b", f"c{EVIL}d")
    err = capsys.readouterr().err
    assert not ACTED_ON.search(err.replace("\n", ""))
    assert "[red]c[/red] [/x]" in err
    assert err.count("\n") == 3
    error = SpacesError(f"a{EVIL}b")
    assert not ACTED_ON.search(reason(error) + sentence(error))


async def test_a_stage_with_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that reads as markup neither ends the progress display nor colours it."""
    app = App(output=Output(), verbose=1)
    with ProgressDisplay(app, "Wait", 3) as display:
        for word in ("BUILDING[/x]", "[link=http://e]R[/link]", f"A{EVIL}B"):
            display.set_stage(word, SpaceStage(word))
        display.add_outcome(
            Outcome("a/b", OutcomeStatus.FAILED, error=SpacesError("x[/y]"))
        )
        task = display._progress.tasks[0]
        column = display._progress.columns[-1]
        assert not isinstance(column, str)
        text = str(column(task))
    assert "1 BUILDING[/x]" in text
    assert "[link=http://e]R[/link]" in text
    assert not ACTED_ON.search(text)
    assert "x[/y]" in capsys.readouterr().err


def test_log_lines_of_an_odd_space(capsys: pytest.CaptureFixture[str]) -> None:
    """The id before a log line is as harmless as the line."""
    ids = [f"acme/{EVIL}", "acme/b"]
    writer = LineWriter(Output(), ids)
    writer.log_line(LogLine(None, "x", ids[0]))
    assert not ACTED_ON.search(capsys.readouterr().out.replace("\n", ""))


EDGES = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5))),
)


@pytest.mark.parametrize("instant", EDGES)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_ends_of_the_calendar(
    instant: datetime,
    zone: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Instants that no zone can show, which mean "never", are shown as they came."""
    monkeypatch.setenv("TZ", zone)
    info = SpaceInfo("acme/x", created_at=instant, last_modified=instant)
    assert "created" in dict(info_details(info, "https://hub"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    quota = ZeroGpuQuota(base=1.0, current=1.0, resets_at=instant)
    resets = str(dict(quota_details(quota, now))["resets"])
    assert resets.endswith(("y ago)", "d 1h)", "d 23h)", "d 4h)")), resets
    for as_json in (True, False):
        writer = LineWriter(Output(json=as_json), ["acme/x"], timestamps=True)
        line = LogLine(instant, "text", "acme/x")
        assert writer.merged([[line, line]]) == [line, line]
        writer.log_line(line)
        assert "text" in capsys.readouterr().out
    assert local_time(instant, UTC).year == instant.year


def test_wrapped() -> None:
    """Lines break between words only; what is longer than a line stays whole."""
    text = "  one two-three " + "x" * 20 + " four"
    assert wrapped(text, 12).split("\n") == [
        "  one",
        "  two-three",
        "  " + "x" * 20,
        "  four",
    ]
    assert wrapped("", 12) == ""


RUN = re.compile(r"\d{8}T\d{6}Z-")
"""The name of a run, which the two do not share."""


def words_of(text: str) -> set[str]:
    return set(CONTROL.sub("", text).split())


@pytest.mark.parametrize(
    "args",
    [
        ("restart", "acme/none-of-these", "acme/bad-1"),
        ("restart", "acme/run-1", "--stage", "failed"),
        ("sleep-time", "1h", "acme/free"),
        ("secrets", "delete", "acme/run-1", "--key", "not a key of a secret"),
    ],
)
def test_messages_break_at_words(
    org: FakeHub, spaces: Spaces, args: tuple[str, ...]
) -> None:
    """At 80 columns no message is wider than that, or broken within a word."""
    org.add_space("acme/free")
    whole = spaces(*args)
    shown = spaces(*args, terminal=True, columns=80)
    lines = CONTROL.sub("", shown.out + shown.err).splitlines()
    assert lines
    assert max(map(len, lines)) <= 80
    for line in whole.err.splitlines():
        if not line.startswith("acme/") and " in 0." not in line:
            words = {word for word in line.split() if not RUN.match(word)}
            assert words <= words_of(shown.out + shown.err)


def test_errors_at_80_columns(hub: FakeHub, spaces: Spaces) -> None:
    """A narrow terminal does without other columns before it cuts the error."""
    why = "CUDA out of memory. Tried to allocate"
    hub.add_space(
        "acme/a-space-with-a-long-name",
        stage="RUNTIME_ERROR",
        hardware="a10g-small",
        error_message=f"{why} 20 GiB on the first of the GPUs",
    )
    shown = spaces("status", "--org", "acme", terminal=True, columns=80)
    assert set(why.split()) <= set(shown.out.split())
    assert "…" not in shown.out
    assert "acme/a-space-with-a-long-name" in shown.out
    assert "SLEEPS" not in shown.out
    wide = spaces("status", "--org", "acme", terminal=True, columns=160)
    assert why in wide.out
    assert "SLEEPS" in wide.out


def test_a_very_long_id_leaves_room(hub: FakeHub, spaces: Spaces) -> None:
    """Not even an id of 96 characters takes the whole line from the error."""
    name = f"acme/{'x' * 90}"
    hub.add_space(name, stage="BUILD_ERROR", error_message="pip failed")
    shown = spaces("status", name, terminal=True, columns=80)
    assert "pip failed" in shown.out
    assert max(map(len, SGR.sub("", shown.out).splitlines())) <= 80


def test_commands_to_copy(hub: FakeHub, spaces: Spaces) -> None:
    """A command that does not fit beside its text has a line of its own, unbroken."""
    name = f"acme/{'x' * 60}"
    hub.add_space(name, stage="RUNTIME_ERROR", error_message="broken")
    shown = spaces("wait", name, terminal=True, columns=80)
    assert f"\n    spaces-async logs {name} -n 20\n" in SGR.sub("", shown.out)


def test_a_number_keeps_its_unit() -> None:
    """A line is broken before "0.1 s" and not within it; all text is still there."""
    assert wrapped("done in 0.1 s", 12) == "done in\n0.1 s"
    assert wrapped("  5 s, 10 s", 8) == "  5 s,\n  10 s"
    assert "\x00" not in wrapped("1 s " * 20, 9)
