"""A box for texts that must never be shown: tokens and the values of secrets.

Tracebacks that print local variables, debug logs and reprs of objects that hold the
box all show stars. The text comes out in one way only: `reveal()`, which is called
where bytes are written to the connection and nowhere else.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar, cast

T = TypeVar("T")

STARS: Final = "***"


class Redacted(Generic[T]):
    """Something that its holder may pass on but not see: a text, or what holds one.

    Two boxes are equal when their texts are. A box does not pickle: what is written
    to disk or sent to another process would no longer be redacted.
    """

    __slots__ = ("__text",)

    def __init__(self, text: T) -> None:
        self.__text: T = text

    def reveal(self) -> T:
        """Return the text itself. Never keep it in a local variable."""
        return self.__text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({STARS})"

    def __str__(self) -> str:
        return STARS

    def __format__(self, spec: str) -> str:
        return format(STARS, spec)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Redacted):
            return NotImplemented
        mine: object = self.__text
        return mine == cast("Redacted[object]", other).reveal()

    def __hash__(self) -> int:
        return hash(self.__text)

    def __copy__(self) -> Redacted[T]:
        return self

    def __deepcopy__(self, memo: object) -> Redacted[T]:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a redacted text is not pickled: it would be readable again")


class Token(Redacted[str]):
    """An access token. Equal tokens share one quota, so a token is also a key."""

    __slots__ = ()
