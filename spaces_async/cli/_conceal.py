"""Error messages without what was typed, for commands that take secrets.

A value in the wrong place, such as `secrets add acme/demo API_KEY=...`, ends up in some
message about wrong usage: of click's parser, of the library, or of ours. So messages are
searched for what was typed, and say which argument it was. Names that say where a value is
are shown, as far as they look like names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["concealed", "is_file", "names_of_sources"]

_LEAST_CHARACTERS: Final = 3
"""Shorter words are replaced only where they are quoted."""
_PREFIX_CHARACTERS: Final = 12
"""The library cuts long values; this much of their beginning is enough to find them."""

_VARIABLE: Final = re.compile(r"[A-Z_]{1,40}|[A-Z][A-Z0-9]*(_[A-Z0-9]+){1,9}")
"""What is taken for the name of a variable: most values have other characters, too."""
_FILE: Final = re.compile(r".*\.[a-z]{1,6}")
_SOURCES: Final = ("-from-env", "-from-file", "-env-file")


def names_of_sources(words: Sequence[str]) -> frozenset[str]:
    """Return the names in the options that say where the value of a secret is.

    These are the variable of `--from-env NAME`, the key of `--from-env KEY=NAME` and
    `--from-file KEY=PATH`, and files. What stands after such a key may be the value,
    given with the wrong option: it is no name, unless there is a file of that name.

    Args:
        words: The arguments of the command, in their order.
    """
    found: set[str] = set()
    values = {""}
    before = ""
    for word in words:
        option, equals, text = word.partition("=")
        if not (equals and option.startswith("--")):
            option, text = before, word
        before = word
        if option.endswith(_SOURCES):
            found |= _names_in(option, text)
        else:
            values.add(text.partition("=")[2])
    return frozenset(found - values)


def _names_in(option: str, text: str) -> set[str]:
    key, equals, place = text.partition("=")
    if equals and not option.endswith("-env-file"):
        found = {key} if _VARIABLE.fullmatch(key) else set[str]()
        return found | {each for each in (text, place) if is_file(each)}
    looks_right = _VARIABLE if option.endswith("-env") else _FILE
    is_name = not equals and looks_right.fullmatch(text)
    return {text} if is_name or is_file(text) else set()


def is_file(text: str) -> bool:
    """Return whether a text is the name of a file that is there."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False  # too long for a path, or with a NUL


def concealed(
    message: str,
    words: Sequence[str],
    known: Iterable[str] = (),
    shown: str | None = None,
) -> str:
    """Return a message with the number of an argument in place of its text.

    Args:
        message: What is wrong.
        words: The arguments of the command, in their order.
        known: Words that need not be hidden: the options of the command.
        shown: A text that stays as it is, whatever of it was typed; None if there is none.
    """
    if shown:
        others = message.split(shown)
        return shown.join(concealed(other, words, known) for other in others)
    found: list[tuple[str, str]] = []
    for number, word in enumerate(words, 1):
        name = f"argument {number}"
        option, _, value = word.partition("=")
        parts = {word, option, value}
        if option in known:
            parts = {value}
        found += [(part, name) for part in parts if part and part not in known]
    for part, name in sorted(found, key=lambda pair: -len(pair[0])):
        for quoted in (repr(part), f"({part})"):
            message = message.replace(quoted, f"({name})")
        if len(part) >= _LEAST_CHARACTERS:
            message = message.replace(part, name)
            # As the inside of a quoted text with escapes in it.
            message = message.replace(repr(part)[1:-1], name)
        if len(part) > _PREFIX_CHARACTERS:
            message = _cut(message, repr(part)[1:-1], name)
    return message


def _cut(message: str, part: str, name: str) -> str:
    """Replace the beginning of a text that was cut."""
    start = message.find(part[:_PREFIX_CHARACTERS])
    if start < 0:
        return message
    end = start
    for shown, typed in zip(message[start:], part, strict=False):
        if shown != typed:
            break
        end += 1
    return f"{message[:start]}{name}{message[end:]}"
