"""What aiohttp's exceptions say about whether a request was sent, and acted on. Pure.

Their type tells, never their status: a reply that is no HTTP comes as a "400".
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from spaces_async._wire.calls import Lost

if TYPE_CHECKING:
    from spaces_async.settings import Timeouts

_REASON_LENGTH: Final = 300
_REFUSALS: Final = range(400, 500)


class DroppedError(aiohttp.ClientError):
    """The connection broke.

    aiohttp sends a GET, PUT or DELETE a second time, unseen, when the connection
    breaks with an exception of its own; it does not for one that it does not know.
    """


def reason_of(error: BaseException) -> str:
    """Name an exception and its text, in one line."""
    text = " ".join(str(error).split())[:_REASON_LENGTH]
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def classify_exception(error: Exception, timeouts: Timeouts, *, sent: bool) -> Lost:  # noqa: C901, PLR0911  (a table)
    """Say what an exception of aiohttp means. Its type tells, never its status."""
    reason = reason_of(error)
    match error:
        case aiohttp.ClientSSLError():
            # A certificate or protocol that does not fit will not fit next time.
            return Lost(f"TLS failed: {reason}", sent=False, permanent=True)
        case aiohttp.ConnectionTimeoutError():
            reason = f"no connection within {timeouts.connect:.3g} s"
            return Lost(reason, sent=False, phase="connect")
        case aiohttp.ClientConnectorError():
            return Lost(f"no connection: {_refusal(error)}", sent=False)
        case aiohttp.ClientHttpProxyError():
            # Its text may quote the proxy's URL, which may hold a password.
            reason = f"the proxy answered {error.status} to CONNECT"
            # 407 and its kin are about the request, and that stays the same.
            return Lost(reason, sent=False, permanent=error.status in _REFUSALS)
        case aiohttp.SocketTimeoutError():
            reason = f"not a byte within {timeouts.read:.3g} s"
            return Lost(reason, sent=True, phase="read")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            # The reply was no HTTP; its 400 is aiohttp's, not the Hub's. What it was is
            # not quoted: it may echo what we sent.
            return Lost(f"the reply is no valid HTTP ({_cause(error)})", sent)
        case aiohttp.ClientPayloadError():
            if isinstance(error.__cause__, ContentEncodingError):
                reason = "the answer cannot be decompressed"
                return Lost(reason, sent=True, undecodable=True)
            return Lost("the answer broke off", sent=True)
        case DroppedError():
            return Lost(f"the connection broke: {error}", sent)
        case OSError():
            return Lost(reason, sent)
        case _:
            # Not the network's fault, so it would come again.
            return Lost(reason, sent, permanent=not sent)


def _refusal(error: aiohttp.ClientConnectorError) -> str:
    """Say who could not be reached and why, without what only aiohttp cares about."""
    cause = error.os_error
    why = cause.strerror or str(cause)
    if cause.errno == errno.ECONNREFUSED:
        why = "it was refused"  # asyncio's text has the address in it once more
    return f"{error.host}:{error.port}: {why}"


def _cause(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
