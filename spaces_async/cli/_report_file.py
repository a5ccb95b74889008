"""`--report FILE`: the outcomes of a bulk for people and programs that were not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from spaces_async.bulk import BulkReport
from spaces_async.bulk.report import TROUBLES
from spaces_async.cli._causes import causes, detail, success_lines, word
from spaces_async.cli._errors import in_shell_words
from spaces_async.cli._output import human_seconds
from spaces_async.cli._report_waves import wave_rows, wave_titles
from spaces_async.cli._tables import csv_table, markdown_cell, markdown_table
from spaces_async.cli._text import json_text, one_line, one_word
from spaces_async.cli._times import when
from spaces_async.cli._wording import title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from spaces_async.cli._app import App

__all__ = ["Finished", "text_of", "write_file", "write_reports"]


@frozen
class Finished:
    """A bulk that has ended, and when.

    Attributes:
        report: Its outcomes.
        ended: When it ended.
        spans: When the work on each Space began and ended, in seconds before that; a
            Space whose times are not known is missing.
    """

    report: BulkReport[Any]
    ended: datetime
    spans: Mapping[str, tuple[float, float]]

    @property
    def title(self) -> str:
        """What was done, in words."""
        return title(self.report.operation)

    @property
    def summary(self) -> str:
        """How many ended how, and how long it took."""
        counts = self.report.summary().removeprefix(f"{self.report.operation}: ")
        return f"{counts} in {human_seconds(max(1.0, self.report.elapsed))}"

    @property
    def began(self) -> datetime:
        """When it began."""
        return self.ended - timedelta(seconds=self.report.elapsed)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each Space, with when it began and ended."""
        rows = self.report.to_rows()
        for row in rows:
            if row["error"] is not None:
                row["error"] = in_shell_words(row["error"])
            span = self.spans.get(row["repo_id"])
            for name, seconds in zip(("began", "ended"), span or (), strict=False):
                instant = self.ended - timedelta(seconds=seconds)
                row[name] = instant.isoformat(timespec="milliseconds")
            row.setdefault("began", None)
            row.setdefault("ended", None)
        return rows


def write_reports(app: App, report: BulkReport[Any], paths: Iterable[Path]) -> None:
    """Write a report to files, each whole or not at all.

    Args:
        app: The run.
        report: The outcomes.
        paths: The files; their endings say in which form.
    """
    now = app.now()
    spans = {
        outcome.repo_id: (now - end + outcome.elapsed, now - end)
        for outcome in report
        if (end := app.finish_times.get(outcome.repo_id)) is not None
    }
    finished = Finished(report, datetime.now(UTC), spans)
    for path in paths:
        write_file(app, path, text_of(finished, path.suffix.lower()))


def write_file(app: App, path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all, and say so.

    Args:
        app: The run.
        path: The file. If it cannot be written, stderr says why, and the command fails.
        text: What it gets.
    """
    try:
        _replace(path, text)
    except OSError as error:
        why = error.strerror or type(error).__name__
        app.output.complain(f"The report {path} cannot be written: {why}.", style="red")
        app.report_is_missing = True
        return
    app.output.say(f"Report: {path}")


def text_of(finished: Finished, form: str) -> str:
    """Return a report in one of the forms of `--report`."""
    return _WRITERS[form](finished)


def _replace(path: Path, text: str) -> None:
    # Until then a reader sees the previous report, never half of this one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)  # noqa: PTH101  (mkstemp gives a string)
        os.replace(name, path)  # noqa: PTH105  (as above)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108  (as above)
        raise


def _csv(finished: Finished) -> str:
    rows = finished.rows()
    names = list(rows[0]) if rows else ["repo_id", "status"]
    return csv_table(
        names,
        (
            ["" if row[name] is None else str(row[name]) for name in names]
            for row in rows
        ),
    )


def _json(finished: Finished) -> str:
    report = finished.report
    data = {
        "operation": report.operation,
        "began": finished.began.isoformat(timespec="seconds"),
        "ended": finished.ended.isoformat(timespec="seconds"),
        "elapsed": round(report.elapsed, 3),
        "stopped_by": None if report.stopped_by is None else str(report.stopped_by),
        "ok": report.ok,
        "counts": {str(status): count for status, count in report.counts.items()},
        "waves": [
            row.wave.to_dict() | {"result": row.result} for row in wave_rows(report)
        ],
        "causes": [
            {
                "status": str(cause.status),
                "cause": cause.text,
                "spaces": [outcome.repo_id for outcome in cause.outcomes],
                "what_to_do": cause.hints,
            }
            for cause in causes(report)
        ],
        "outcomes": finished.rows(),
    }
    return f"{json_text(data, indent=2)}\n"


def _markdown(finished: Finished) -> str:
    report = finished.report
    lines = [
        f"# {finished.title}: {'done' if report.ok else 'not all done'}",
        "",
        f"{markdown_cell(finished.summary)}. {when(finished.ended, finished.ended)}",
        "",
    ]
    lines += [f"- {markdown_cell(line)}" for _, line in success_lines(report)]
    if rows := wave_rows(report):
        cells = ([markdown_cell(cell) for cell in row.cells] for row in rows)
        lines += ["", "## Waves", "", *markdown_table(wave_titles(report), cells)]
    for cause in causes(report):
        lines += ["", f"## {markdown_cell(cause.title)}", ""]
        lines += [f"- {markdown_cell(cause.names)}"]
        lines += [f"- {markdown_cell(hint)}" for hint in cause.hints]
        if cause.status in TROUBLES and (command := cause.command):
            lines += [f"- To see why: `{one_line(command)}`"]
        if tail := cause.log_tail:
            lines += ["", f"The end of the log of {markdown_cell(tail[0])}:", ""]
            # Indented by four, a line is code, whatever is in it.
            lines += [f"    {one_line(line)}" for line in tail[1]]
    lines += ["", "## All", ""]
    titles = ["Space", "outcome", *(["wave"] if report.waves else []), "detail"]
    lines += markdown_table(
        titles,
        (
            (
                *(one_word(o.repo_id), word(o.status)),
                *([str(o.wave or "")] if report.waves else []),
                markdown_cell(detail(o, report.operation)),
            )
            for o in report
        ),
    )
    return "\n".join(lines) + "\n"


def _html(finished: Finished) -> str:
    from spaces_async.cli._report_html import page

    return page(finished)


_WRITERS: Final[Mapping[str, Callable[[Finished], str]]] = {
    ".csv": _csv,
    ".json": _json,
    ".md": _markdown,
    ".html": _html,
}
