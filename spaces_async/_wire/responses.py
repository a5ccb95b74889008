"""Turns a response, or the lack of one, into a typed failure. Pure.

This is the only module that decides the class of a failure and that maps a status to an
exception.
"""

from __future__ import annotations

import html
import json
import re
import string
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from attrs import evolve

from spaces_async._lines import one_line
from spaces_async._redacted import STARS
from spaces_async._wire.calls import Failure, FailureClass
from spaces_async._wire.compute_quota import read_compute_quota
from spaces_async._wire.converter import DecodeError, parse_json
from spaces_async._wire.messages import LostResponse, Response
from spaces_async._wire.ratelimit import parse_wait_hint
from spaces_async._wire.urls import SAME_REQUEST
from spaces_async.errors import (
    ActionLimitError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    HubResponseError,
    HubServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
    RequestTimeoutError,
    ResponseTooLargeError,
    SpaceNotFoundError,
    SpacesError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MIN_SECRET_CHARS: Final = 4
"""Shorter values are not scrubbed: they occur by chance in almost every message."""

_MAX_MESSAGE_CHARS: Final = 500
_MAX_BODY_BYTES: Final = 1000
_MAX_READ_BYTES: Final = 64 * 1024
_MAX_PAGE_CHARS: Final = 20_000
_MAX_TEXT_CHARS: Final = 2_000
_MAX_TAG_CHARS: Final = 2_000
_MAX_VALUES: Final = 100
_MESSAGE_FIELDS: Final = ("error", "message", "error_description", "errors")
_JSON_ESCAPE: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")
_HIDDEN: Final = ("script", "style")
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_ERROR_BY_STATUS: Final[dict[int, type[HubResponseError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: BadRequestError,
    429: RateLimitError,
}
OK: Final = range(200, 300)
"""The statuses of success."""
_REDIRECT: Final = range(300, 400)
_SERVER_ERROR: Final = range(500, 600)
# 501 and 505 are final; all other 5xx leave open what happened.
_DEFINITE_SERVER_ERRORS: Final = frozenset({501, 505})


def classify(status: int, *, retry_after: float | None) -> FailureClass:
    """Decide from an error status whether the Hub may have acted."""
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_EARLY):
        return FailureClass.REFUSED
    if status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None:
        return FailureClass.REFUSED
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return FailureClass.AMBIGUOUS
    if status in _SERVER_ERROR and status not in _DEFINITE_SERVER_ERRORS:
        return FailureClass.AMBIGUOUS
    return FailureClass.DEFINITE


def _short_line(text: str) -> str:
    text = text[:_MAX_TEXT_CHARS]
    line = " ".join(one_line(text).split())
    if len(line) <= _MAX_MESSAGE_CHARS:
        return line
    return f"{line[:_MAX_MESSAGE_CHARS]}…"


def _messages(data: Any) -> Iterator[str]:
    """Yield the messages of a JSON error, in any of the known shapes."""
    pending: list[Any] = [data]
    for _ in range(_MAX_VALUES):
        if not pending:
            return
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            items: list[Any] = value[:_MAX_VALUES]  # pyright: ignore[reportUnknownVariableType]
            pending += reversed(items)
        elif isinstance(value, dict):
            fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
            pending += map(fields.get, reversed(_MESSAGE_FIELDS))


def read_message(response: Response) -> str:
    """Return the message of an error response as one line; "" if it has none.

    Supported are `{"error": string | list | {"code", "message"}}`, `errors[].message`,
    `error_description`, the header `X-Error-Message`, plain text, and the title or text
    of an HTML page. Of a large body only the beginning is read, as text.
    """
    body = response.body[:_MAX_READ_BYTES]
    text = body.decode("utf-8", "replace").strip()
    found: list[str] = []
    if text.startswith(("{", "[", '"')):
        try:
            found += _messages(parse_json(body))
        except DecodeError:
            found.append(text)
    elif response.error_message:
        # HTTP/1.1 headers lose what is not Latin-1, so the header comes second.
        found.append(response.error_message)
    elif text.startswith("<"):
        page = text[:_MAX_PAGE_CHARS]
        found.append(html.unescape(_title(page) or _text(page)))
    elif text:
        found.append(text)
    lines = dict.fromkeys(_short_line(text) for text in found)
    return _short_line("; ".join(filter(None, lines)) or response.error_message or "")


def _title(page: str) -> str:
    """Return the title of an HTML page; "" if it has none."""
    lower = _lower(page)
    tag = lower.find("<title")
    start = lower.find(">", tag) + 1
    end = lower.find("</title", start)
    return page[start:end] if 0 <= tag < start <= end else ""


def _lower(page: str) -> str:
    """Return a page with its ASCII letters in lower case: of others some grow longer."""
    return page.translate(_LOWER)


def _text(page: str) -> str:
    """Return the text of an HTML page, without tags, scripts and styles.

    Each step starts where the last one ended, so that no page takes long.
    """
    parts: list[str] = []
    lower, position = _lower(page), 0
    while (start := page.find("<", position)) >= 0:
        parts.append(page[position:start])
        name = next((n for n in _HIDDEN if lower.startswith(n, start + 1)), "")
        end = lower.find(f"</{name}", start) if name else start
        after = page[start + 1 : start + 2]
        is_tag = after.isalpha() or after in {"/", "!", "?"}
        if end >= 0:
            end = page.find(">", end, end + _MAX_TAG_CHARS) if is_tag else -1
        if end < 0 and name:
            return " ".join(parts)
        if end < 0:
            parts.append("<")
            end = start
        position = end + 1
    return " ".join([*parts, page[position:]])


def scrub(response: Response, secrets: Iterable[str]) -> Response:
    """Replace secrets in a response, in each form in which they may be echoed.

    JSON and HTML can write any character in several ways. Where undoing that brings a
    secret back, the body is replaced by one without escapes.

    Args:
        response: The response.
        secrets: The token and the values of secrets that were sent.
    """
    forms: set[str] = set()
    for secret in secrets:
        forms |= {quote(secret), quote(secret, safe="")}
        for text in (secret, html.escape(secret), html.escape(secret, quote=False)):
            forms |= {text, json.dumps(text)[1:-1]}
            forms.add(json.dumps(text, ensure_ascii=False)[1:-1])
    hidden = sorted(
        (f for f in forms if len(f) >= _MIN_SECRET_CHARS), key=len, reverse=True
    )

    def clean(text: str | None) -> str | None:
        for form in hidden:
            text = text.replace(form, STARS) if text else text
        return text

    body = response.body
    for form in hidden:
        body = body.replace(form.encode("utf-8", "surrogatepass"), STARS.encode())
    # Of an error only the beginning is read.
    read = body if response.status in OK else body[:_MAX_READ_BYTES]
    text = read.decode("utf-8", "replace")
    # A message in JSON may have been written for a page, or be JSON itself.
    for unescape in (_rewrite_json, html.unescape, _join_units) if hidden else ():
        text = unescape(text)
        if any(form in text for form in hidden):
            text = clean(text) or ""
            body = text.encode("utf-8", "replace")
    return evolve(
        response,
        body=body,
        request_id=clean(response.request_id),
        code=clean(response.code),
        error_message=clean(response.error_message),
        location=clean(response.location),
    )


def _rewrite_json(text: str) -> str:
    """Return JSON with no more escapes than it needs; other text as it is."""
    try:
        return json.dumps(parse_json(text.encode()), ensure_ascii=False)
    except DecodeError:
        return text


def _join_units(text: str) -> str:
    """Undo what JSON writes as four hex digits, or with a slash, also where it was cut."""
    text = _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    # Two of these may be one character.
    units = text.replace("\\/", "/").encode("utf-16", "surrogatepass")
    return units.decode("utf-16", "replace")


def _shown_body(response: Response) -> str:
    return response.body[:_MAX_BODY_BYTES].decode("utf-8", "replace")


def _error_class(response: Response, *, about_space: bool) -> type[HubResponseError]:
    if response.status in _SERVER_ERROR:
        return HubServerError
    kind = _ERROR_BY_STATUS.get(response.status, HubResponseError)
    # EntryNotFound and RevisionNotFound mean that the Space itself exists.
    no_space = about_space and response.code in (None, "RepoNotFound")
    return SpaceNotFoundError if kind is NotFoundError and no_space else kind


def reword(error: HubResponseError, message: str) -> None:
    """Give an error another message."""
    error.message = message
    error.args = (message,)


def may_have_acted(received: Response | LostResponse | None) -> bool:
    """Return whether the Hub may have acted on a request, given what came back.

    Args:
        received: What the transport returned; None if the exchange was cancelled.
    """
    if received is None:
        return True
    if isinstance(received, LostResponse):
        return received.sent
    status = received.status
    if status in OK:
        return True
    match classify(status, retry_after=received.retry_after):
        case FailureClass.REFUSED:
            return False
        case FailureClass.DEFINITE:
            # A redirect may follow the deed, unless it asks for the same request.
            return status < HTTPStatus.BAD_REQUEST and status not in SAME_REQUEST
        case _:
            return True


def asked_wait(response: Response) -> float | None:
    """Return the seconds that a 429 asks to wait; None if only the window says.

    `Retry-After` comes first. If quota is left (or unknown), another limit was hit, and
    its message may contain a hint: "Try again in about 1 hour".
    """
    quota, retry_after = response.quota, response.retry_after
    if retry_after is not None or (quota is not None and quota.remaining == 0):
        return retry_after
    return parse_wait_hint(read_message(response))


def failure_of_response(
    response: Response, *, repo_id: str | None, anonymous: bool
) -> Failure:
    """Turn a response that is not 2xx into a failure.

    Args:
        response: The response.
        repo_id: The Space that the call is about, if any.
        anonymous: Whether the call was sent without a token.
    """
    quota, retry_after = response.quota, response.retry_after
    kind = classify(response.status, retry_after=retry_after)
    message = read_message(response) or f"the Hub gave no reason ({response.status})"
    details: dict[str, Any] = {
        "status": response.status,
        "code": response.code,
        "request_id": response.request_id,
        "body": _shown_body(response),
        "retry_after": retry_after,
    }
    error: HubResponseError
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        remaining = quota.remaining if quota else None
        limited = ActionLimitError if remaining else RateLimitError
        wait = asked_wait(response)
        if wait is None and remaining == 0 and quota is not None:
            wait = quota.reset
        # The governor does the waiting, for this call and all others that must wait.
        retry_after = None
        details["retry_after"] = wait
        error = limited(
            message,
            remaining=remaining,
            bucket=quota.bucket if quota else None,
            **details,
        )
    elif response.status in _REDIRECT:
        error = RedirectRefusedError(
            "the Hub redirected this call, and the redirect was not followed",
            location=(response.location or "").partition("?")[0],
            **details,
        )
    else:
        about_space = repo_id is not None
        if response.status == 401 and about_space and anonymous:  # noqa: PLR2004  (the status is its name)
            message += (
                " (without a token, this means that the Space is private or does not"
                f" exist: check the id {repo_id}, and pass a token if it is private)"
            )
        quota_used_up = read_compute_quota(message)
        if response.status == HTTPStatus.FORBIDDEN and quota_used_up is not None:
            error = quota_used_up.error(message, **details)
        else:
            error = _error_class(response, about_space=about_space)(message, **details)
    return Failure(kind, error, wait=retry_after)


def failure_of_body(
    response: Response, *, message: str, problems: tuple[str, ...]
) -> Failure:
    """Turn a 2xx response whose body cannot be decoded into a failure.

    It may not be the Hub's at all, so it does not show that the Hub acted.
    """
    error = UnexpectedResponseError(
        message,
        problems=problems,
        status=response.status,
        request_id=response.request_id,
        body=_shown_body(response),
    )
    return Failure(FailureClass.AMBIGUOUS, error)


def failure_of_no_effect(response: Response, why: str) -> Failure:
    """Turn a 2xx response that shows that the Hub changed nothing into a failure.

    Its error has the status with which the Hub should have refused the write.

    Args:
        response: The response.
        why: Why nothing changed; it may be the Hub's message of a compute quota.
    """
    details: dict[str, Any] = {
        "request_id": response.request_id,
        "body": _shown_body(response),
    }
    quota = read_compute_quota(why)
    error: HubResponseError
    if quota is not None:
        error = quota.error(why, status=HTTPStatus.FORBIDDEN.value, **details)
    else:
        error = ConflictError(why, status=HTTPStatus.CONFLICT.value, **details)
    return Failure(FailureClass.DEFINITE, error)


def _failure_of_cut_body(lost: LostResponse, *, is_write: bool) -> Failure:
    """Turn a 2xx response that broke off in its body into a failure."""
    kind = ResponseTooLargeError if lost.too_large else UnexpectedResponseError
    error = kind(
        lost.reason,
        status=lost.status or 200,
        request_id=lost.request_id,
        incomplete=not lost.page,
    )
    if is_write:
        # The Hub sends no pages for a write, but others on the way do.
        acted = FailureClass.AMBIGUOUS if lost.page else FailureClass.APPLIED
        return Failure(acted, error)
    if lost.too_large:
        return Failure(FailureClass.DEFINITE, error)
    if lost.undecodable:
        return Failure(FailureClass.AMBIGUOUS, error)
    lost_error = _transport_error(lost)
    return Failure(FailureClass.AMBIGUOUS, lost_error)


def _transport_error(lost: LostResponse) -> SpacesError:
    if lost.phase is not None:
        return RequestTimeoutError(
            lost.reason, phase=lost.phase, request_id=lost.request_id
        )
    if not lost.sent:
        return ConnectionFailedError(lost.reason, permanent=lost.permanent)
    return ConnectionLostError(lost.reason, request_id=lost.request_id)


def failure_of_loss(lost: LostResponse, *, is_write: bool) -> Failure:
    """Turn an attempt without a complete response into a failure."""
    if lost.status in OK:
        return _failure_of_cut_body(lost, is_write=is_write)
    if lost.permanent:
        return Failure(FailureClass.DEFINITE, _transport_error(lost))
    kind = FailureClass.AMBIGUOUS if lost.sent else FailureClass.NEVER_SENT
    return Failure(kind, _transport_error(lost))
