"""Tables for notebooks: one helper for plans, reports and lists. Pure.

All text is escaped, for it may come from the Hub. There is no script and no style, so that
a notebook shows it like its own tables.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from spaces_async._lines import one_line

__all__ = ["SHOWN_ROWS", "RecordList", "paragraph", "table"]

T = TypeVar("T")

SHOWN_ROWS: Final = 20
"""Rows that a table has at most; the object itself has all."""
_CELL_CHARACTERS: Final = 200
_NOT_SHOWN: Final = frozenset({"raw", "problems", "attempts", "from_journal"})


def paragraph(text: str) -> str:
    """Return a line of text."""
    return f"<p>{_escaped(text)}</p>"


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the first rows of a table, and how many more there are.

    Args:
        titles: The titles of the columns.
        rows: Their cells; None is an empty one.
    """
    cells = list(rows)
    head = "".join(f"<th>{_escaped(title)}</th>" for title in titles)
    lines = [
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>"
        for row in cells[:SHOWN_ROWS]
    ]
    if (more := len(cells) - SHOWN_ROWS) > 0:
        lines.append(f"<tr><td colspan={len(titles)}>and {more} more</td></tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value)
    if len(text) > _CELL_CHARACTERS:
        text = f"{text[: _CELL_CHARACTERS - 1]}…"
    return _escaped(text)


def _escaped(text: str) -> str:
    return html.escape(one_line(text))


class RecordList(list[T]):
    """A list of records that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return a table of those fields that have a value."""
        data = [_plain_fields(record) for record in self]
        titles: dict[str, None] = {}
        for fields in data:
            titles |= {name: None for name, value in fields.items() if _tells(value)}
        rows = [[fields.get(title) for title in titles] for fields in data]
        count = "1 record" if len(data) == 1 else f"{len(data)} records"
        return f"{paragraph(count)}{table(list(titles), rows) if titles else ''}"


def _plain_fields(record: object) -> Mapping[str, Any]:
    to_dict = getattr(record, "to_dict", None)
    if to_dict is None:
        return {"value": record}
    fields = cast("Mapping[str, Any]", to_dict())
    # A record within a record would be a table within a cell.
    return {
        name: value
        for name, value in fields.items()
        if name not in _NOT_SHOWN and not isinstance(value, Mapping)
    }


def _tells(value: object) -> bool:
    return value is not None and value not in ("", [], False)
