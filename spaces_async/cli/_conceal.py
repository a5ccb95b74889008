"""Error messages without what was typed, for commands that take secrets.

A value in the wrong place, such as `secrets add acme/demo API_KEY=...`, ends up in some
message about wrong usage: of click's parser, of the library, or of ours. So messages are
searched for what was typed, and say which argument it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["concealed"]

_LEAST_CHARACTERS: Final = 3
"""Shorter words are replaced only where they are quoted."""
_PREFIX_CHARACTERS: Final = 12
"""The library cuts long values; this much of their beginning is enough to find them."""


def concealed(message: str, words: Sequence[str], known: Iterable[str] = ()) -> str:
    """Return a message with the number of an argument in place of its text.

    Args:
        message: What is wrong.
        words: The arguments of the command, in their order.
        known: Words that need not be hidden: the options of the command.
    """
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
