"""The option `--report FILE`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    _Path = click.ParamType[Path]
else:  # click 8.4 made it generic
    _Path = click.ParamType

__all__ = ["FORMS", "report_option"]

FORMS: Final = (".html", ".csv", ".json", ".md")


class ReportPath(_Path):
    """A file to write a report to; its ending says in which form."""

    name = "file"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path, if a report can be written there."""
        path = Path(value)
        if path.suffix.lower() not in FORMS:
            endings = ", ".join(FORMS)
            self.fail(f"{value!r} must end with one of {endings}.", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}.", param, ctx)
        if path.is_dir():
            self.fail(f"{value!r} is a folder.", param, ctx)
        try:
            # The report replaces the file as a whole, so this is what it will take.
            with tempfile.TemporaryFile(dir=path.parent):
                return path
        except OSError as error:
            why = error.strerror or type(error).__name__
            self.fail(f"{value!r} cannot be written: {why}.", param, ctx)


def report_option() -> Callable[[Any], Any]:
    """Return the option."""
    return click.option(
        "--report",
        type=ReportPath(),
        multiple=True,
        metavar="FILE",
        help="Write the outcomes to FILE.html (with causes, waves and a timeline), .md,"
        " .csv or .json; of a dry run the plan. Repeat for several.",
    )
