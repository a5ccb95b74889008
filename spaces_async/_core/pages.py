"""Whether a listing that has a next page ever ends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yarl import URL

__all__ = ["Progress"]

MAX_IDLE_PAGES: Final = 10
"""So many pages in a row without a new entry end a listing."""
_MAX_ENTRIES: Final = 100_000
"""So many entries are remembered. A listing that goes in a circle comes back to them."""


class Progress:
    """Whether the pages of a listing still bring something new."""

    __slots__ = ("_cursors", "_entries", "_idle")

    def __init__(self, first: URL) -> None:
        """Start before the first page, which is at `first`."""
        self._cursors = {_cursor(first)}
        self._entries: set[int] = set()
        self._idle = 0

    def note(self, page: Iterable[Any]) -> bool:
        """Note the entries of a page; return whether the listing may go on."""
        # The hash is enough, and does not keep the entry alive.
        try:
            marks = {hash(entry.id) for entry in page}
        except AttributeError:
            marks = {hash(_name_of(entry)) for entry in page}
        fresh = not marks <= self._entries
        if len(self._entries) < _MAX_ENTRIES:
            self._entries |= marks
        self._idle = 0 if fresh else self._idle + 1
        return self._idle < MAX_IDLE_PAGES

    def follow(self, url: URL) -> bool:
        """Note the next page; return False if it was read before."""
        cursor = _cursor(url)
        if cursor in self._cursors:
            return False
        self._cursors.add(cursor)
        return True


def _cursor(url: URL) -> str:
    return url.query.get("cursor") or str(url)


def _name_of(entry: Any) -> str:
    """Return what names an entry without an id, such as the user name of a member."""
    return str(getattr(entry, "user", None) or entry)
