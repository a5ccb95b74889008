"""The options about whether a Space is used."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli._command import apply
from spaces_async.cli._durations import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COST_SORTS", "SAMPLE_SECONDS", "with_use"]

COST_SORTS: Final = ("rate", "month", "name", "now")
"""By what costs are sorted."""
SAMPLE_SECONDS: Final = 5.0


def with_use(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options about use; it gets them as `question`."""

    @wraps(function)
    def command(
        *args: Any,
        sample: float | None,
        no_sample: bool,
        unused_for: float | None,
        **given: Any,
    ) -> Any:
        from spaces_async.cli._use import Question

        if no_sample and sample is not None:
            raise click.UsageError("Use --sample or --no-sample, not both.")
        seconds = None if no_sample else sample or SAMPLE_SECONDS
        question = Question(seconds, unused_for)
        return function(*args, question=question, **given)

    return apply(
        command,
        [
            click.option(
                "--sample",
                type=Seconds(),
                metavar="SECONDS",
                help="How long to measure CPU, GPU and network of each paid Space that"
                f" runs. Default: {SAMPLE_SECONDS:.0f}.",
            ),
            click.option("--no-sample", is_flag=True, help="Do not measure."),
            click.option(
                "--unused-for",
                type=Seconds(),
                metavar="TIME",
                help="Call unused only what has not been changed (a commit) for this"
                " long, too: 14d, 12h. With --no-sample that alone decides.",
            ),
        ],
    )
