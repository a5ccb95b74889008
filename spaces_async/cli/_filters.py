"""The options that narrow down an org: each sets a condition of `Selection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from spaces_async.cli import _completion
from spaces_async.cli._durations import Before, latest
from spaces_async.cli._values import split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FILTERS", "Filter"]


def _whole(words: Sequence[str]) -> list[str]:
    """Return words that may contain commas; none if one is empty."""
    return list(words) if all(word.strip() for word in words) else []


class Filter(NamedTuple):
    """An option that narrows down an --org; it may be repeated for any of several.

    Attributes:
        option: Its name.
        parameter: The condition of `Selection` that it sets.
        help: What it does.
        metavar: Its value in the help; None for one without a value.
        type: What parses the value; None takes it as it is.
        take: Makes the condition of the values.
        complete: What Tab proposes; None is nothing.
    """

    option: str
    parameter: str
    help: str
    metavar: str | None = None
    type: Any = None
    take: Callable[[Any], Any] = split
    complete: Callable[[Any, Any, str], list[Any]] | None = None

    @property
    def variable(self) -> str:
        """The name under which click hands it on; commands have names of their own."""
        return f"only_{self.parameter}"

    def to_click(self) -> Callable[[Any], Any]:
        """Return the option for click."""
        if self.metavar is None:
            return click.option(
                self.option, self.variable, default=None, help=self.help
            )
        return click.option(
            self.option,
            self.variable,
            multiple=True,
            metavar=self.metavar,
            type=self.type,
            help=self.help,
            shell_complete=self.complete,
        )

    def read(self, given: Any) -> Any:
        """Return the condition; None if the option was not given.

        Raises:
            UsageError: It was given, and names nothing, as with an empty variable of
                the shell: that is no wish for all Spaces.
        """
        if self.metavar is None or not given:
            return given if self.metavar is None else None
        found = self.take(given)
        if not found:
            raise click.UsageError(f"{self.option} names nothing.")
        return found


FILTERS: Final = (
    Filter(
        option="--stage",
        parameter="stages",
        complete=_completion.stages,
        metavar="STAGE",
        help="With --org: only those in this stage: RUNTIME_ERROR, PAUSED, ... or"
        " failed, running, building, idle. This and the next ones may be repeated, for"
        " any of several; words also take commas.",
    ),
    Filter(
        option="--sdk",
        parameter="sdks",
        complete=_completion.sdks,
        metavar="SDK",
        help="Only those with this SDK: gradio, docker, static, streamlit.",
    ),
    Filter(
        option="--hardware",
        parameter="hardware",
        complete=_completion.flavors,
        metavar="FLAVOR",
        help="Only those on this hardware: cpu-basic, t4-small, ...",
    ),
    Filter(
        option="--match",
        parameter="match",
        metavar="GLOB",
        take=_whole,
        help="Only those with a name like this: 'demo-*'.",
    ),
    Filter(
        option="--exclude",
        parameter="exclude",
        metavar="GLOB",
        take=_whole,
        help="Not those with a name like this: 'prod-*'.",
    ),
    Filter(
        option="--visibility",
        parameter="visibility",
        complete=_completion.visibilities,
        metavar="WHO",
        help="Only those that are public, or private (protected ones are listed so).",
    ),
    Filter(
        option="--tag",
        parameter="tags",
        metavar="TAG",
        help="Only those with this tag: region:us, ...",
    ),
    Filter(
        option="--modified-before",
        parameter="modified_before",
        metavar="TIME",
        type=Before(),
        take=latest,
        help="Only those whose files have not changed since: 90d, 2026-08-31, ...",
    ),
    Filter(
        option="--paid/--not-paid",
        parameter="paid",
        help="Only those on hardware that has a price, or that has none.",
    ),
    Filter(
        option="--having-secret",
        parameter="having_secret",
        metavar="KEY",
        help="Only those with this secret; one read for each Space.",
    ),
    Filter(
        option="--having-variable",
        parameter="having_variable",
        metavar="KEY",
        help="Only those with this variable; one read for each Space.",
    ),
    Filter(
        option="--resource-group",
        parameter="resource_group",
        metavar="GROUP",
        take=_whole,
        help="Only those in the resource group with this name or id.",
    ),
)
