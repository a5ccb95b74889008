"""`--report FILE`: each form, and how the HTML looks in a browser."""

from __future__ import annotations

import csv
import html
import html.parser
import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spaces_async.bulk import (
    BulkReport,
    Outcome,
    OutcomeStatus,
    Plan,
    PlannedChange,
    Wave,
)
from spaces_async.bulk.report import ReportBuilder, StopReason
from spaces_async.cli._plan_file import text_of_plan
from spaces_async.cli._report_file import Finished, text_of
from spaces_async.cli._report_html import _tick_step
from spaces_async.cli._report_option import FORMS
from spaces_async.cli._times import age, clock_time, when
from spaces_async.errors import SpaceFailedError
from spaces_async.models import SpaceRuntime, SpaceStage
from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = "<img src=x onerror=alert(1)>|`=1+1`\x1b[2J"
ENDED = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)


def crash(name: str, message: str) -> SpaceFailedError:
    runtime = SpaceRuntime(stage=SpaceStage.RUNTIME_ERROR, error_message=message)
    tail = ("Traceback (most recent call last):", "  <MemoryError>")
    return SpaceFailedError("failed", repo_id=name, runtime=runtime, log_tail=tail)


def finished(count: int = 200) -> Finished:
    """A bulk in which every tenth Space failed for one of two causes."""
    builder: ReportBuilder[Any] = ReportBuilder("restart")
    spans: dict[str, tuple[float, float]] = {}
    running = SpaceRuntime(stage=SpaceStage.RUNNING)
    for number in range(count):
        name = f"acme/s{number}"
        begin = 60.0 * (1 - number / count)
        spans[name] = (begin, max(0.0, begin - 1 - number % 7))
        builder.claim(name)
        if number % 10:
            outcome = Outcome(
                name, OutcomeStatus.DONE, running, elapsed=1.0 + number % 7
            )
        else:
            error = crash(name, "out of memory" if number % 20 else HOSTILE)
            outcome = Outcome(name, OutcomeStatus.FAILED, error=error, elapsed=5.0)
        builder.add(outcome)
    builder.report.elapsed = 60.0
    return Finished(builder.report, ENDED, spans)


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(v) for k, v in attrs if k in {"src", "href"}]


def test_the_html_needs_nothing_else() -> None:
    """One file without scripts, links or images; what the Hub said is only text."""
    page = text_of(finished(), ".html")
    found = Tags(page)
    assert found.links == []
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert found.tags.count("svg") == 2
    assert "\x1b" not in page
    assert "<b>180</b><span>done</span>" in page
    assert "10 failed: RUNTIME_ERROR: out of memory" in page
    assert "&lt;MemoryError&gt;" in page
    assert "The 40 Spaces that ended badly or took longest" in page
    assert "All 200 Spaces" in page
    # What nobody has to read is folded, and only that.
    assert page.index("<details>") > page.index("10 failed: RUNTIME_ERROR")
    assert page.count("<tr>") == 201


def in_waves(*, halts: bool) -> Finished:
    """A bulk of 200 in waves of 1, 49 and 150, in which two Spaces of 50 failed."""
    builder: ReportBuilder[Any] = ReportBuilder("restart")
    builder.waves += [
        Wave(1, 1, 1, 1, 1, 0, 0.0, 60.0),
        Wave(2, 49, 49, 49, 47, 2, 120.0, 185.0, halted=halts),
        Wave(3, 150) if halts else Wave(3, 150, 150, 150, 150, 0, 200.0, 240.0),
    ]
    spans: dict[str, tuple[float, float]] = {}
    for number in range(200):
        name, wave = f"acme/s{number}", 1 if not number else 2 if number < 50 else 3
        builder.claim(name)
        began = {1: 0.0, 2: 120.0, 3: 200.0}[wave]
        outcome: Outcome[Any]
        if halts and wave == 3:
            outcome = Outcome(name, OutcomeStatus.NOT_ATTEMPTED, reason="unhealthy")
        elif number in {7, 9}:
            error = crash(name, "out of memory")
            outcome = Outcome(
                name, OutcomeStatus.FAILED, error=error, reason="unhealthy", wave=wave
            )
        else:
            outcome = Outcome(name, OutcomeStatus.DONE, reason="healthy", wave=wave)
        builder.add(outcome)
        spans[name] = (240.0 - began, 240.0 - began - 40.0)
    builder.report.elapsed = 240.0
    builder.report.stopped_by = StopReason.UNHEALTHY if halts else None
    return Finished(builder.report, ENDED, spans)


def test_the_html_tells_the_waves() -> None:
    """A table has each wave, what came of it and which one halted; charts show when."""
    page = text_of(in_waves(halts=True), ".html")
    assert rows_of(page)[:4] == [
        ["wave", "Spaces", "healthy", "failed", "began", "took", "result"],
        ["1", "1", "1", "0", "at once", "1m", "healthy"],
        ["2", "49", "47", "2", "after 2m", "1m 5s",
         "halted the rest: RUNTIME_ERROR: out of memory"],
        ["3", "150", "", "", "", "", "not begun"],
    ]  # fmt: skip
    chart = page[page.index("How many Spaces ended when") :].partition("</svg>")[0]
    assert chart.count("wave 1</title>") == chart.count("wave 2</title>") == 1
    assert "wave 3" not in chart
    # What was never begun is no part of the time.
    assert "not attempted" not in chart
    assert ["acme/s7", "failed", "2", "RUNTIME_ERROR: out of memory", "0s"] in (
        rows_of(page)
    )
    assert ["acme/s60", "not attempted", "", "", "0s"] in rows_of(page)
    fine = text_of(in_waves(halts=False), ".html")
    assert rows_of(fine)[3][-1] == "healthy"
    assert "halted" not in fine


def test_each_form_tells_the_waves() -> None:
    """Markdown has the table, CSV and JSON the wave of each Space."""
    done = in_waves(halts=True)
    text = text_of(done, ".md")
    assert "| 1 | 1 | 1 | 0 | at once | 1m | healthy |" in text
    assert "| acme/s7 | failed | 2 | RUNTIME\\_ERROR: out of memory |" in text
    rows = list(csv.DictReader(text_of(done, ".csv").splitlines()))
    assert [row["wave"] for row in rows[:2]] == ["1", "2"]
    assert rows[60]["wave"] == ""
    data = json.loads(text_of(done, ".json"))
    assert [wave["result"].partition(":")[0] for wave in data["waves"]] == [
        "healthy",
        "halted the rest",
        "not begun",
    ]
    assert data["waves"][1]["began"] == 120.0
    assert data["outcomes"][7]["wave"] == 2


def test_a_report_without_waves_has_none() -> None:
    """No form has a table of waves, or a column for them, that nothing fills."""
    assert "Waves" not in text_of(finished(), ".html") + text_of(finished(), ".md")
    assert "| Space | outcome | detail |" in text_of(finished(), ".md")


def rows_of(page: str) -> list[list[str]]:
    """The cells of all tables."""
    return [
        [
            html.unescape(re.sub("<[^>]+>", "", cell))
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
        ]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    ]


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(0.3, 0.1), (6, 1), (7, 2), (240, 60), (1808, 600), (90000, 28800), (10**7, 1728000)],
)  # fmt: skip
def test_the_ticks_are_round(seconds: float, step: float) -> None:
    """An axis counts as people do, with at most six steps."""
    assert _tick_step(seconds) == step
    assert seconds / step <= 6


def test_an_empty_report_has_every_form() -> None:
    """A bulk without Spaces, or without known times, makes a report all the same."""
    for report in (BulkReport[Any]("pause"), finished(3).report):
        for form in FORMS:
            assert text_of(Finished(report, ENDED, {}), form)


def test_markdown_and_csv_are_harmless() -> None:
    """No text of the Hub is markup in Markdown, or a formula in a spreadsheet."""
    text = text_of(finished(), ".md")
    assert "\\<img src=x" in text
    assert "## 10 failed: RUNTIME\\_ERROR: out of memory" in text
    assert "    Traceback (most recent call last):" in text
    table = [line for line in text.splitlines() if line.startswith("| acme/")]
    assert len(table) == 200
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4}
    builder: ReportBuilder[Any] = ReportBuilder("x")
    builder.claim("a/b")
    builder.add(Outcome("a/b", OutcomeStatus.SKIPPED, reason="=cmd()\n1"))
    rows = list(
        csv.DictReader(
            text_of(Finished(builder.report, ENDED, {}), ".csv").splitlines()
        )
    )
    assert rows[0]["reason"] == "'=cmd() 1"


def test_of_a_command(org: FakeHub, spaces: Spaces, tmp_path: Path) -> None:
    """The file has the outcomes that stdout has, with times, and replaces an old one."""
    path = tmp_path / "night.json"
    path.write_text("old")
    result = spaces("restart", "acme/run-1", "acme/none", "--report", str(path))
    assert result.code == 1
    assert f"Report: {path}\n" in result.err
    data = json.loads(path.read_text())
    assert data["ok"] is False
    assert data["causes"][0]["spaces"] == ["acme/none"]
    assert "Check the id" in data["causes"][0]["what_to_do"][0]
    assert [row["status"] for row in data["outcomes"]] == ["done", "failed"]
    assert all(row["began"] <= row["ended"] for row in data["outcomes"])
    assert list(tmp_path.iterdir()) == [path]
    org.requests.clear()
    again = spaces("wait", "acme/run-1", "--report", str(tmp_path / "w.csv"))
    assert again.code == 0
    assert (tmp_path / "w.csv").read_text().startswith("repo_id,status,")


@pytest.mark.parametrize(
    ("name", "says"),
    [("x.pdf", ".html, .csv"), ("none/x.md", "there is no folder"), (".", "must end")],
)
def test_wrong_files(
    org: FakeHub, spaces: Spaces, tmp_path: Path, name: str, says: str
) -> None:
    """Where no report could be written is said before anything is sent."""
    result = spaces("restart", "acme/run-1", "--report", str(tmp_path / name))
    assert result.code == 2
    assert says in result.err
    assert org.requests == []


def test_a_folder_that_takes_no_file(
    org: FakeHub, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried before anything is sent."""

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    result = spaces("restart", "acme/run-1", "--report", str(tmp_path / "x.html"))
    assert result.code == 2
    assert "x.html' cannot be written: Permission denied." in result.err
    assert org.requests == []


def test_a_folder_that_is_gone(
    org: FakeHub, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that cannot be written in the end does not hide what was done."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    path = tmp_path / "x.html"
    result = spaces("restart", "acme/run-1", "--report", str(path))
    assert result.lines == ["acme/run-1\tdone\tRUNNING"]
    assert "cannot be written: No space left on device." in result.err
    assert result.code == 1


def browser() -> str:
    named = os.environ.get("SPACES_ASYNC_TEST_BROWSER")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here: SPACES_ASYNC_TEST_BROWSER may name one")
    return found


def test_in_a_browser(tmp_path: Path) -> None:
    """Chromium draws the page without an error: charts have bars, nothing runs."""
    path = tmp_path / "report.html"
    path.write_text(text_of(finished(), ".html"), "utf-8")
    picture = tmp_path / "report.png"
    done = subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--disable-dev-shm-usage", "--hide-scrollbars"),
            *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--v=0"),
            *("--window-size=1000,1800", f"--screenshot={picture}", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert picture.exists(), done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr
    size = struct.unpack(">II", picture.read_bytes()[16:24])
    assert size == (1000, 1800)
    # An empty page of this size is much smaller.
    assert picture.stat().st_size > 20_000


# Times -------------------------------------------------------------------------------


def test_times_have_a_zone_and_an_age() -> None:
    """All instants are written alike: date, time, zone and age."""
    written = when(datetime(2026, 11, 27, 3, 30, tzinfo=UTC), ENDED, UTC)
    assert written == "2026-11-27 03:30 UTC (2h ago)"
    assert clock_time(ENDED, UTC) == "06:00:00 UTC"
    assert age(ENDED, ENDED) == "now"
    assert age(datetime(2026, 11, 27, 6, 3, 20, tzinfo=UTC), ENDED) == "in 3m 20s"
    assert age(datetime(2024, 11, 27, tzinfo=UTC), ENDED) == "2y ago"
    assert age(datetime(2026, 11, 24, tzinfo=UTC), ENDED) == "3d ago"


# Plans -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_dry_run_writes_its_plan(
    org: FakeHub, spaces: Spaces, tmp_path: Path, form: str
) -> None:
    """The file has each Space, what would change and why not; nothing is sent."""
    path = tmp_path / f"plan{form}"
    result = spaces("pause", "--org", "acme", "--dry-run", "--report", str(path))
    assert result.code == 0
    assert f"Report: {path}\n" in result.err
    assert {request.method for request in org.requests} == {"GET"}
    text = path.read_text("utf-8")
    if form == ".json":
        data = json.loads(text)
        assert [c["repo_id"] for c in data["skipped"]] == ["acme/site"]
        assert datetime.fromisoformat(data["made"]).tzinfo is UTC
    elif form == ".csv":
        rows = {row["repo_id"]: row for row in csv.DictReader(text.splitlines())}
        assert rows["acme/run-1"]["after"] == "stage: PAUSED"
        assert rows["acme/run-1"]["cost_per_hour"].startswith("'-0.4")
        assert rows["acme/site"]["reason"] == "static"
        assert rows["acme/off"]["plan"] == "unchanged"
        assert "/pause" in rows["acme/run-1"]["requests"]
    else:
        assert "Plan: Pause" in text
        assert "Nothing was sent" in text
        if form == ".html":
            assert ["acme/site", "skipped", "static", "", ""] in rows_of(text)
            assert "<details open>" in text
        else:
            assert "| acme/site | skipped | static |  |  |" in text


def test_the_plan_of_many_is_folded() -> None:
    """The totals come first, and what the Hub said is only text."""
    changes = tuple(PlannedChange(f"a/s{n}", after={"x": HOSTILE}) for n in range(60))
    text = text_of_plan(Plan("pause", changes), ".html", ENDED)
    assert "<b>60</b><span>to change</span>" in text
    assert "<details><summary>All 60 Spaces</summary>" in text
    assert "<img" not in text
    assert "\x1b" not in text


def test_nothing_to_do_is_a_report_too(
    org: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """What reads the file finds an empty one, and not that of the day before."""
    path = tmp_path / "x.json"
    nothing = ("pause", "--org", "acme", "--match", "none*", "--report", str(path))
    assert spaces(*nothing).code == 0
    assert json.loads(path.read_text())["outcomes"] == []
    assert spaces(*nothing, "--dry-run").code == 0
    assert json.loads(path.read_text())["changes"] == []
    path.unlink()
    assert spaces("wake", "acme/run-1", "--report", str(path)).code == 0
    assert json.loads(path.read_text())["outcomes"] == []


def test_several_forms(org: FakeHub, spaces: Spaces, tmp_path: Path) -> None:
    """Each `--report` is written, of a run and of a dry run."""
    for more in ((), ("--dry-run",)):
        paths = [tmp_path / f"{len(more)}.{form}" for form in ("md", "html")]
        given = [word for path in paths for word in ("--report", str(path))]
        assert spaces("pause", "acme/run-1", *given, *more).code == 0
        assert all(path.read_text() for path in paths)
