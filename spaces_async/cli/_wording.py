"""Operations in words: what the shell calls them in titles, questions and messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from spaces_async.bulk._engine.space_run import ALREADY_SO
from spaces_async.bulk.operations import BY_NAME
from spaces_async.cli._output import human_seconds
from spaces_async.cli._text import clean

if TYPE_CHECKING:
    from spaces_async.bulk import Operation

__all__ = [
    "already_text",
    "described",
    "goal_word",
    "question",
    "title",
    "undo_question",
]

_VALUE_CHARACTERS: Final = 60
_DURATIONS: Final = {"seconds", "sleep_time"}
_ALREADY: Final = {"pause": "already paused", "request_hardware": "already on it"}


def title(name: str) -> str:
    """Return the name of an operation as a title: "Set sleep time"."""
    first, *others = name.split("undo ")
    if len(others) > 1:  # an undo that is undone
        name = f"{first}undo {'the undo of ' * (len(others) - 1)}{others[-1]}"
    return name.replace("_", " ").capitalize()


def goal_word(name: str) -> str:
    """Return what a Space is that has got where an operation aims at.

    Args:
        name: The operation, as a report has it.
    """
    return "paused" if name == "pause" else "healthy"


def already_text(name: str) -> str:
    """Return why nothing has to be sent to a Space: "already paused".

    Args:
        name: The operation.
    """
    return _ALREADY.get(name, ALREADY_SO)


def undo_question(name: str, spaces: str) -> str:
    """Return what to ask before an undo: "Undo the pause of 2 Spaces?".

    Args:
        name: What it is called, such as "undo pause".
        spaces: How many Spaces.
    """
    what = title(name)
    if "_" in name:
        return f"{what} for {spaces}?"
    what = what.removeprefix("Undo ").removeprefix("the ")
    return f"Undo the {what} of {spaces}?"


def described(name: str, parameters: Mapping[str, Any] | None) -> str:
    """Return an operation with its parameters: "Request hardware (flavor: t4-small)"."""
    return f"{title(name)}{_details(name, parameters)}"


def question(
    operation: Operation[Any], spaces: str, shown_as: str | None = None
) -> str:
    """Return what to ask before an operation: "Pause 2 Spaces of acme?".

    Args:
        operation: What is done.
        spaces: To which Spaces.
        shown_as: What it is called; None is by its name.
    """
    name = shown_as or operation.name
    link = " for" if "_" in name else ""
    details = _details(operation.name, operation.parameters)
    return f"{title(name)}{link} {spaces}{details}?"


def _details(name: str, parameters: Mapping[str, Any] | None) -> str:
    """Return the parameters in parentheses, without those that say nothing.

    Of several variables or secrets it has the keys only, and of an undo nothing.
    """
    if name.startswith("undo "):
        return ""
    make = BY_NAME.get(name)
    known = inspect.signature(make).parameters.values() if make else ()
    defaults = {parameter.name: parameter.default for parameter in known}
    given = [
        _detail(key, value)
        for key, value in (parameters or {}).items()
        if value is not None and defaults.get(key, inspect.Parameter.empty) != value
    ]
    return f" ({', '.join(given)})" if given else ""


def _detail(key: str, value: object) -> str:
    if key in _DURATIONS and isinstance(value, int):
        value = human_seconds(value if value > 0 else None)
        return value if key == "seconds" else f"sleep time: {value}"
    return f"{key.replace('_', ' ')}: {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Iterable) and not isinstance(value, str):
        words: Iterable[object] = value  # pyright: ignore[reportUnknownVariableType]
        value = ", ".join(map(str, words))
    text = clean(str(value))
    short = len(text) <= _VALUE_CHARACTERS
    return text if short else f"{text[: _VALUE_CHARACTERS - 3]}..."
