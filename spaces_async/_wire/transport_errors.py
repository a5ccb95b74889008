"""Classification of aiohttp's exceptions: was the request sent, and acted on? Pure.

Only the type of an exception counts, never its status: aiohttp reports a malformed
response as a "400".
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from spaces_async._wire.messages import LostResponse

if TYPE_CHECKING:
    from spaces_async.settings import Timeouts

_MAX_REASON_CHARS: Final = 300
_LONG_SECONDS: Final = 100
_CLIENT_ERROR: Final = range(400, 500)


class DroppedError(aiohttp.ClientError):
    """The connection broke.

    aiohttp silently sends a GET, PUT or DELETE a second time if the connection breaks
    with one of its own exceptions. It does not do so for this one, which it does not
    know.
    """


class FencedError(aiohttp.ClientError):
    """The request may not be sent any more; see `Watch.may_send`."""


def reason_of(error: BaseException) -> str:
    """Return the name and message of an exception as one line."""
    text = " ".join(str(error).split())[:_MAX_REASON_CHARS]
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def in_seconds(limit: float | None) -> str:
    """Return a time limit for people: "0.25 s", "1800 s"."""
    if limit is None:
        return "its limit"
    return f"{limit:.3g} s" if limit < _LONG_SECONDS else f"{limit:.0f} s"


def classify_exception(  # noqa: C901, PLR0911, PLR0912  (a table)
    error: Exception, timeouts: Timeouts, *, sent: bool
) -> LostResponse:
    """Classify an exception of aiohttp by its type, never by its status."""
    reason = reason_of(error)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return LostResponse(
                f"TLS failed: {reason}; the certificates that are trusted come from"
                " SSL_CERT_FILE, SSL_CERT_DIR or ClientSettings(ssl=...)",
                sent=False,
                permanent=True,
            )
        case aiohttp.ClientSSLError():
            # A wrong certificate or protocol will be wrong the next time, too.
            return LostResponse(f"TLS failed: {reason}", sent=False, permanent=True)
        case aiohttp.ConnectionTimeoutError():
            reason = f"no connection within {in_seconds(timeouts.connect)}"
            return LostResponse(reason, sent=False, phase="connect")
        case aiohttp.ClientConnectorError():
            return LostResponse(f"no connection: {_connect_failure(error)}", sent=False)
        case aiohttp.ClientHttpProxyError():
            # Its message may quote the proxy's URL, which may contain a password.
            reason = f"the proxy responded to CONNECT with status {error.status}"
            # A 4xx such as 407 is about the request, which will not change.
            return LostResponse(
                reason, sent=False, permanent=error.status in _CLIENT_ERROR
            )
        case aiohttp.SocketTimeoutError():
            reason = f"no data received for {in_seconds(timeouts.read)}"
            return LostResponse(reason, sent=True, phase="read")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            # The response was not HTTP; the 400 is aiohttp's, not the Hub's. It is not
            # quoted, because it may echo what we sent.
            return LostResponse(
                f"the response is not valid HTTP ({_cause(error)})", sent
            )
        case aiohttp.ClientPayloadError():
            if isinstance(error.__cause__, ContentEncodingError):
                reason = "the response cannot be decompressed"
                return LostResponse(reason, sent=True, undecodable=True)
            return LostResponse("the response broke off", sent=True)
        case FencedError():
            reason = "its time had passed before there was a connection"
            return LostResponse(reason, sent=False)
        case DroppedError():
            return LostResponse(f"the connection broke: {error}", sent)
        case OSError():
            return LostResponse(reason, sent)
        case _:
            # Not a network failure, so it would happen again.
            return LostResponse(reason, sent, permanent=not sent)


def _connect_failure(error: aiohttp.ClientConnectorError) -> str:
    """Return the host and the reason, without aiohttp's own details."""
    cause = error.os_error
    why = cause.strerror or str(cause)
    if cause.errno == errno.ECONNREFUSED:
        why = "connection refused"  # asyncio's message repeats the address
    return f"{error.host}:{error.port}: {why}"


def _cause(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
