"""Numbers and shares of Spaces as people write them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

__all__ = ["SpaceAmount", "WaveList"]

if TYPE_CHECKING:
    _Amount = click.ParamType[int | str]
    _Amounts = click.ParamType[tuple[int | str, ...]]
else:  # click 8.4 made it generic
    _Amount = _Amounts = click.ParamType


class SpaceAmount(_Amount):
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
            Amount.parse(given, "it")
        except ConfigurationError:
            self.fail(
                f"{value!r} is not a number such as 50, or a share such as 20%.",
                param,
                ctx,
            )
        return given


class WaveList(_Amounts):
    """Several of them, such as "1,5,20%,100%"."""

    name = "waves"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int | str, ...]:
        """Return each of them."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]
        from spaces_async.bulk._waves import Pacing
        from spaces_async.errors import ConfigurationError

        words = [word.strip() for word in str(value).split(",")]
        found = tuple(SpaceAmount().convert(word, param, ctx) for word in words if word)
        try:
            Pacing.make(waves=found)
        except ConfigurationError as error:
            self.fail(f"{error}.", param, ctx)
        return found
