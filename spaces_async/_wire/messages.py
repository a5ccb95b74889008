"""What goes over the wire, as values: a request, and what comes back. Pure data.

The transport turns a `Request` into a `Response` or a `LostResponse`. Both are values,
so nothing that holds the token or a body, as the frames of an exception do, travels
upwards. Nothing changes them; they are not frozen because each call makes some, and
attrs needs twice the time for a frozen one.
"""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import define, field, frozen
from yarl import URL

from spaces_async._redacted import Redacted, Token
from spaces_async._wire.ratelimit import Quota
from spaces_async.settings import Timeouts

TimeoutPhase = Literal["connect", "read", "attempt", "total"]
"""Which time limit has passed; see `RequestTimeoutError.phase`."""


@define
class TimeLimit:
    """How long something may take, and which setting says so.

    Attributes:
        seconds: The limit; None is no limit.
        phase: What the error calls it.
    """

    seconds: float | None
    phase: TimeoutPhase

    def at_most(self, seconds: float | None, phase: TimeoutPhase) -> TimeLimit:
        """Return the shorter one of this limit and another one."""
        if seconds is None or (self.seconds is not None and self.seconds <= seconds):
            return self
        return TimeLimit(seconds, phase)


@define(kw_only=True)
class Request:
    """One HTTP request, complete as it is sent.

    Attributes:
        method: HTTP method.
        url: Where it goes.
        token: Who sends it; None is anonymous. Only the endpoint's origin gets it.
        body: The JSON; None sends no body.
        request_id: Sent as `X-Request-Id`.
        timeouts: Limits to connect and between bytes.
        limit: How long the exchange may take, of a stream up to the headers.
        stream: Whether the body of a 200 is left unread, as server-sent events.
    """

    method: str
    url: URL
    token: Token | None
    body: Redacted[bytes] | None
    request_id: str
    timeouts: Timeouts
    limit: TimeLimit
    stream: bool = False


@define
class Response:
    """A complete response, reduced to what the package uses.

    Attributes:
        status: HTTP status.
        body: The body, decompressed; empty if it is a stream.
        request_id: The Hub's, or ours if it sent none.
        code: `X-Error-Code`.
        error_message: `X-Error-Message`.
        quota: The quota that the headers reported; None if they reported none.
        retry_after: `Retry-After` in seconds; None if there is none.
        date: `Date`.
        location: `Location`.
        next_url: Target of `Link: …; rel="next"`, absolute.
        page: Whether it is a web page, by its headers.
        stream: Reads the body as it arrives, and has to be closed; None if the body
            has been read.
    """

    status: int
    body: bytes = field(repr=False)
    request_id: str | None = None
    code: str | None = None
    error_message: str | None = None
    quota: Quota | None = None
    retry_after: float | None = None
    date: str | None = None
    location: str | None = None
    next_url: str | None = None
    page: bool = False
    stream: BodyStream | None = None


class BodyStream(Protocol):
    """The body of a response, read as it arrives.

    It holds its connection until it is closed.
    """

    async def read(self, silence: float) -> bytes | LostResponse | None:
        """Return the next bytes, None at the end, or how the stream broke.

        Args:
            silence: Seconds without a byte after which the stream counts as broken.
        """
        ...

    def close(self) -> None:
        """Close the stream and its connection: the rest of the body may never come."""
        ...


@frozen
class LostResponse:
    """The lack of a complete response, as the transport saw it.

    Attributes:
        reason: One line for people, without anything secret.
        sent: False if no byte of the request can have gone out.
        permanent: True if another attempt is useless (a certificate).
        phase: Which time limit ended it; None if it was none.
        status: Status, which is 2xx, of a response whose body broke off; None if no
            headers arrived.
        too_large: The body is larger than the limit.
        undecodable: The body arrived, but cannot be decompressed.
        request_id: As on `Response`.
        page: As on `Response`.
    """

    reason: str
    sent: bool
    permanent: bool = False
    phase: TimeoutPhase | None = None
    status: int | None = None
    too_large: bool = False
    undecodable: bool = False
    request_id: str | None = None
    page: bool = False
