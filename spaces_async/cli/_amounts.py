"""Numbers and shares of Spaces as people write them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

__all__ = ["MaxTargets"]

if TYPE_CHECKING:
    _Amount = click.ParamType[int | str]
else:  # click 8.4 made it generic
    _Amount = click.ParamType


class MaxTargets(_Amount):
    """A number, or a share such as "20%"."""

    name = "amount"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int | str:
        """Return the number, or the share as it is written."""
        from spaces_async.bulk._amount import Amount
        from spaces_async.errors import ConfigurationError

        text = str(value)
        given = int(text) if text.isascii() and text.isdigit() else text
        try:
            Amount.parse(given, "max_targets")
        except ConfigurationError:
            self.fail(
                f"{value!r} is not a number such as 50, or a share such as 20%.",
                param,
                ctx,
            )
        return given
