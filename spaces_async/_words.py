"""Which word was probably meant. Pure, and light: the shell's parser uses it, too."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["closest", "is_opposite"]

_NEGATION: Final = re.compile(r"(?:un|not?|non)[-_ ]?", re.IGNORECASE)
_CANDIDATES: Final = 3
_OPPOSITES: Final = (
    *(("start", "stop"), ("restart", "stop"), ("wake", "pause"), ("resume", "pause")),
    *(("add", "delete"), ("add", "remove"), ("create", "delete"), ("on", "off")),
    *(("public", "private"), ("include", "exclude"), ("enable", "disable")),
)


def is_opposite(typed: str, word: str) -> bool:
    """Return whether a word says the opposite of what was typed.

    "unprotected" is no slip for "protected", nor is "pause" for "unpause".
    """
    negated, other = _NEGATION.match(typed), _NEGATION.match(word)
    if (negated is None) != (other is None):
        # "node" and "note" begin like a negation and are none, if the rest is no word.
        rest = typed if negated is None else typed[negated.end() :]
        other_rest = word if other is None else word[other.end() :]
        return _similar(rest, other_rest)
    pair = {typed.lower(), word.lower()}
    return any(pair == set(each) for each in _OPPOSITES)


def _similar(one: str, two: str) -> bool:
    return bool(get_close_matches(one, [two]))


def closest(typed: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant; None if none is like it.

    The opposite of what was typed is never proposed.
    """
    found = get_close_matches(typed, list(words), n=_CANDIDATES)
    return next((word for word in found if not is_opposite(typed, word)), None)
