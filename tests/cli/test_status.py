"""`status`: which columns fit, in which order, what it comes to, and how it is watched."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
import pytest
from rich.console import Console

from spaces_async import _costs
from spaces_async.cli._status import StatusView, layout_of, sorted_spaces, totals
from spaces_async.cli._status_options import COLUMNS, SORTS
from spaces_async.cli._watch import Fleet, Screen, page_size
from spaces_async.models import SpaceHardware, SpaceInfo, SpaceRuntime, SpaceStage
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
HubThread = Any

LONG_ERROR = "CUDA out of memory. Tried to allocate 20 GiB on the first of the GPUs"

AT_80 = """\
SPACE                  STAGE          HARDWARE    $/H      ERROR
acme/bad-2             BUILD_ERROR    cpu-basic   -        pip failed
acme/chat-with-a-name  RUNTIME_ERROR  a10g-small  -        CUDA out of memory.
                                                           Tried to allocate 20
                                                           GiB on the first of
                                                           the GPUs
acme/run-1             RUNNING        t4-small    $0.40/h
acme/off               PAUSED         cpu-basic   -
"""
AT_120 = """\
SPACE                  STAGE          HARDWARE    $/H      SLEEPS AFTER  SDK     ERROR
acme/bad-2             BUILD_ERROR    cpu-basic   -        48h           gradio  pip failed
acme/chat-with-a-name  RUNTIME_ERROR  a10g-small  -        -             gradio  CUDA out of memory. Tried to allocate
                                                                                 20 GiB on the first of the GPUs
acme/run-1             RUNNING        t4-small    $0.40/h  1h            gradio
acme/off               PAUSED         cpu-basic   -        -             gradio
"""


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    hub.add_space("acme/run-1", hardware="t4-small", sleep_time=3600)
    hub.add_space("acme/bad-2", stage="BUILD_ERROR", error_message="pip failed")
    hub.add_space(
        "acme/chat-with-a-name",
        stage="RUNTIME_ERROR",
        hardware="a10g-small",
        error_message=LONG_ERROR,
    )
    hub.add_space("acme/off", stage="PAUSED")
    return hub


def plain(text: str) -> str:
    lines = click.unstyle(text).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


@pytest.mark.parametrize(("columns", "screen"), [(80, AT_80), (120, AT_120)])
@pytest.mark.usefixtures("fleet")
def test_screens(spaces: Spaces, columns: int, screen: str) -> None:
    """At 80 columns there is room for hardware, $/h and the error; failed ones first."""
    shown = spaces("status", "--org", "acme", terminal=True, columns=columns)
    assert plain(shown.out) == screen
    assert "4 Spaces: 2 failed, 1 running, 1 idle; $0.40/h now." in shown.err


@pytest.mark.usefixtures("fleet")
def test_wide_and_columns(spaces: Spaces) -> None:
    """`-o wide` has every column on one line each, `--columns` those that are named."""
    wide = spaces("status", "--org", "acme", "-o", "wide", terminal=True, columns=80)
    assert len(plain(wide.out).splitlines()) == 5
    assert plain(wide.out).split("\n")[0].split()[:4] == [
        *("SPACE", "STAGE", "HARDWARE", "REPLICAS")
    ]
    few = spaces("status", "--org", "acme", "--columns", "rate,space")
    assert few.lines[0].split("\t") == ["-", "acme/bad-2"]
    assert "$0.40/h\tacme/run-1" in few.lines
    wrong = spaces("status", "--org", "acme", "--columns", "spase")
    assert wrong.code == 2
    assert "did you mean 'space'?" in wrong.err


@pytest.mark.usefixtures("fleet")
def test_csv_and_json(spaces: Spaces) -> None:
    """CSV has a line of titles and all columns; JSON has the rate where it was asked."""
    rows = list(
        csv.reader(io.StringIO(spaces("status", "--org", "acme", "-o", "csv").out))
    )
    assert rows[0] == list(COLUMNS)
    assert rows[2][-1] == LONG_ERROR
    found = json.loads(
        spaces("status", "--org", "acme", "-o", "json", "--sort", "rate").out
    )
    assert found[0]["id"] == "acme/run-1"
    assert found[0]["usd_per_hour"] == pytest.approx(0.4, abs=0.001)


@pytest.mark.usefixtures("fleet")
def test_an_unreadable_price_list(hub: FakeHub, spaces: Spaces) -> None:
    """Where the prices cannot be read, the cost is said to be unknown."""
    hub.faults("GET /api/spaces/hardware", Fault.status(404), times=None)
    shown = spaces("status", "--org", "acme")
    assert shown.code == 0
    assert "The price list cannot be read" in shown.err
    assert "1 idle; cost unknown now." in shown.err


def space(name: str, stage: str | None, hardware: str = "cpu-basic") -> SpaceInfo:
    if stage is None:
        return SpaceInfo(f"acme/{name}")
    runtime = SpaceRuntime(stage=SpaceStage(stage), hardware=SpaceHardware(hardware))
    return SpaceInfo(f"acme/{name}", runtime=runtime)


PRICES = {"cpu-basic": _costs.ZERO, "t4-small": Decimal("0.4")}
VIEW = StatusView(layout_of((), wide=False, people=True), PRICES)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("stage", "bdface"),
        ("rate", "cdfabe"),
        ("name", "abcdef"),
        ("hardware", "fabecd"),
    ],
)
def test_sorting(by: str, order: str) -> None:
    """Failed first, then what changes, what is not known, what runs, and the idle.

    By rate the dearest are first, and what is not known is before what is free.
    """
    infos = [
        space("a", "RUNNING"),
        space("b", "RUNTIME_ERROR"),
        space("c", "RUNNING", "t4-small"),
        space("d", "RUNNING_BUILDING", "unpriced"),
        space("e", "PAUSED"),
        space("f", None),
    ]
    found = [info.name for info in sorted_spaces(infos, by, VIEW.rate)]
    assert "".join(found) == order


def test_totals_of_unknown_costs() -> None:
    """What has no price is counted as unknown, and not as free."""
    infos = [space("a", "RUNNING", "t4-small"), space("b", "RUNNING", "new-gpu")]
    assert totals(infos, VIEW.rate) == (
        "2 Spaces: 2 running; $0.40/h and 1 unknown now."
    )


# Watching ----------------------------------------------------------------------------


def test_changes_of_a_fleet() -> None:
    """The first look changes nothing; then stages, new Spaces and gone ones do."""
    fleet = Fleet()
    assert fleet.update([space("a", "RUNNING"), space("b", "PAUSED")], 0.0) == []
    changes = fleet.update([space("a", "BUILDING"), space("c", "RUNNING")], 5.0)
    told = [(c.info.name, c.before, c.after) for c in changes]
    assert told == [
        ("a", "RUNNING", "BUILDING"),
        ("c", None, "RUNNING"),
        ("b", "PAUSED", None),
    ]
    assert fleet.age("acme/a", 65.0) == "1m"
    assert fleet.is_fresh("acme/a", 34.0)
    assert not fleet.is_fresh("acme/a", 36.0)
    fleet = Fleet()
    fleet.update([space("a", "RUNNING")], 0.0)
    assert fleet.age("acme/a", 7.0) == ">7s"


def drawn(screen: Screen, fleet: Fleet, columns: int, lines: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=columns, height=lines)
    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    console.print(screen.draw(fleet, 0.0, now, (columns, lines)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_300_spaces_on_a_screen() -> None:
    """Of many Spaces the screen shows the most urgent; keys scroll, sort and end it."""
    fleet = Fleet()
    infos = [space(f"s{number:03}", "RUNNING") for number in range(299)]
    fleet.update([*infos, space("worst", "RUNTIME_ERROR")], 0.0)
    screen = Screen(VIEW, "stage")
    lines = drawn(screen, fleet, 80, 24)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("acme/worst")
    assert lines[-1].startswith("1-21 of 300, by stage")
    page = page_size(24)
    for key, top in [
        ("j", 1),
        (" ", 22),
        ("\x1b[A", 21),
        ("G", 279),
        ("j", 279),
        ("g", 0),
    ]:
        screen.press(key, page, 300)
        assert screen.top == top
    screen.press("G", page, 300)
    assert drawn(screen, fleet, 80, 24)[-1].startswith("280-300 of 300")
    screen.press("s", page, 300)
    assert (screen.sort, screen.top) == (SORTS[1], 0)
    screen.press("?", page, 300)
    assert not screen.is_done
    screen.press("q", page, 300)
    assert screen.is_done


def test_a_screen_says_why_it_waits() -> None:
    """A wait for the quota, or a look that failed, stands in the place of the totals."""
    fleet = Fleet()
    fleet.update([space("a", "RUNNING")], 0.0)
    screen = Screen(VIEW, "stage", note="Not read: 503\x1b[2J")
    assert drawn(screen, fleet, 80, 6)[-2] == "Not read: 503"
    screen.wait = "quota used up; opens in 9s"
    assert drawn(screen, fleet, 80, 6)[-2] == "quota used up; opens in 9s"


@pytest.mark.parametrize("targets", [["--org", "acme"], ["acme/off", "acme/run-1"]])
def test_watch_in_a_pipe(
    fleet: FakeHub, hub_thread: HubThread, spaces: Spaces, targets: list[str]
) -> None:
    """Without a terminal each change is one line, until Ctrl-C."""
    hub_thread.when(
        lambda: len(fleet.requests) >= 4,
        lambda: fleet.space("acme/off").set_stage("RUNNING"),
    )
    hub_thread.when_printed("PAUSED\tRUNNING", hub_thread.interrupt)
    result = spaces("status", *targets, "--watch", "--every", "0.05")
    assert result.code == 130
    [line] = result.lines
    assert line.split("\t")[1:4] == ["acme/off", "PAUSED", "RUNNING"]
    assert "4 Spaces" in result.err or "2 Spaces" in result.err


def test_watch_goes_on_after_an_error(
    fleet: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """A look that fails is said so, and the next one finds the change."""
    hub_thread.when(
        lambda: len(fleet.requests) >= 4,
        lambda: (
            fleet.faults("GET /api/spaces", Fault.status(404), times=1),
            fleet.space("acme/off").set_stage("RUNNING"),
        ),
    )
    hub_thread.when_printed('"before": "PAUSED"', hub_thread.interrupt)
    result = spaces("status", "--org", "acme", "-w", "--every", "0.05", "--json")
    assert result.code == 130
    assert "again in" in result.err
    assert json.loads(result.lines[-1])["stage"] == "RUNNING"


def test_watch_or_summary(hub: FakeHub, spaces: Spaces) -> None:
    """What cannot go together is refused before anything is sent."""
    assert spaces("status", "a/b", "--watch", "--summary").code == 2
    assert hub.requests == []
