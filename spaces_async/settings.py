"""How a client behaves: time limits, retries, limits on size and number.

All settings are frozen and checked when they are made, so a wrong one fails at
start-up and not in the first outage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from attrs import Attribute, field, frozen

from spaces_async.errors import ConfigurationError

__all__ = ["ClientSettings", "QuotaWait", "RetryPolicy", "Timeouts"]

_MIB = 1024 * 1024
_MOST_RESERVED = 0.9


def _number(
    *,
    least: float,
    exclusive: bool = False,
    optional: bool = False,
    whole: bool = False,
) -> Callable[[Any, Attribute[Any], Any], None]:
    """Make a validator for a finite number, or None where that is allowed."""
    kinds = (int,) if whole else (int, float)
    above = "above" if exclusive else "at least"

    def check(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        # bool is an int to isinstance, and a time limit of True is a mistake.
        number = cast("float", value)
        good = isinstance(value, kinds) and not isinstance(value, bool)
        good = good and math.isfinite(number)
        if not good or (number <= least if exclusive else number < least):
            what = "a whole number" if whole else "a number"
            none = " or None" if optional else ""
            raise ConfigurationError(
                f"{attribute.name} must be {what} {above} {least:g}{none},"
                f" not {value!r}"
            )

    return check


def _flag(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{attribute.name} must be True or False, not {value!r}"
        )


def _share(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    _number(least=0)(instance, attribute, value)
    if value > _MOST_RESERVED:
        raise ConfigurationError(
            f"{attribute.name} must be 0 to {_MOST_RESERVED}, not {value!r}"
        )


def _header_text(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{attribute.name} must be printable ASCII, one line")


def _is(kind: type) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            raise ConfigurationError(
                f"{attribute.name} must be a {kind.__name__}, not {value!r}"
            )

    return check


def _sharing(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value not in {"greedy", "strict"}:
        raise ConfigurationError(
            f"{attribute.name} must be 'greedy' or 'strict', not {value!r}"
        )


def _path(value: Any) -> Any:
    """Make a path of a text; what cannot be one is left to the validator."""
    if isinstance(value, str | Path) and str(value):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(f"ledger: {error}") from None
    return value


def _optional_path(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if not (value is None or isinstance(value, Path)):
        raise ConfigurationError(
            f"{attribute.name} must be the path of a file or None, not {value!r}"
        )


@frozen(kw_only=True)
class Timeouts:
    """Time limits in seconds; None means that there is no such limit.

    Attributes:
        connect: To open a connection, TLS included.
        read: Without a byte from the server.
        attempt: One attempt, from sending to the last byte of the answer.
        total: One call with all its attempts and all its waits.
    """

    connect: float | None = field(
        default=10.0, validator=_number(least=0, exclusive=True, optional=True)
    )
    read: float | None = field(
        default=30.0, validator=_number(least=0, exclusive=True, optional=True)
    )
    attempt: float | None = field(
        default=120.0, validator=_number(least=0, exclusive=True, optional=True)
    )
    total: float | None = field(
        default=600.0, validator=_number(least=0, exclusive=True, optional=True)
    )


@frozen(kw_only=True)
class RetryPolicy:
    """When a failed attempt is tried again.

    What may be repeated is decided per operation and kind of failure; this says how
    often and how fast. Waits that the Hub asks for (429, 503 with Retry-After) use up
    no attempts: they are bounded by `Timeouts.total` and `max_rate_limit_wait`.

    Attributes:
        max_attempts: Attempts after failures that leave open whether the Hub acted,
            the first included.
        wait_initial: Upper bound in seconds of the first back-off. It doubles each
            time, and the wait itself is drawn evenly from zero to the bound.
        wait_max: Greatest upper bound in seconds.
        max_rate_limit_wait: Longest wait in seconds that the quota may cause. A
            longer one raises `RateLimitError` at once, so that a web request fails
            fast. The default outlasts one window of the Hub (300 s); None waits
            however long it takes.
        verify: After a lost answer, read the Space's state to find out whether a
            write took effect. False leaves it open: `outcome_unknown`.
    """

    max_attempts: int = field(default=5, validator=_number(least=1, whole=True))
    wait_initial: float = field(default=0.5, validator=_number(least=0, exclusive=True))
    wait_max: float = field(default=30.0, validator=_number(least=0, exclusive=True))
    max_rate_limit_wait: float | None = field(
        default=330.0, validator=_number(least=0, optional=True)
    )
    verify: bool = field(default=True, validator=_flag)

    @property
    def enabled(self) -> bool:
        """Whether anything is tried again at all."""
        return self.max_attempts > 1

    @classmethod
    def off(cls, *, max_rate_limit_wait: float | None = 330.0) -> RetryPolicy:
        """Return the policy of one attempt and no verifying reads.

        The quota is still respected: a call may wait for its window to open.
        """
        return cls(
            max_attempts=1, verify=False, max_rate_limit_wait=max_rate_limit_wait
        )


@frozen
class QuotaWait:
    """A wait that the Hub's quota causes, as `ClientSettings.on_wait` gets it.

    Attributes:
        seconds: How long, at most.
        reason: "window" (quota used up) or "action" (one kind of call is limited).
        action: The kind of call that waits, such as "restart".
    """

    seconds: float
    reason: str
    action: str


@frozen(kw_only=True)
class ClientSettings:
    """Everything about a client but who it is and where it goes.

    Attributes:
        timeouts: Time limits of each call.
        retry: When a failed attempt is tried again.
        max_connections: Requests that may be under way at once; further ones wait
            their turn. Open streams do not count.
        max_response_bytes: Largest answer that is read, after decompression.
        reserve: Share of the quota, 0 to 0.9, that bulk work leaves for other calls
            of the same token. Set it to 0 in a program that does nothing but bulk.
        sharing: What to do about other programs that use the same token without
            knowing of this one. Both ways their number is found out, and the calls
            under way are kept few when little is left. "greedy" uses each window up:
            of N programs that try, all but one are refused once (429), and try again
            in the next window. "strict" leaves the last calls of each window alone
            instead, and is not refused.
        ledger: A file through which the processes of this host share what they know
            of the quota, so that none is refused; None if they do not. It is made
            when it is missing, holds no token, and must be on a local disk.
        trust_env: Use HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY from the
            environment. `.netrc` is never read.
        allow_insecure_http: Send the token over plain http to other machines.
        user_agent: Put before the package's own User-Agent, such as "my-app/1.2".
        on_wait: Called when a call starts to wait for the quota, and when that turns out
            to take longer. Must not block.
    """

    timeouts: Timeouts = field(factory=Timeouts, validator=_is(Timeouts))
    retry: RetryPolicy = field(factory=RetryPolicy, validator=_is(RetryPolicy))
    max_connections: int = field(default=100, validator=_number(least=1, whole=True))
    max_response_bytes: int = field(
        default=32 * _MIB, validator=_number(least=1024, whole=True)
    )
    reserve: float = field(default=0.1, validator=_share)
    sharing: Literal["greedy", "strict"] = field(default="greedy", validator=_sharing)
    ledger: Path | None = field(default=None, converter=_path, validator=_optional_path)
    trust_env: bool = field(default=True, validator=_flag)
    allow_insecure_http: bool = field(default=False, validator=_flag)
    user_agent: str | None = field(default=None, validator=_header_text)
    on_wait: Callable[[QuotaWait], None] | None = None
