"""A number of Spaces, or a share of all of them. Pure."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

from attrs import frozen

from spaces_async.errors import ConfigurationError

__all__ = ["Amount"]

_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%")


@frozen
class Amount:
    """A number, or a share.

    Attributes:
        count: The number; None for a share.
        share: The share, 0 to 1; None for a number.
    """

    count: int | None = None
    share: Fraction | None = None

    @classmethod
    def parse(cls, value: int | str, what: str) -> Amount:
        """Take 3, or "5%".

        Args:
            value: The number, or the share.
            what: What it is called in errors.

        Raises:
            ConfigurationError: It is neither, or out of range.
        """
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return cls(count=value)
        if isinstance(value, str) and (match := _SHARE.fullmatch(value)) is not None:
            share = Fraction(match[1]) / 100
            if 0 < share <= 1:
                return cls(share=share)
        raise ConfigurationError(
            f"{what} must be a number from 1 on, or a share such as '20%', not"
            f" {value!r}"
        )

    def of(self, total: int) -> int:
        """Return the number for so many Spaces; a share is rounded up.

        Worked example: "20%" of 11 is 3, of 10 is 2, of 1 is 1.
        """
        if self.share is None:
            return self.count or 0
        return math.ceil(self.share * total)

    @property
    def plain(self) -> int | str:
        """The same as `parse` takes it: 3, or "5%"."""
        return str(self) if self.count is None else self.count

    def __str__(self) -> str:
        if self.share is None:
            return str(self.count)
        # No `%g`: that would cut the decimals that `parse` takes.
        return f"{float(self.share * 100):.6f}".rstrip("0").rstrip(".") + "%"
