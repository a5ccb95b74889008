"""The help of a command: its own options first, those that many share below headings."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Formatter", "bold", "write_options"]

_WHICH: Final = "Which Spaces"
_RUN: Final = "Which run"
_HOW: Final = "How"
_SAFETY: Final = "Safety"
_RANGE: Final = re.compile(r"(; )?(\d+<=)?x[<>]=\d+")
_FILTER_PREFIX: Final = "only_"
_HEADINGS: Final = {
    **dict.fromkeys(("org", "any_flavor"), _WHICH),
    "last": _RUN,
    **dict.fromkeys(
        (
            *("wait", "timeout", "waves", "healthy_for", "probe"),
            *("max_unavailable", "pause_between", "concurrency", "deadline"),
            *(
                "max_outage",
                "store",
                "lease",
                "sample",
                "no_sample",
                "unused_for",
                "report",
            ),
        ),
        _HOW,
    ),
    **dict.fromkeys(
        (
            *("dry_run", "yes", "how_many", "max_targets", "fail_fast"),
            *("max_failures", "journal", "on_unknown"),
        ),
        _SAFETY,
    ),
}
"""Below which heading an option stands that many commands share, by its parameter."""


def bold(text: str) -> str:
    """Return a text in bold; click removes that again where there is no terminal."""
    return text if os.environ.get("TERM") == "dumb" else click.style(text, bold=True)


class Formatter(click.HelpFormatter):
    """Writes headings in bold."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the line about usage."""
        super().write_usage(prog, args, prefix or bold("Usage: "))

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        self.write(f"{'':>{self.current_indent}}{bold(f'{heading}:')}\n")


def write_options(
    params: Sequence[click.Parameter],
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    """Write the options of a command, each below its heading."""
    found: dict[str, list[tuple[str, str]]] = {
        heading: [] for heading in ("Options", _WHICH, _RUN, _HOW, _SAFETY)
    }
    for param in params:
        # The usage line names the arguments; newer versions of click describe them, too.
        is_option = isinstance(param, click.Option)
        record: Any = param.get_help_record(ctx) if is_option else None
        if record is not None:
            name, text = record
            found[_heading_of(param)].append((name, _without_range(text)))
    if not any(_is_own(param) for param in params):
        # Nothing but --help is left: that is not what one looks for first.
        found["Options"] = found.pop("Options")
    for heading, records in found.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def _without_range(text: str) -> str:
    """Return a help text without click's "[x>=1]": an error says it in words."""
    return _RANGE.sub("", text).replace("  []", "").replace("[; ", "[")


def _heading_of(param: click.Parameter) -> str:
    name = param.name or ""
    if name.startswith(_FILTER_PREFIX):
        return _WHICH
    return _HEADINGS.get(name, "Options")


def _is_own(param: click.Parameter) -> bool:
    is_option = isinstance(param, click.Option) and not param.hidden
    return is_option and "--help" not in param.opts and _heading_of(param) == "Options"
