"""The exceptions that this package raises.

```
SpacesError
 ├ ConfigurationError (ValueError)      bad settings or arguments: nothing was sent
 ├ ClientClosedError (RuntimeError)     used after aclose()
 ├ TransportError                       no complete response arrived
 │   ├ ConnectionFailedError            not sent: always safe to repeat
 │   ├ ConnectionLostError              sent, then lost: may have been acted on
 │   └ RequestTimeoutError (TimeoutError)
 ├ HubResponseError                     the Hub responded with an error
 │   ├ BadRequestError                  400, 422
 │   │   └ InvalidHardwareError         the flavor was rejected
 │   ├ AuthenticationError              401
 │   ├ PaymentRequiredError             402
 │   ├ PermissionDeniedError            403
 │   │  └ ComputeQuotaError             403, the account's compute quota is used up
 │   ├ NotFoundError                    404
 │   │   └ SpaceNotFoundError           404 for a Space
 │   ├ ConflictError                    409
 │   ├ RateLimitError                   429, or the required wait is too long
 │   │   └ ActionLimitError             429 for one kind of action
 │   ├ HubServerError                   5xx
 │   └ RedirectRefusedError             a redirect that was not followed
 ├ UnexpectedResponseError              a 2xx that is not what the Hub documents
 │   └ ResponseTooLargeError
 ├ StreamInterruptedError               a log or event stream broke for good
 ├ WaitTimeoutError (TimeoutError)      the Space did not reach the stage in time
 ├ SpaceFailedError                     the Space reached a failed stage instead
 ├ UnseenOwnerError                     a selection names an owner that shows no Space
 ├ BulkInterruptedError                 the iterator of targets raised
 ├ JournalError                         a journal cannot be read, written or locked
 │   └ StoreError                       the store of a run cannot be used
 └ BulkError (ExceptionGroup)           only from BulkReport.raise_for_failures()
```

All of them can be copied and pickled, hold no live response, and never contain a token
or the value of a secret. `str(error)` is a single line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.bulk.report import BulkReport
    from spaces_async.models import SpaceRuntime, SpaceStage

__all__ = [
    "ActionLimitError",
    "AuthenticationError",
    "BadRequestError",
    "BulkError",
    "BulkInterruptedError",
    "ClientClosedError",
    "ComputeQuotaError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "HubResponseError",
    "HubServerError",
    "InvalidHardwareError",
    "JournalError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectRefusedError",
    "RequestTimeoutError",
    "ResponseTooLargeError",
    "SpaceFailedError",
    "SpaceNotFoundError",
    "SpacesError",
    "StoreError",
    "StreamInterruptedError",
    "TransportError",
    "UnexpectedResponseError",
    "UnseenOwnerError",
    "WaitTimeoutError",
]


def _rebuild(
    cls: type[SpacesError], args: tuple[object, ...], state: dict[str, Any]
) -> SpacesError:
    """Make a copy of an error without calling its constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SpacesError(Exception):
    """The base class of every exception that this package raises.

    Attributes:
        outcome_unknown: True when a write may or may not have taken effect: it was
            sent and no response arrived. Check the Space before repeating it.
        request_id: The Hub's `X-Request-Id`, or the one that was sent if no response
            arrived; None if nothing was sent.
    """

    outcome_unknown: bool = False
    request_id: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls __init__ with only the message, and an OSError (such as
        # TimeoutError) drops the attributes.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(SpacesError, ValueError):
    """Bad settings or arguments. Raised before anything is sent."""


class ClientClosedError(SpacesError, RuntimeError):
    """The client was used after `aclose()`."""

    def __init__(self, message: str = "the client is closed") -> None:
        super().__init__(message)


class _CallError(SpacesError):
    """Base of the errors of a single call: which call it was, and how many attempts."""

    method: str
    url: str
    attempts: int

    def __str__(self) -> str:
        return self._line(str(self.args[0]) if self.args else type(self).__name__)

    def _line(self, message: str) -> str:
        parts = [f"{self.method} {self.url}: {message}" if self.method else message]
        if self.outcome_unknown:
            parts.append("it is not known whether the Hub acted on it")
        if self.attempts > 1:
            parts.append(f"{self.attempts} attempts")
        return "; ".join(parts)


class TransportError(_CallError):
    """No complete response arrived.

    Attributes:
        method: HTTP method.
        url: URL without its query.
        attempts: Number of requests, with redirects and failed attempts to connect.
        request_id: The last `X-Request-Id` that was sent; None if nothing was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        attempts: int = 0,
        request_id: str | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.attempts = attempts
        self.request_id = request_id
        self.outcome_unknown = outcome_unknown


class ConnectionFailedError(TransportError):
    """No connection could be made, so nothing was sent. Safe to repeat.

    Attributes:
        permanent: Whether the next attempt will fail too, as with an invalid
            certificate.
    """

    def __init__(self, message: str, *, permanent: bool = False, **call: Any) -> None:
        super().__init__(message, **call)
        self.permanent = permanent


class ConnectionLostError(TransportError):
    """The connection broke after the request was sent, at least in part."""


class RequestTimeoutError(TransportError, TimeoutError):
    """A time limit in `Timeouts` was exceeded.

    Attributes:
        phase: Which limit it was: "connect", "read", "attempt" or "total".
    """

    def __init__(self, message: str, *, phase: str = "total", **call: Any) -> None:
        super().__init__(message, **call)
        self.phase = phase


class ErrorResponse(NamedTuple):
    """What `HubResponseError.response` has of a response.

    Attributes:
        status_code: HTTP status.
        text: The beginning of the body.
    """

    status_code: int
    text: str


class HubResponseError(_CallError):
    """The Hub responded with an error status.

    Attributes:
        status: HTTP status.
        code: The Hub's `X-Error-Code`, such as "RepoNotFound"; None if it sent none.
        message: The Hub's error message, as a single line.
        request_id: The Hub's `X-Request-Id`: quote it when contacting support.
        method: HTTP method.
        url: URL without its query.
        attempts: Number of requests, as above; 0 if it was raised before the first one.
        body: The beginning of the response body.
        retry_after: Seconds that the Hub asks to wait before the next attempt, for
            example with a 503 during maintenance; None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after: float | None = None,
        code: str | None = None,
        request_id: str | None = None,
        method: str = "",
        url: str = "",
        attempts: int = 0,
        body: str = "",
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.request_id = request_id
        self.method = method
        self.url = url
        self.attempts = attempts
        self.body = body
        self.outcome_unknown = outcome_unknown

    @property
    def server_message(self) -> str:
        """The Hub's error message, by the name of the official client."""
        return self.message

    @property
    def response(self) -> ErrorResponse:
        """Status and body, by the names of the official client."""
        return ErrorResponse(self.status, self.body)

    def _line(self, message: str) -> str:
        code = f" {self.code}" if self.code else ""
        line = super()._line(f"{self.status}{code}: {message}")
        return f"{line} (request id {self.request_id})" if self.request_id else line


class BadRequestError(HubResponseError):
    """400 or 422: the Hub rejects the request as invalid."""


class InvalidHardwareError(BadRequestError):
    """The Hub rejects the hardware flavor.

    Attributes:
        flavor: The requested flavor.
        known_flavors: The flavors that this version of the package knows.
    """

    def __init__(
        self,
        message: str,
        *,
        flavor: str = "",
        known_flavors: Sequence[str] = (),
        **response: Any,
    ) -> None:
        super().__init__(message, **response)
        self.flavor = flavor
        self.known_flavors = tuple(known_flavors)


class AuthenticationError(HubResponseError):
    """401: the token is missing or invalid, or (for a Space) may not see the Space.

    Without a token, the Hub responds with 401 both for a private Space and for one that
    does not exist, so that a caller cannot tell which it is.
    """


class PaymentRequiredError(HubResponseError):
    """402: the account's plan does not include this."""


class PermissionDeniedError(HubResponseError):
    """403: the token may see the Space but may not do this."""


class ComputeQuotaError(PermissionDeniedError):
    """403: the owner runs as many Spaces on the flavor as the account may.

    Pause another Space of the owner on that flavor, or move one to another flavor, and
    then try again. The error is also the cause of a `SpaceFailedError`, where the Hub
    has taken the request and paused the Space again; then `status` is 403, `attempts`
    is 0 and `request_id` is None.

    Attributes:
        flavor: The flavor; None if the Hub did not say.
        current: How many Spaces run on it; None if the Hub did not say.
        limit: How many may; None if the Hub did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        flavor: str | None = None,
        current: int | None = None,
        limit: int | None = None,
        **response: Any,
    ) -> None:
        response.setdefault("status", 403)
        super().__init__(message, **response)
        self.flavor = flavor
        self.current = current
        self.limit = limit


class NotFoundError(HubResponseError):
    """404: it does not exist, or is not visible to this token."""


class SpaceNotFoundError(NotFoundError):
    """404 for a Space: it does not exist, or this token may not see it."""


class ConflictError(HubResponseError):
    """409: it already exists, or another operation on it is in progress.

    A factory reboot of a paused Space raises it, too. The Hub answers that with a success
    and changes nothing.
    """


class RateLimitError(HubResponseError):
    """429, or the wait that the quota requires is longer than allowed.

    If it is raised before anything was sent, `status` is 429, `attempts` is 0 and
    `request_id` is None.

    Attributes:
        retry_after: Seconds until the Hub accepts the call again.
        bucket: Name of the quota, such as "api"; None if unknown.
        remaining: Calls left in the window according to the Hub; None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        remaining: int | None = None,
        **response: Any,
    ) -> None:
        response.setdefault("status", 429)
        super().__init__(message, **response)
        self.bucket = bucket
        self.remaining = remaining


class ActionLimitError(RateLimitError):
    """429 with quota left: a limit on one kind of action, such as creating Spaces."""


class HubServerError(HubResponseError):
    """5xx: the Hub, or a proxy in front of it, failed."""


class RedirectRefusedError(HubResponseError):
    """A redirect that was not followed.

    A read follows a redirect within the endpoint's own origin. A write follows one 307
    or 308 that says only that the Space has another id, unless it has a secret and the
    Space has another owner. The token and the body must not go elsewhere.

    Attributes:
        location: Target of the redirect, without its query; "" if it named none.
        new_id: The id that the Space has now; None if the redirect does not say that.
    """

    def __init__(
        self,
        message: str,
        *,
        location: str = "",
        new_id: str | None = None,
        **response: Any,
    ) -> None:
        super().__init__(message, **response)
        self.location = location
        self.new_id = new_id


class UnexpectedResponseError(_CallError):
    """A 2xx response that does not match what the Hub documents.

    It may come from something on the way, such as the sign-in page of a network. Of a
    write it does not show whether the Hub acted: `outcome_unknown` is True, unless the
    state of the Space showed that nothing happened.

    Attributes:
        incomplete: Whether it broke off, was too large or could not be decompressed.
        problems: What is wrong, each with its path: "$.devMode: expected bool, ...".
        status: HTTP status.
        request_id: The Hub's `X-Request-Id`.
        method: HTTP method.
        url: URL without its query.
        attempts: Number of attempts.
        body: The beginning of the response body.
    """

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[str] = (),
        status: int = 200,
        request_id: str | None = None,
        method: str = "",
        url: str = "",
        attempts: int = 0,
        body: str = "",
        outcome_unknown: bool = False,
        incomplete: bool = False,
    ) -> None:
        super().__init__(message)
        self.incomplete = incomplete
        self.problems = tuple(problems)
        self.status = status
        self.request_id = request_id
        self.method = method
        self.url = url
        self.attempts = attempts
        self.body = body
        self.outcome_unknown = outcome_unknown

    def _line(self, message: str) -> str:
        detail = f": {'; '.join(self.problems)}" if self.problems else ""
        line = super()._line(f"{message}{detail}")
        return f"{line} (request id {self.request_id})" if self.request_id else line


class ResponseTooLargeError(UnexpectedResponseError):
    """The response is larger than `ClientSettings.max_response_bytes`."""


class StreamInterruptedError(SpacesError):
    """A stream of logs, events or metrics broke and could not be resumed."""


class WaitTimeoutError(SpacesError, TimeoutError):
    """The Space did not reach the requested stage in time.

    Attributes:
        repo_id: The Space.
        last_stage: The last stage that was read; None if there was none.
        timeout: Seconds waited.
        missing: What else was not as requested, such as "is still on cpu-basic;
            t4-small is requested"; None if it was only the stage.
        unread: Whether the last read failed, so that the Space may be there by now.
    """

    def __init__(
        self,
        message: str,
        *,
        repo_id: str = "",
        last_stage: SpaceStage | None = None,
        timeout: float | None = None,
        missing: str | None = None,
        unread: bool = False,
    ) -> None:
        super().__init__(message)
        self.repo_id = repo_id
        self.last_stage = last_stage
        self.timeout = timeout
        self.missing = missing
        self.unread = unread


class SpaceFailedError(SpacesError):
    """The Space is in a stage from which it will not reach the requested one.

    Attributes:
        repo_id: The Space.
        runtime: The last runtime that was read, with `stage` and `error_message`.
        log_tail: The last lines of its log; empty if they could not be read.
    """

    def __init__(
        self,
        message: str,
        *,
        repo_id: str = "",
        runtime: SpaceRuntime | None = None,
        log_tail: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.repo_id = repo_id
        self.runtime = runtime
        self.log_tail = tuple(log_tail)


class UnseenOwnerError(SpacesError):
    """No Spaces of a user or org are visible: far more likely a slip than an empty org.

    Attributes:
        owner: The user or org.
    """

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"no Spaces of {owner} are visible: check the name, and whether the token may"
            " see its Spaces"
        )
        self.owner = owner


class BulkInterruptedError(SpacesError):
    """The iterator of targets raised an exception, which is chained as the cause.

    Attributes:
        report: The outcomes so far.
    """

    def __init__(self, message: str, *, report: BulkReport[Any] | None = None) -> None:
        super().__init__(message)
        self.report = report


class JournalError(SpacesError):
    """The journal of a bulk run cannot be read, written or locked.

    Attributes:
        path: The journal file.
        report: The outcomes so far when the journal failed; None if the run had not
            started.
    """

    def __init__(
        self, message: str, *, path: str = "", report: BulkReport[Any] | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.report = report


class StoreError(JournalError):
    """The store in which a run is kept cannot be used, or was away for too long.

    Nothing more was sent. `path` is its URL, without a password.
    """


class BulkError(SpacesError, ExceptionGroup[Exception]):
    """Some Spaces of a bulk run failed: one exception each; `report` has all outcomes.

    Raised only by `BulkReport.raise_for_failures()`. Handle it with `except*`.
    """

    report: BulkReport[Any] | None

    def __new__(
        cls,
        message: str,
        exceptions: Sequence[Exception],
        report: BulkReport[Any] | None = None,
    ) -> Self:
        """Create the group; `report` is kept next to the exceptions."""
        self = super().__new__(cls, message, exceptions)
        self.report = report
        return self

    def __init__(
        self,
        message: str,
        exceptions: Sequence[Exception],
        report: BulkReport[Any] | None = None,  # noqa: ARG002  (taken by __new__)
    ) -> None:
        super().__init__(message, exceptions)

    def derive(self, excs: Sequence[Exception], /) -> BulkError:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a group of the same kind with fewer exceptions (for `except*`)."""
        return BulkError(self.message, excs, self.report)
