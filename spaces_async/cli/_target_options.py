"""The arguments and options that name the Spaces of a command."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from spaces_async.cli import _completion
from spaces_async.cli._command import apply
from spaces_async.cli._filters import FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["with_targets", "with_targets_and", "with_targets_on_any_hardware"]


def with_targets(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ids and the options of a selection; it gets `targets`."""
    return _with_targets(function, "[IDS]...")


def with_targets_on_any_hardware(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same for a command whose own `--hardware` is no filter."""
    return _with_targets(function, "[IDS]...", filters_hardware=False)


def with_targets_and(
    mark: str, what: str, metavar: str, form: str, *, required: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Do the same for a command that takes other arguments among the ids.

    Args:
        mark: What the others begin with, or "=" for what they contain; no id does.
        what: The command's parameter for them.
        metavar: Their name in the help.
        form: An example of one.
        required: Whether there must be one.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        more = f"{metavar}..." if required else f"[{metavar}]..."
        inner = _with_targets(function, f"{more} [IDS]...")

        @wraps(inner)
        def command(*args: Any, ids: tuple[str, ...], **given: Any) -> Any:
            others = tuple(
                word
                for word in ids
                if (mark in word if mark == "=" else word.startswith(mark))
            )
            if required and not others:
                raise click.UsageError(f"Name at least one {metavar}, such as {form}.")
            rest = tuple(word for word in ids if word not in others)
            return inner(*args, ids=rest, **{what: others}, **given)

        return command

    return decorate


def _with_targets(
    function: Callable[..., Any], metavar: str, *, filters_hardware: bool = True
) -> Callable[..., Any]:
    filters = [f for f in FILTERS if filters_hardware or f.parameter != "hardware"]

    @wraps(function)
    def command(
        *args: Any,
        ids: tuple[str, ...],
        org: tuple[str, ...],
        any_flavor: bool,
        **given: Any,
    ) -> Any:
        from spaces_async.cli._targets import targets_of

        chosen = {f.parameter: f.read(given.pop(f.variable)) for f in filters}
        targets = targets_of(ids, org, chosen, any_flavor=any_flavor)
        return function(*args, targets=targets, **given)

    return apply(
        command,
        [
            click.argument(
                "ids", nargs=-1, metavar=metavar, shell_complete=_completion.ids
            ),
            click.option(
                "--org",
                multiple=True,
                metavar="NAME",
                shell_complete=_completion.orgs,
                help="All Spaces of a user or org; repeat for more.",
            ),
            *(each.to_click() for each in filters),
            click.option(
                "--any-flavor",
                is_flag=True,
                help="Take a flavor that neither this version nor the Hub's list has.",
            ),
        ],
    )
