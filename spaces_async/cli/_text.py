"""The door for text that comes from outside: the Hub, ids, error messages.

Whatever a command prints passes through here. A terminal acts on control characters,
and characters that change the direction of text, or are not seen, make one id look like
another. A newline in an id would make another row for the program that reads a pipe.
"""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from spaces_async._lines import one_line

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = [
    "RESET_CODE",
    "clean",
    "full_stop",
    "harmless",
    "json_text",
    "local_time",
    "one_line",
    "one_word",
    "wrapped",
]

RESET_CODE: Final = "\x1b[0m"
_COLOUR_CODE: Final = re.compile(r"(\x1b\[[0-9;:]*m)")
_ESCAPE_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT_CHARACTERS: Final = "\t\u200d"
_JSON_SUSPECTS: Final = re.compile(r"[^\n\x20-\x7e]")
_LAST_OF_ONE_UNIT: Final = 0xFFFF
_REPLACEMENT: Final = "\ufffd"

_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=s\b)")
_NO_BREAK: Final = "\x00"
"""A space that is no place to break a line; no text that is shown has this character."""


def clean(text: str) -> str:
    """Make a text one line, without what a terminal acts on."""
    if not text.isprintable():
        text = _ESCAPE_SEQUENCE.sub("", text)
        text = one_line(text)
    return " ".join(text.split())


def full_stop(text: str) -> str:
    """Return a text that ends as a sentence does; a question mark needs no full stop."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def one_word(text: str) -> str:
    """Make an id one word that shows each character an id cannot have."""
    return "".join(c if c.isprintable() and c != " " else _REPLACEMENT for c in text)


def harmless(text: str, *, coloured: bool = False) -> str:
    """Remove what a terminal acts on, except for colours where they are wanted."""
    if text.isprintable():
        return text
    parts = _COLOUR_CODE.split(text)
    # Every second part is a colour code; those between may contain anything.
    parts[::2] = [_visible(part) for part in parts[::2]]
    if not coloured:
        return "".join(parts[::2])
    return "".join(parts) + (RESET_CODE if len(parts) > 1 else "")


def _visible(text: str) -> str:
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(
        " " if c == "\n" else c
        for c in text
        if c == "\n"
        or c in _KEPT_CHARACTERS
        or unicodedata.category(c) not in _HIDDEN_CATEGORIES
    )


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Return data as JSON in which all that a terminal acts on is escaped."""
    text = json.dumps(data, indent=indent, ensure_ascii=False, default=str)
    return _JSON_SUSPECTS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    code = ord(character)
    if code <= _LAST_OF_ONE_UNIT:
        return f"\\u{code:04x}"
    return json.dumps(character)[1:-1]


def wrapped(text: str, columns: int) -> str:
    """Break a text into lines at spaces; a longer word stays whole, and so does "5 s"."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    filled = textwrap.fill(
        _BEFORE_UNIT.sub(_NO_BREAK, text),
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_NO_BREAK, " ")


def local_time(instant: datetime, zone: tzinfo | None = None) -> datetime:
    """Return an instant in a zone, by default the local one.

    At the ends of the calendar, which some programs write for "never", there may be no
    such time: then it is returned as it is.
    """
    try:
        return instant.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
