"""The options of `status` about columns, order and watching. Light: a help needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli._command import apply
from spaces_async.cli._durations import Seconds
from spaces_async.cli._values import split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COLUMNS", "SORTS", "USUAL", "columns_of", "with_columns"]

COLUMNS: Final = (
    *("space", "stage", "hardware", "replicas", "rate", "sleeps", "sdk"),
    *("visibility", "commit", "error"),
)
"""All columns, from left to right."""

USUAL: Final = ("space", "stage", "hardware", "rate", "sleeps", "sdk", "error")
SORTS: Final = ("stage", "rate", "name", "hardware", "sdk")
_EVERY_SECONDS: Final = 5.0


def with_columns(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--sort`, `-o`, `--columns`, `--watch` and `--every`."""
    return apply(
        function,
        [
            click.option(
                "--sort",
                type=click.Choice(SORTS),
                default="stage",
                show_default=True,
                help="Failed first, the dearest first, or by name, hardware or SDK.",
            ),
            click.option(
                "-o",
                "--output",
                "form",
                type=click.Choice(["table", "wide", "csv", "json"]),
                help="All columns (wide), or another form. Default: what fits.",
            ),
            click.option(
                "--columns",
                multiple=True,
                metavar="NAMES",
                help=f"Only these columns, in this order: {', '.join(COLUMNS)}.",
            ),
            click.option(
                "-w",
                "--watch",
                is_flag=True,
                help="Keep looking: a live line for each Space; in a pipe a line for"
                " each change.",
            ),
            click.option(
                "--every",
                type=Seconds(),
                default=_EVERY_SECONDS,
                metavar="SECONDS",
                help="How often --watch looks. A look at an org is one call for each"
                f" 500 Spaces. [default: {_EVERY_SECONDS:.0f}]",
            ),
        ],
    )


def columns_of(words: Sequence[str]) -> list[str]:
    """Parse the names of columns.

    Raises:
        ConfigurationError: A word is unknown.
        UsageError: None is named.
    """
    from spaces_async._validate import unknown_word

    found = [word.lower() for word in split(words)]
    for word in found:
        if word not in COLUMNS:
            raise unknown_word("column", word, COLUMNS)
    if words and not found:
        raise click.UsageError("--columns names nothing.")
    return list(dict.fromkeys(found))
