"""Cells of CSV and Markdown, made safe for the programs that read them."""

from __future__ import annotations

from typing import Final

from spaces_async.cli._text import clean

__all__ = ["csv_cell", "markdown_cell"]

_FORMULA_MARKS: Final = ("=", "+", "-", "@")
_MARKDOWN_MARKS: Final = "\\`*_[]<>|#~"


def csv_cell(text: str) -> str:
    """Return a cell of CSV: one line, and nothing that a spreadsheet would run."""
    text = clean(text)
    return f"'{text}" if text.startswith(_FORMULA_MARKS) and text != "-" else text


def markdown_cell(text: str) -> str:
    """Return a cell of a Markdown table: one line, without markup of its own."""
    escaped = (f"\\{c}" if c in _MARKDOWN_MARKS else c for c in clean(text))
    return "".join(escaped)
