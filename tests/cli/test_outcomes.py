"""What a terminal and a pipe show while a bulk runs, and when it has ended."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import click
import pytest
from rich.console import Console

from spaces_async.bulk import BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk.report import ReportBuilder
from spaces_async.cli import _progress
from spaces_async.cli._app import App
from spaces_async.cli._causes import causes, success_lines
from spaces_async.cli._output import Output
from spaces_async.cli._progress import Busy, ProgressDisplay
from spaces_async.cli._report import show, waited_for
from spaces_async.cli._waiting import QuotaHold
from spaces_async.errors import SpaceFailedError, SpaceNotFoundError
from spaces_async.models import SpaceRuntime, SpaceStage
from spaces_async.testing import ManualClock
from tests.support.virtual import play

RUNNING = SpaceRuntime(stage=SpaceStage.RUNNING)


def report_of(*outcomes: Outcome[Any], operation: str = "restart") -> BulkReport[Any]:
    builder: ReportBuilder[Any] = ReportBuilder(operation)
    for outcome in outcomes:
        builder.claim(outcome.repo_id)
        builder.add(outcome)
    return builder.report


def crashed(name: str, message: str = "out of memory") -> Outcome[Any]:
    runtime = SpaceRuntime(stage=SpaceStage.RUNTIME_ERROR, error_message=message)
    tail = ("Traceback (most recent call last):", "\x1b[2JMemoryError")
    error = SpaceFailedError("failed", repo_id=name, runtime=runtime, log_tail=tail)
    return Outcome(name, OutcomeStatus.FAILED, error=error)


def missing(name: str) -> Outcome[Any]:
    error = SpaceNotFoundError(f"no Space {name}", status=404, method="GET", url="/")
    return Outcome(name, OutcomeStatus.FAILED, error=error)


MIXED = report_of(
    *(Outcome(f"acme/s{n}", OutcomeStatus.DONE, RUNNING) for n in range(289)),
    Outcome("acme/site", OutcomeStatus.SKIPPED, reason="static"),
    missing("acme/none"),
    crashed("acme/bad-1"),
    crashed("acme/bad-2"),
    Outcome("acme/late", OutcomeStatus.NOT_ATTEMPTED),
)

AT_80 = """\
289 done (RUNNING): acme/s0, acme/s1, acme/s2 and 286 more
1 skipped (static): acme/site
2 failed: RUNTIME_ERROR: out of memory
  acme/bad-1, acme/bad-2
  To see why: spaces-async logs acme/bad-1 -n 20
  The end of the log of acme/bad-1:
  | Traceback (most recent call last):
  | MemoryError
1 failed: 404 no Space ID
  acme/none
  Check the id, and whether the token may see the Space.
1 not attempted
  acme/late
"""


def shown_at(columns: int, report: BulkReport[Any], *, rows: bool = False) -> str:
    """Return what a terminal of that width shows of a report."""
    output, out = Output(), io.StringIO()
    output.table_out = True
    output.out = Console(file=out, width=columns, force_terminal=True, highlight=False)
    output.err = Console(file=io.StringIO(), width=columns)
    show(output, report, rows=rows)
    lines = click.unstyle(out.getvalue()).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def test_a_terminal_groups_by_cause() -> None:
    """Successes take one line; failures are counted by cause, with the way on."""
    assert shown_at(80, MIXED) == AT_80
    assert shown_at(120, MIXED) == AT_80
    narrow = shown_at(40, MIXED)
    commands = "    spaces-async logs acme/bad-1 -n 20"
    assert max(map(len, narrow.splitlines())) <= 41
    assert commands in narrow.splitlines()


def test_verbose_has_a_row_for_each() -> None:
    """With -v a terminal shows each Space."""
    rows = shown_at(80, MIXED, rows=True).splitlines()
    assert len(rows) == 1 + len(MIXED)


def test_a_pipe_has_rows_and_causes(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout has a line for each Space; stderr counts the causes and has the log."""
    show(Output(), MIXED)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(MIXED)
    assert "  2 failed: RUNTIME_ERROR: out of memory\n" in err
    assert "  | MemoryError\n" in err
    assert "\x1b" not in out + err


def test_causes() -> None:
    """The largest group of what went wrong is first; what was left out is last."""
    assert [(c.status, len(c.outcomes)) for c in causes(MIXED)] == [
        ("failed", 2),
        ("failed", 1),
        ("not_attempted", 1),
    ]
    same = report_of(missing("acme/a"), missing("acme/b"))
    assert [cause.title for cause in causes(same)] == ["2 failed: 404 no Space ID"]
    mixed = report_of(
        Outcome("a/b", OutcomeStatus.DONE, RUNNING),
        Outcome("a/c", OutcomeStatus.DONE, SpaceRuntime(stage=SpaceStage.PAUSED)),
    )
    assert success_lines(mixed) == [("done", "2 done (1 RUNNING, 1 PAUSED): a/b, a/c")]


def test_what_was_skipped_is_not_in_doubt() -> None:
    """A wait after a write is about what was sent; the skipped ones stay skipped."""
    whole = waited_for(
        report_of(
            Outcome("a/b", OutcomeStatus.DONE, RUNNING, reason="healthy"),
            Outcome("a/site", OutcomeStatus.SKIPPED, reason="static"),
        )
    )
    assert whole.ok


# For notebooks and programs ----------------------------------------------------------


def test_rows_for_programs() -> None:
    """Each kept outcome is a flat row with the same keys."""
    rows = MIXED.to_rows()
    assert len(rows) == len(MIXED)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    flat = (str, int, float, bool, type(None))
    assert all(isinstance(value, flat) for row in rows for value in row.values())
    assert rows[0]["stage"] == "RUNNING"
    assert rows[-2]["error_type"] == "SpaceFailedError"


def test_html_for_notebooks() -> None:
    """Reports and their lists are tables, what is not done first, and all escaped."""
    report = report_of(*MIXED.outcomes[:100], crashed("a/b", "<script>x</script>"))
    page = report._repr_html_()
    assert "restart: 100 done, 1 failed" in page
    assert page.index("a/b") < page.index("acme/s0")
    assert "<script>" not in page + report.failed._repr_html_()  # type: ignore[attr-defined]
    assert "and 81 more" in page
    listed = report.succeeded._repr_html_()  # type: ignore[attr-defined]
    assert "100 records" in listed
    assert "<th>error</th>" not in listed
    assert report_of()._repr_html_() == "<p>restart: no Spaces</p>"


# Progress ----------------------------------------------------------------------------


def test_a_wait_counts_down() -> None:
    """It says what is used up, when it opens, and how far the work is."""
    hold = QuotaHold()
    assert hold.text(0.0) == ""
    hold.begin("window", 281.0)
    hold.begin("action", 100.0)  # ends earlier
    assert hold.text(0.0, 119, 291) == (
        "quota used up; opens in 4m 41s (119 of 291 done)"
    )
    assert hold.text(280.5) == "quota used up; opens in 1s"
    assert hold.text(281.0) == ""
    hold.begin("action", 300.0)
    assert hold.text(290.0) == "limit of the Hub; next try in 10s"


def app_of(*, live: bool) -> tuple[App, io.StringIO, ManualClock]:
    app, out, clock = App(output=Output()), io.StringIO(), ManualClock()
    app.output.err = Console(
        file=out, force_terminal=live, width=120, color_system=None
    )
    app.output.live = live
    app.now = clock.monotonic
    return app, out, clock


def test_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a line each 30 s says how far it is, and why it waits."""
    app, out, clock = app_of(live=False)

    async def scene() -> None:
        with ProgressDisplay(app, "Restart", 291) as display:
            for number in range(119):
                display.add_outcome(Outcome(f"a/s{number}", OutcomeStatus.DONE))
            display.add_outcome(Outcome("a/x", OutcomeStatus.FAILED))
            await asyncio.sleep(31)
            app._show_wait(281.0, "window", "restart")
            clock.advance(29.0)
            await asyncio.sleep(30)
        await asyncio.sleep(100)

    play(monkeypatch, scene)
    assert out.getvalue().splitlines() == [
        "Restart: 120 of 291 done, 1 failed, 30s so far",
        "Quota used up; opens in 4m 41s (120 of 291 done)",
        "Restart: 120 of 291 done, 1 failed, 1m so far; quota used up; opens in 4m 12s",
    ]


def test_no_heartbeat_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quiet` says nothing."""
    app, out, _ = app_of(live=False)
    app.output.quiet = True

    async def scene() -> None:
        with ProgressDisplay(app, "Restart", 2):
            await asyncio.sleep(100)

    play(monkeypatch, scene)
    assert out.getvalue() == ""
    assert _progress._HEARTBEAT_SECONDS == 30.0


def test_a_listing_says_why_it_waits() -> None:
    """Also what has no length shows the wait, which ends with it."""
    app, out, clock = app_of(live=True)
    with Busy(app, "Listing") as display:
        app._show_wait(9.0, "window", "list_spaces")
        assert display._more().plain == "quota used up; opens in 9s"
        clock.advance(9.0)
        assert display._more().plain == ""
    assert app.on_wait is None
    assert "Listing ..." in out.getvalue()
