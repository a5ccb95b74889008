"""Settings of a client: time limits, retries, limits on size and number.

All settings are frozen and validated when they are created, so a mistake fails at
start-up and not in the first outage.
"""

from __future__ import annotations

import math
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import Attribute, field, frozen

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Not loaded with the settings: most programs have no observer.
    from spaces_async.observe.events import Observer  # noqa: TC004

__all__ = ["ClientSettings", "RetryPolicy", "Timeouts"]

_MIB = 1024 * 1024
_MAX_RESERVED_SHARE = 0.9


def _number(
    *,
    least: float,
    exclusive: bool = False,
    optional: bool = False,
    whole: bool = False,
) -> Callable[[Any, Attribute[Any], Any], None]:
    """Return a validator for a finite number, or None if that is allowed."""
    kinds = (int,) if whole else (int, float)
    above = "above" if exclusive else "at least"

    def check(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        # A bool passes isinstance(value, int), but a time limit of True is a mistake.
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
    if value > _MAX_RESERVED_SHARE:
        raise ConfigurationError(
            f"{attribute.name} must be from 0 to {_MAX_RESERVED_SHARE}, not {value!r}"
        )


def _header_text(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        raise ConfigurationError(
            f"{attribute.name} must be one line of printable ASCII characters"
        )


def _instance_of(kind: type) -> Callable[[Any, Attribute[Any], Any], None]:
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


def _ledger_place(value: Any) -> Any:
    """Convert a string to a path, or hide the URL of Redis, which may have a password.

    The validator rejects everything else.
    """
    if isinstance(value, str) and value.startswith(_validate.REDIS_SCHEMES):
        return Redacted(value)
    if isinstance(value, str) and "://" in value:
        raise ConfigurationError(
            "ledger must be a file path, or a URL that begins with redis://,"
            " rediss:// or unix://"
        )
    if isinstance(value, str | Path) and str(value):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(
                f"ledger must be a usable path, not {str(value)!r}: {error}"
            ) from None
    return value


def _path_or_url(
    _instance: Any, attribute: Attribute[Any], value: Redacted[str] | Path | None
) -> None:
    if not (value is None or isinstance(value, Path | Redacted)):
        raise ConfigurationError(
            f"{attribute.name} must be a file path, a URL of Redis or None,"
            f" not {value!r}"
        )
    problem = ""
    if value is not None and not isinstance(value, Path):
        problem = _validate.redis_url(value)
    if problem:
        raise ConfigurationError(
            f"{attribute.name} {problem}; pass a URL such as"
            " 'redis://user:password@redis.example:6379/0', or a file path"
        )


def _observers(
    value: Observer | Sequence[Observer] | None,
) -> tuple[Observer, ...]:
    """Return the observers as a tuple; refuse what cannot be called."""
    if value is None:
        return ()
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    for observer in given:
        if not callable(observer):
            raise ConfigurationError(
                "observer must be a function that takes an event, or a list of them,"
                f" not {type(observer).__name__}"
            )
    return cast("tuple[Observer, ...]", given)


def _boxed(value: str | Redacted[str] | None) -> Redacted[str] | None:
    """Hide a URL that may contain a password."""
    return value if value is None or isinstance(value, Redacted) else Redacted(value)


def _proxy(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    problem = "" if value is None else _validate.proxy(value)
    if problem:
        raise ConfigurationError(
            f"{attribute.name} {problem}; pass a URL such as"
            " 'http://user:password@proxy.example:3128', or None"
        )


def _app_url(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    is_url = isinstance(value, str) and value.startswith(("https://", "http://"))
    if not is_url or value.count("{subdomain}") != 1 or value.count("{") != 1:
        raise ConfigurationError(
            f"{attribute.name} must be a URL with {{subdomain}} in it, not {value!r}"
        )


def _tls_context(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if not (value is None or isinstance(value, SSLContext)):
        raise ConfigurationError(
            f"{attribute.name} must be an ssl.SSLContext or None, not {value!r}"
        )


@frozen(kw_only=True)
class Timeouts:
    """Time limits in seconds; None means no limit.

    Attributes:
        connect: Opening a connection, including TLS.
        read: Longest silence, without a byte from the server.
        attempt: One attempt, from sending to the last byte of the response.
        total: One call with all its attempts and waits.
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
    """When a failed attempt is retried.

    Whether a call may be repeated depends on the operation and the kind of failure.
    This policy sets how often and how fast. Waits that the Hub asks for (429, 503 with
    Retry-After) do not count as attempts; `Timeouts.total` and `max_rate_limit_wait`
    limit them.

    Attributes:
        max_attempts: Number of attempts, including the first, while failures leave
            open whether the Hub acted.
        wait_initial: Upper bound of the first back-off in seconds. It doubles each
            time; the wait itself is uniformly random between zero and the bound.
        wait_max: Largest upper bound of a back-off in seconds.
        max_rate_limit_wait: Longest wait for the quota in seconds. A longer one raises
            `RateLimitError` immediately, so that a web request fails fast. The default
            is longer than one window of the Hub (300 s); None waits as long as needed.
        verify: After a lost response, read the Space's state to find out whether a
            write took effect. False reports the outcome as unknown
            (`outcome_unknown`).
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
        """Whether failed attempts are retried."""
        return self.max_attempts > 1

    @classmethod
    def off(cls, *, max_rate_limit_wait: float | None = 330.0) -> RetryPolicy:
        """Return a policy with a single attempt and no verifying reads.

        The quota is still respected: a call may wait for a quota window to open.
        """
        return cls(
            max_attempts=1, verify=False, max_rate_limit_wait=max_rate_limit_wait
        )


@frozen(kw_only=True)
class ClientSettings:
    """All settings of a client except its token and its endpoint.

    Attributes:
        timeouts: Time limits of each call.
        retry: When a failed attempt is retried.
        max_connections: Largest number of requests in flight; further requests wait.
            Open streams do not count.
        max_response_bytes: Largest response that is read, after decompression.
        reserve: Share of the quota, 0 to 0.9, that bulk work leaves for other calls
            with the same token. Set it to 0 in a program that only does bulk work.
        sharing: How to share the quota with other programs that use the same token and
            do not know about this one. Both modes estimate how many there are, and
            keep few requests in flight when little quota is left. "greedy" uses up
            each window: of N programs, all but one receive one 429 and try again in
            the next window. "strict" leaves the last calls of each window unused and
            receives no 429.
        ledger: Where programs share the state of the quota, so that none of them
            receives a 429; None for no sharing. A file path shares it between the
            processes of this host: it is created if missing, contains no token, and
            must be on a local disk. The URL of Redis or Valkey (`redis://`, `rediss://`
            or `unix://`) shares it between hosts, and needs the extra `redis`. It may
            contain a user and a password, which are never shown; no token goes there.
        trust_env: Use HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY from the
            environment, except for an endpoint on this host, which is always reached
            directly. `.netrc` is never read.
        proxy: URL of the proxy to use instead, for any endpoint; None uses the
            environment. It may contain a user and a password, which are never shown.
        ssl: The TLS context, such as `ssl.create_default_context(cafile=...)`. None
            makes one with the first call that trusts what OpenSSL trusts, or what
            SSL_CERT_FILE and SSL_CERT_DIR name then.
        allow_insecure_http: Allow sending the token over plain http to other hosts.
        user_agent: Prefix for the package's own User-Agent, such as "my-app/1.2".
        app_url: Where the app of a Space answers, for the health checks of a bulk. It
            never gets the token.
        observer: Told what the client and its bulks do, as it happens: a function that
            takes an event of `spaces_async.observe`, or a sequence of such functions.
            None tells nothing. Kept as a tuple.
    """

    timeouts: Timeouts = field(factory=Timeouts, validator=_instance_of(Timeouts))
    retry: RetryPolicy = field(factory=RetryPolicy, validator=_instance_of(RetryPolicy))
    max_connections: int = field(default=100, validator=_number(least=1, whole=True))
    max_response_bytes: int = field(
        default=32 * _MIB, validator=_number(least=1024, whole=True)
    )
    reserve: float = field(default=0.1, validator=_share)
    sharing: Literal["greedy", "strict"] = field(default="greedy", validator=_sharing)
    ledger: Path | Redacted[str] | None = field(
        default=None, converter=_ledger_place, validator=_path_or_url
    )
    trust_env: bool = field(default=True, validator=_flag)
    proxy: Redacted[str] | None = field(
        default=None, converter=_boxed, validator=_proxy
    )
    ssl: SSLContext | None = field(default=None, validator=_tls_context)
    allow_insecure_http: bool = field(default=False, validator=_flag)
    user_agent: str | None = field(default=None, validator=_header_text)
    app_url: str = field(default="https://{subdomain}.hf.space", validator=_app_url)
    observer: tuple[Observer, ...] = field(default=None, converter=_observers)
