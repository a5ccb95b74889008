"""A wrapper for values that must never be shown: tokens and the values of secrets.

Tracebacks that print local variables, debug logs and reprs of objects that hold the
wrapper all show stars. Only `reveal()` returns the value: call it where the value is
checked, compared or written to the connection.
"""

from __future__ import annotations

from typing import Final, Generic, Literal, TypeVar, cast

T = TypeVar("T")

STARS: Final = "***"


class Redacted(Generic[T]):
    """A value that may be passed on but not shown: a string, or an object with one.

    Two wrappers are equal if their values are. A wrapper cannot be pickled: a value
    written to disk or sent to another process would no longer be redacted.
    """

    __slots__ = ("__value",)

    def __init__(self, value: T) -> None:
        self.__value: T = value

    def reveal(self) -> T:
        """Return the value. Never keep it in a local variable."""
        return self.__value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({STARS})"

    def __str__(self) -> str:
        return STARS

    def __format__(self, spec: str) -> str:
        return format(STARS, spec)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Redacted):
            return NotImplemented
        mine: object = self.__value
        return mine == cast("Redacted[object]", other).reveal()

    def __hash__(self) -> int:
        return hash(self.__value)

    def __copy__(self) -> Redacted[T]:
        return self

    def __deepcopy__(self, memo: object) -> Redacted[T]:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a redacted value cannot be pickled: it would become readable")


class Token(Redacted[str]):
    """An access token. Equal tokens share one quota, so a token is also a key."""

    __slots__ = ()


TokenArgument = Redacted[str] | Literal[False] | None
"""A redacted token, False (anonymous) or None (look it up)."""


def redact_token(token: object) -> TokenArgument:
    """Redact a token argument. Call it on the first line of a method that takes one.

    The caller then deletes its own variable, because a traceback may show local
    variables.
    """
    if token is None or token is False:
        return None if token is None else False
    return Redacted(cast("str", token))
