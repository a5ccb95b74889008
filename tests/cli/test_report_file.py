"""`--report FILE`: each form, and how the HTML looks in a browser."""

from __future__ import annotations

import csv
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

from spaces_async.bulk import BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk.report import ReportBuilder
from spaces_async.cli._report_file import Finished, text_of
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
    assert "140 more are in the table" in page
    assert page.count("<tr>") == 201


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
