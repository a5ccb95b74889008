"""Names that a test passes: a misspelt one is refused, with what it may have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from spaces_async.models import SpaceHardware, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SDKS", "check", "close_to", "flavor_of", "hint", "stage_of"]

#: What a Space of the Hub may use; new ones can no longer be made with Streamlit.
SDKS = ("docker", "gradio", "static", "streamlit")


def close_to(value: str, options: Iterable[str]) -> str | None:
    """Return the option that a misspelt value most likely means."""
    folded = {option.casefold(): option for option in options}
    found = difflib.get_close_matches(value.casefold(), folded, n=1, cutoff=0.7)
    return folded[found[0]] if found else None


def hint(value: str, options: Iterable[str]) -> str:
    """Return the end of an error message: what was meant, or what is possible."""
    known = sorted(options)
    meant = close_to(value, known)
    if meant is not None:
        return f"did you mean {meant!r}?"
    return f"expected one of {', '.join(known)}"


def check(value: str, options: Iterable[str], what: str) -> str:
    """Return a value that must be one of the options.

    Raises:
        ValueError: It is none of them.
    """
    known = tuple(options)
    if value in known:
        return str(value)
    raise ValueError(f"{value!r} is not {what}; {hint(str(value), known)}")


def stage_of(value: str) -> SpaceStage:
    """Return a stage; one that the Hub may add later is given as `SpaceStage(...)`.

    Raises:
        ValueError: The string is no known stage.
    """
    if isinstance(value, SpaceStage):
        return value
    return SpaceStage(check(value, [stage.value for stage in SpaceStage], "a stage"))


def flavor_of(value: str) -> str:
    """Return a flavor; one that the Hub may add later is given as `SpaceHardware(...)`.

    Raises:
        ValueError: The string is no known flavor.
    """
    if isinstance(value, SpaceHardware):
        return value.value
    return check(value, [flavor.value for flavor in SpaceHardware], "a hardware flavor")
