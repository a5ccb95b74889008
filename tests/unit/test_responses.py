"""From a response, or the lack of one, to a typed failure."""

from __future__ import annotations

import html
import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spaces_async import errors as e
from spaces_async._wire.calls import FailureClass
from spaces_async._wire.messages import LostResponse, Response
from spaces_async._wire.ratelimit import Quota
from spaces_async._wire.responses import (
    asked_wait,
    classify,
    failure_of_loss,
    failure_of_response,
    may_have_acted,
    read_message,
    scrub,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER_SENT, REFUSED, AMBIGUOUS, NOT_DONE, APPLIED, DEFINITE = FailureClass


@pytest.mark.parametrize(
    ("status", "retry_after", "kind"),
    [
        (429, None, REFUSED),
        (429, 1.0, REFUSED),
        (425, None, REFUSED),
        (503, 1.0, REFUSED),
        (503, None, AMBIGUOUS),
        (500, None, AMBIGUOUS),
        (500, 1.0, AMBIGUOUS),
        (502, None, AMBIGUOUS),
        (504, None, AMBIGUOUS),
        (520, None, AMBIGUOUS),
        (408, None, AMBIGUOUS),
        (501, None, DEFINITE),
        (505, None, DEFINITE),
        (400, None, DEFINITE),
        (401, None, DEFINITE),
        (404, None, DEFINITE),
        (409, None, DEFINITE),
        (418, None, DEFINITE),
        (302, None, DEFINITE),
        (101, None, DEFINITE),
        (999, None, DEFINITE),
    ],
)
def test_the_class_of_a_status(
    status: int, retry_after: float | None, kind: FailureClass
) -> None:
    """The table of failure classes, status by status."""
    assert classify(status, retry_after=retry_after) is kind


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        (b'{"error":"Repository not found"}', None, "Repository not found"),
        (b'{"error":["a","b"]}', None, "a; b"),
        (b'{"error":{"code":"x","message":"told so"}}', None, "told so"),
        (b'{"errors":[{"message":"m1"},{"message":"m2"}]}', None, "m1; m2"),
        (
            b'{"error":"invalid_grant","error_description":"expired"}',
            None,
            "invalid_grant; expired",
        ),
        (b'{"error":"same","message":"same"}', "same", "same"),
        (b'{"other":1}', "from the header", "from the header"),
        (b"", "from the header", "from the header"),
        (b"plain\n  text", None, "plain text"),
        (b"", None, ""),
        (b'{"error": "cut', None, '{"error": "cut'),
        (
            b"<html><head><title>502 Bad\nGateway</title></head><body>x</body></html>",
            None,
            "502 Bad Gateway",
        ),
        (b"<html><body><h1>Down</h1> &amp; out</body></html>", None, "Down & out"),
        (b"<html><style>p{}</style><p>x</p></html>", None, "x"),
        (b"\xff\xfe\x00", None, "\ufffd\ufffd"),
    ],
)
def test_the_message_in_all_its_shapes(
    body: bytes, header: str | None, message: str
) -> None:
    """What the Hub, or a proxy before it, says is found in each shape it comes in."""
    assert read_message(Response(400, body, error_message=header)) == message


@given(st.binary(max_size=300), st.text(max_size=50))
def test_any_error_body_becomes_one_short_line(body: bytes, header: str) -> None:
    """Whatever an error response holds, its message is one printable line."""
    message = read_message(Response(500, body, error_message=header))
    assert len(message) <= 501
    assert message.isprintable()


def test_a_page_of_a_proxy_is_cut_to_a_line() -> None:
    """Half a megabyte of HTML is no error message."""
    page = b"<html><body>" + b"<p>word</p>" * 50_000
    assert len(read_message(Response(502, page))) <= 501


HOSTILE = {
    "900 nested lists": b"[" * 900 + b'"x"' + b"]" * 900,
    "1,000 nested lists": b"[" * 1000 + b'"x"' + b"]" * 1000,
    "1,000 nested errors": b'{"error":' * 1000 + b'"x"' + b"}" * 1000,
    "100 nested errors": b'{"error":' * 100 + b'"x"' + b"}" * 100,
    "a million messages": b'{"errors":["m"%s]}'
    % b"".join(b',"m%d"' % number for number in range(1_000_000)),
    "5,000 messages": b'{"errors":["m"%s]}' % (b',"abcde"' * 5_000),
    "title": b"<title" * 10_000,
    "script": b"<" + b"<script" * 9_000,
    "style": b"<style></styl" * 5_000,
    "brackets": b"<" * 65_000,
    "a page of 30 MiB": b"<" + b"a" * (30 * 2**20),
    "text of 30 MiB": b"x" * (30 * 2**20),
    "control characters": b"\x1b[31m" * (6 * 2**20),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=list(HOSTILE))
def test_no_error_body_takes_long(body: bytes) -> None:
    """An error body that is made to hurt is read in bounded work, without recursion.

    The limit tells milliseconds from seconds: what grows with the square takes seconds.
    """
    response = Response(400, body)
    started = time.process_time()
    message = read_message(response)
    assert time.process_time() - started < 1.0
    assert len(message) <= 501


# HTML has no way to write control characters, and what is no character.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["C"])
SECRETS = st.text(CHARACTERS, min_size=4, max_size=30)


def as_json(secret: str) -> bytes:
    units = secret.encode("utf-16-be")
    pairs = zip(units[::2], units[1::2], strict=True)
    return b'{"error": "no: %s"}' % b"".join(b"\\u%02x%02x" % pair for pair in pairs)


def as_json_of_a_mebibyte(secret: str) -> bytes:
    return as_json(secret)[:-1] + b', "more": "%s"}' % (b"x" * 2**20)


def as_json_in_json(secret: str) -> bytes:
    return json.dumps({"error": as_json(secret).decode()}).encode()


def as_page(secret: str) -> bytes:
    return b"<title>no: %s</title>" % b"".join(b"&#x%x;" % ord(c) for c in secret)


def as_page_in_json(secret: str) -> bytes:
    return json.dumps({"error": f"no: {html.escape(secret)}"}).encode()


WAYS = (as_json, as_json_of_a_mebibyte, as_json_in_json, as_page, as_page_in_json)


@given(
    secret=SECRETS,
    written=st.sampled_from(WAYS),
    status=st.sampled_from([200, 400, 502]),
)
def test_a_secret_is_found_however_it_is_escaped(
    secret: str, written: Callable[[str], bytes], status: int
) -> None:
    """JSON and HTML write a character in many ways, and what we show undoes them."""
    assume(secret not in "no: ***" and " ".join(secret.split()) == secret)
    scrubbed = scrub(Response(status, written(secret)), [secret])
    message = read_message(scrubbed)
    assert secret not in message
    assert "***" in message


def test_text_of_a_page_leaves_out_what_is_not_seen() -> None:
    """Scripts, styles and tags are no part of the message; a lone bracket is."""
    page = (
        b"<html><STYLE>a{}</style><p class='x'>1 < 2 &amp; so on</p><script>x()</script>"
        b"<b>end</b><script>no end"
    )
    assert read_message(Response(502, page)) == "1 < 2 & so on end"


def test_a_page_whose_letters_grow_in_lower_case() -> None:
    """The title is found where it is, and not where it would be in lower case."""
    page = "<!-- İİİ --><TITLE>Bad gateway</TITLE>".encode()
    assert read_message(Response(502, page)) == "Bad gateway"


@pytest.mark.parametrize(
    ("status", "code", "about_space", "kind"),
    [
        (400, None, True, e.BadRequestError),
        (422, None, True, e.BadRequestError),
        (401, None, True, e.AuthenticationError),
        (402, None, True, e.PaymentRequiredError),
        (403, None, True, e.PermissionDeniedError),
        (404, "RepoNotFound", True, e.SpaceNotFoundError),
        (404, None, True, e.SpaceNotFoundError),
        (404, "RevisionNotFound", True, e.NotFoundError),
        (404, None, False, e.NotFoundError),
        (409, None, True, e.ConflictError),
        (429, None, True, e.RateLimitError),
        (500, None, True, e.HubServerError),
        (503, None, True, e.HubServerError),
        (302, None, True, e.RedirectRefusedError),
        (406, None, True, e.HubResponseError),
        (999, None, True, e.HubResponseError),
    ],
)
def test_each_status_has_its_error(
    status: int, code: str | None, about_space: bool, kind: type[e.HubResponseError]
) -> None:
    """A status becomes the error of its name, with what the response told."""
    failure = failure_of_response(
        Response(status, b'{"error":"why"}', request_id="r-1", code=code),
        repo_id="a/b" if about_space else None,
        anonymous=False,
    )
    error = failure.error
    assert type(error) is kind
    assert error.status == status
    assert error.code == code
    assert error.request_id == "r-1"
    assert "why" in error.body


def test_an_anonymous_401_of_a_space_says_what_it_may_mean() -> None:
    """The Hub hides private Spaces behind a 401: the message says so."""
    response = Response(401, b'{"error":"Invalid username or password."}')
    hidden = failure_of_response(response, repo_id="acme/demo", anonymous=True)
    plain = failure_of_response(response, repo_id="acme/demo", anonymous=False)
    assert "private or does not exist: check the id acme/demo" in str(hidden.error)
    assert "private" not in str(plain.error)


@pytest.mark.parametrize("status", [404, 425, 500, 503])
@pytest.mark.parametrize("retry_after", [None, 0.0, 7.0])
def test_any_response_may_ask_to_wait(status: int, retry_after: float | None) -> None:
    """What `Retry-After` says is on the error, whatever its status is."""
    failure = failure_of_response(
        Response(status, b"{}", retry_after=retry_after),
        repo_id="a/b",
        anonymous=False,
    )
    assert isinstance(failure.error, e.HubResponseError)
    assert failure.error.retry_after == retry_after


@pytest.mark.parametrize("permanent", [True, False])
def test_a_failed_connection_says_whether_it_is_for_good(permanent: bool) -> None:
    """A certificate will not fit the next time either; a refused port may open."""
    lost = LostResponse("x", sent=False, permanent=permanent)
    error = failure_of_loss(lost, is_write=True).error
    assert isinstance(error, e.ConnectionFailedError)
    assert error.permanent is permanent


@pytest.mark.parametrize(
    ("quota", "retry_after", "kind", "wait"),
    [
        (Quota("api", 0, 55.0), None, e.RateLimitError, 55.0),
        (Quota("api", 0, 55.0), 7.0, e.RateLimitError, 7.0),
        (Quota("api", 12, 55.0), None, e.ActionLimitError, 3600.0),
        (Quota("api", 12, 55.0), 7.0, e.ActionLimitError, 7.0),
        (None, None, e.RateLimitError, 3600.0),
        (None, 7.0, e.RateLimitError, 7.0),
    ],
)
def test_the_two_kinds_of_429(
    quota: Quota | None,
    retry_after: float | None,
    kind: type[e.RateLimitError],
    wait: float,
) -> None:
    """With quota left it is the limit of an action, and its message says how long."""
    body = b'{"error":"... (256 per hour). Try again in about 1 hour."}'
    response = Response(429, body, quota=quota, retry_after=retry_after)
    failure = failure_of_response(response, repo_id="a/b", anonymous=False)
    assert type(failure.error) is kind
    assert isinstance(failure.error, e.RateLimitError)
    assert failure.error.retry_after == wait
    window_only = quota is not None and quota.remaining == 0 and retry_after is None
    assert asked_wait(response) == (None if window_only else wait)


@pytest.mark.parametrize(
    ("lost", "is_write", "kind", "error"),
    [
        (LostResponse("x", sent=False), True, NEVER_SENT, e.ConnectionFailedError),
        (LostResponse("x", sent=False), False, NEVER_SENT, e.ConnectionFailedError),
        (
            LostResponse("x", sent=False, permanent=True),
            False,
            DEFINITE,
            e.ConnectionFailedError,
        ),
        (
            LostResponse("x", sent=False, phase="connect"),
            True,
            NEVER_SENT,
            e.RequestTimeoutError,
        ),
        (
            LostResponse("x", sent=True, phase="read"),
            True,
            AMBIGUOUS,
            e.RequestTimeoutError,
        ),
        (LostResponse("x", sent=True), True, AMBIGUOUS, e.ConnectionLostError),
        (LostResponse("x", sent=True), False, AMBIGUOUS, e.ConnectionLostError),
        (
            LostResponse("x", sent=True, status=200),
            True,
            APPLIED,
            e.UnexpectedResponseError,
        ),
        (
            LostResponse("x", sent=True, status=200),
            False,
            AMBIGUOUS,
            e.ConnectionLostError,
        ),
        (
            LostResponse("x", sent=True, status=200, too_large=True),
            False,
            DEFINITE,
            e.ResponseTooLargeError,
        ),
        (
            LostResponse("x", sent=True, status=200, too_large=True),
            True,
            APPLIED,
            e.ResponseTooLargeError,
        ),
    ],
)
def test_a_lost_response(
    lost: LostResponse, is_write: bool, kind: FailureClass, error: type[e.SpacesError]
) -> None:
    """How far the exchange had come decides what its loss means."""
    failure = failure_of_loss(lost, is_write=is_write)
    assert failure.kind is kind
    assert type(failure.error) is error


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (None, True),
        (Response(200, b"{}"), True),
        (Response(404, b"{}"), False),
        (Response(403, b"{}"), False),
        (Response(501, b"{}"), False),
        (Response(302, b""), True),
        (Response(307, b""), False),
        (Response(500, b"{}"), True),
        (Response(503, b"{}"), True),
        (Response(503, b"{}", retry_after=1.0), False),
        (Response(429, b"{}"), False),
        (LostResponse("x", sent=True), True),
        (LostResponse("x", sent=True, status=200), True),
        (LostResponse("x", sent=False), False),
    ],
)
def test_the_hub_acts_on_what_it_does_not_refuse(
    received: Response | LostResponse | None, expected: bool
) -> None:
    """A write that was refused, or never sent, is in doubt for nobody."""
    assert may_have_acted(received) is expected


@pytest.mark.parametrize(
    ("status", "message", "kind", "numbers"),
    [
        (
            403,
            "You've reached your cpu-basic quota limit, please upgrade your account",
            e.ComputeQuotaError,
            ("cpu-basic", None, None),
        ),
        (
            403,
            "You\u2019ve reached the zero-a10g quota limit.",
            e.ComputeQuotaError,
            ("zero-a10g", None, None),
        ),
        (
            403,
            "Quota exceeded for flavor t4-small (requested=1): current=6, limit=3",
            e.ComputeQuotaError,
            ("t4-small", 6, 3),
        ),
        (403, "You have no write access", e.PermissionDeniedError, None),
        (403, "You've reached your storage quota", e.PermissionDeniedError, None),
        (402, "Quota exceeded for flavor t4-small", e.PaymentRequiredError, None),
    ],
)
def test_the_compute_quota_is_an_error_of_its_own(
    status: int,
    message: str,
    kind: type[e.HubResponseError],
    numbers: tuple[str, int | None, int | None] | None,
) -> None:
    """A 403 that tells of it names the flavor, and the numbers where they are given."""
    response = Response(status=status, body=json.dumps({"error": message}).encode())
    failure = failure_of_response(response, repo_id="a/b", anonymous=False)
    error = failure.error
    assert type(error) is kind
    assert error.status == status
    if numbers is not None:
        assert isinstance(error, e.ComputeQuotaError)
        assert isinstance(error, e.PermissionDeniedError)
        assert (error.flavor, error.current, error.limit) == numbers
        assert not error.outcome_unknown
