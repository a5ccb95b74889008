"""The box for texts that must never be shown."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from spaces_async._redacted import Redacted, Token

PLANTED = "hf_PLANTED_canary"


def test_no_way_of_printing_shows_it() -> None:
    """repr, str, format and containers show stars."""
    box = Token(PLANTED)
    shown = [repr(box), str(box), f"{box}", f"{box:>9}", f"{box!r}", repr([box]), "%s"]
    shown.append("%s %r" % (box, {"token": box}))  # noqa: UP031  (a way to print)
    assert not any(PLANTED in text for text in shown)
    assert box.reveal() == PLANTED


def test_a_traceback_with_locals_does_not_show_it() -> None:
    """A crash report that prints local variables stays clean."""

    def crash(boxed: Redacted[str]) -> None:
        raise ValueError(f"cannot use {boxed}")

    try:
        crash(Redacted(PLANTED))
    except ValueError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert PLANTED not in "".join(told.format())


def test_it_is_a_value_but_no_pickle() -> None:
    """Equal texts are equal boxes; a copy stays a box; a pickle is refused."""
    assert Token("a") == Token("a")
    assert Token("a") != Token("b")
    assert Token("a") != "a"
    assert hash(Token("a")) == hash(Token("a"))
    assert copy.deepcopy([Token("a")])[0] == Token("a")
    assert copy.copy(Token("a")) == Token("a")
    assert not Redacted("")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Token("a"))
