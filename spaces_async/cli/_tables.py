"""CSV, and the cells of it and of Markdown, made safe for the programs that read them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from spaces_async.cli._text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["csv_table", "markdown_cell", "markdown_table"]

_FORMULA_MARKS: Final = ("=", "+", "-", "@")
_MARKDOWN_MARKS: Final = "\\`*_[]<>|#~"


def csv_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return CSV with a line of titles."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


def _csv_cell(text: str) -> str:
    """Return a cell of CSV: one line, and nothing that a spreadsheet would run."""
    text = clean(text)
    return f"'{text}" if text.startswith(_FORMULA_MARKS) and text != "-" else text


def markdown_cell(text: str) -> str:
    """Return a cell of a Markdown table: one line, without markup of its own."""
    escaped = (f"\\{c}" if c in _MARKDOWN_MARKS else c for c in clean(text))
    return "".join(escaped)


def markdown_table(
    titles: Sequence[str], rows: Iterable[Iterable[str]]
) -> Iterable[str]:
    """Return the lines of a Markdown table; its cells must be safe already."""
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join('---' for _ in titles)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
