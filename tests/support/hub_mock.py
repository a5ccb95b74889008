"""A mocked Hub: says what it was told to say and keeps each request as it went out.

A `Case` is one use of a method: what has to be on the wire, what the Hub answers and
what the method has to return. The tables of the tests are made of them.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import platform
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Final, Self
from unittest.mock import patch
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from aioresponses import aioresponses
from attrs import field, frozen
from yarl import URL

from spaces_async import (
    ActionLimitError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    HubResponseError,
    HubServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
    SpaceNotFoundError,
    SpaceRuntime,
    SpacesClient,
    SpaceStage,
    __version__,
)
from tests.support.aioresponses_compat import install
from tests.support.writes_table import ROWS, Row

install()

HUB: Final = "https://huggingface.co"
TOKEN: Final = "hf_abcdefghijklmnopqrstuvwxyz"
SECRET: Final = "s3cret-Value-1"
REQUEST_ID: Final = "Root=1-67cae575-0d9e;3f2b0c9e-0000-4000-8000-1234567890ab"
AGENT: Final = (
    f"spaces-async/{__version__} python/{platform.python_version()}"
    f" aiohttp/{aiohttp.__version__}"
)
DEMO: Final = "/api/spaces/acme/demo"
RUNTIME: Final = f"{DEMO}/runtime"

# The clock of the clients under the jumping clock stands at the start of 2026, and so
# does the Hub's where an answer has this header; LATE is a Hub five hours ahead.
NOW: Final = {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
LATE: Final = {"Date": "Thu, 01 Jan 2026 05:00:00 GMT"}

Pairs = tuple[tuple[str, str], ...]


@frozen
class Sent:
    """A request as the client handed it to aiohttp."""

    method: str
    url: URL
    headers: Mapping[str, str]
    data: Any
    allow_redirects: Any

    @property
    def path(self) -> str:
        """The path as it goes on the wire, percent-encoding and all."""
        return self.url.raw_path

    @property
    def query(self) -> Pairs:
        """The query in its order, repeated keys and all."""
        return tuple(self.url.query.items())

    @property
    def json(self) -> Any:
        """The body; None if there is none."""
        return None if self.data is None else json.loads(self.data)


class HubMock(aioresponses):
    """aioresponses that keeps the requests in order, with the query as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        mock = self

        async def request(
            session: aiohttp.ClientSession, *args: Any, **kw: Any
        ) -> aiohttp.ClientResponse:
            return await mock._request_mock(session, *args, **kw)

        # A plain function: to make up a mock with aiohttp's signature for each test
        # takes longer than the test.
        patcher: Any = patch("aiohttp.client.ClientSession._request", request)
        self.patcher = patcher

    def __enter__(self) -> Self:
        self.start()
        return self

    async def _request_mock(
        self,
        orig_self: aiohttp.ClientSession,
        method: str,
        url: Any,
        *args: Any,
        **kw: Any,
    ) -> aiohttp.ClientResponse:
        headers = dict(kw.get("headers") or {})
        redirects = kw.get("allow_redirects")
        self.sent.append(Sent(method, URL(url), headers, kw.get("data"), redirects))
        # As on a real connection, others have their turn meanwhile.
        await asyncio.sleep(0)
        return await super()._request_mock(orig_self, method, url, *args, **kw)

    def answer(
        self,
        method: str,
        path: str,
        payload: Any = None,
        *,
        query: Pairs = (),
        body: str | bytes = "",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        exception: Exception | None = None,
        repeat: bool = False,
    ) -> None:
        """Answer one request of this method, path and query."""
        url = f"{HUB}{path}"
        self.add(
            f"{url}?{urlencode(query)}" if query else url,
            method=method,
            payload=payload,
            body=body,
            status=status,
            headers={"X-Request-Id": REQUEST_ID, **(headers or {})},
            exception=exception,
            repeat=repeat,
        )

    def lines(self) -> list[str]:
        """Return what was sent, as "METHOD /path" lines."""
        return [f"{sent.method} {sent.path}" for sent in self.sent]


@frozen(kw_only=True)
class Case:
    """One use of a method.

    Attributes:
        id: What the test is called.
        name: The method.
        invoke: Uses it.
        method: HTTP method that has to go out.
        path: Path that has to go out, percent-encoded.
        query: Query that has to go out, in this order.
        body: JSON that has to go out; None is no body at all.
        answer: JSON of the Hub's answer.
        text: The answer's body instead, where it is no JSON.
        result: What the method has to return.
        before: Reads that have to go out first: their path, and what is answered.
        remembered: Whether the second use has to do without a request.
    """

    id: str
    name: str
    invoke: Callable[[SpacesClient], Awaitable[Any]]
    method: str
    path: str
    query: Pairs = ()
    body: Any = None
    answer: Any = None
    text: str = ""
    result: Any = None
    before: tuple[tuple[str, Any], ...] = ()
    remembered: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


def ids(values: Iterable[Any]) -> list[str]:
    """Return what tests with these values are called."""
    return [value.id for value in values]


def cases(values: Iterable[Any], name: str = "case") -> pytest.MarkDecorator:
    """Parametrize over values that have an id."""
    rows = list(values)
    return pytest.mark.parametrize(name, rows, ids=ids(rows))


def refused(table: Iterable[Case], refusals: Iterable[Refusal]) -> pytest.MarkDecorator:
    """Parametrize over cases and refusals: each refusal once, a few for each case.

    What an answer means is decided in one place, whatever was called. So the refusals
    are dealt out to the cases in turn, and each case gets what depends on the call: a
    token that is refused, a Space that is missing, and an answer that leaves it open
    whether the Hub has acted.
    """
    rows, answers = list(table), list(refusals)
    dealt = [(rows[n % len(rows)], answer) for n, answer in enumerate(answers)]
    dealt += [
        (row, answer)
        for row in rows
        for answer in answers
        if answer.id in _FOR_EACH_CASE and (row, answer) not in dealt
    ]
    return pytest.mark.parametrize(
        ("case", "refusal"),
        dealt,
        ids=[f"{row.id}-{answer.id}" for row, answer in dealt],
    )


def one_per_method(table: Iterable[Case]) -> list[Case]:
    """Return the first row of each method."""
    return list({case.name: case for case in reversed(list(table))}.values())


def cases_of_writes(room: str, table: Iterable[Case]) -> list[Case]:
    """Return a case from the table of writes for each method that has none of its own.

    Args:
        room: The resource, such as "config".
        table: The cases that there are.
    """
    known = {case.name for case in table}
    rows = {row.call: row for row in reversed(ROWS) if row.call is not None}
    return [
        _case_of(call.removeprefix(f"{room}."), row)
        for call, row in rows.items()
        if call.startswith(f"{room}.") and call.partition(".")[2] not in known
    ]


def _case_of(name: str, row: Row) -> Case:
    answer: Any = {"stage": "RUNNING"} if row.returns is SpaceRuntime else {}
    result = SpaceRuntime(SpaceStage.RUNNING) if row.returns is SpaceRuntime else None
    if row.reads or row.returns not in {SpaceRuntime, NoneType}:
        raise ValueError(f"{name} needs a case of its own: it is more than a request")
    (body,) = row.bodies
    return Case(
        id=name,
        name=name,
        invoke=lambda client: row.invoke(client, "acme/demo"),
        method=row.method,
        path=row.path if row.path.startswith("/api/") else DEMO + row.path,
        query=tuple(parse_qsl(row.query)),
        body=body,
        answer=answer,
        result=result,
    )


def public_methods(resource: type) -> set[str]:
    """Return the names of the methods that users may call, inherited ones too."""
    return {name for name in dir(resource) if not name.startswith("_")}


def check_headers(sent: Sent, token: str | None = TOKEN) -> None:
    """Look at the headers of a request: who asks, with what, and about what."""
    headers = {name.lower(): value for name, value in sent.headers.items()}
    expected = {"accept-encoding", "user-agent", "x-request-id"}
    if token is not None:
        expected.add("authorization")
        assert headers["authorization"] == f"Bearer {token}"
    if sent.data is not None:
        expected.add("content-type")
        assert headers["content-type"] == "application/json"
    assert set(headers) == expected
    assert headers["user-agent"] == AGENT
    assert str(uuid.UUID(headers["x-request-id"])) == headers["x-request-id"]
    assert sent.allow_redirects is False


async def check_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Make the call of a case twice, and compare all of it."""
    for _ in range(2):
        _answer_before(mock, case)
        mock.answer(
            case.method, case.path, case.answer, query=case.query, body=case.text
        )
        assert await case.invoke(client) == case.result
    uses = 1 if case.remembered else 2
    reads = [("GET", path, (), None) for path, _ in case.before]
    whole = (case.method, case.path, case.query, case.body)
    assert [(sent.method, sent.path, sent.query, sent.json) for sent in mock.sent] == [
        *reads,
        whole,
    ] * uses
    for sent in mock.sent:
        assert sent.url.origin() == URL(HUB)
        check_headers(sent)
    marks = [sent.headers["X-Request-Id"] for sent in mock.sent]
    assert len(set(marks)) == len(marks)


def _answer_before(mock: HubMock, case: Case) -> None:
    for path, answer in case.before:
        mock.answer("GET", path, answer)


@frozen(kw_only=True)
class Refusal:
    """An answer that is no success, and the error that it has to become.

    Attributes:
        id: What the test is called.
        status: HTTP status.
        body: The body.
        headers: Headers.
        error: Exact class of the error.
        message: What the Hub said.
        attributes: Attributes that the error has to have.
        in_doubt: Whether a write may have taken effect.
    """

    id: str
    status: int
    body: str
    error: type[HubResponseError]
    message: str
    headers: Mapping[str, str] = field(factory=dict[str, str])
    attributes: Mapping[str, Any] = field(factory=dict[str, Any])
    in_doubt: bool = False


def said(
    name: str,
    status: int,
    error: type[HubResponseError],
    message: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    in_doubt: bool = False,
    extra: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> Refusal:
    """Make a refusal of the Hub itself: JSON, and a code where there is one."""
    given = dict(headers or {})
    if code is not None:
        given["X-Error-Code"] = code
    return Refusal(
        id=name,
        status=status,
        body=json.dumps({"error": message, **(extra or {})}),
        headers=given,
        error=error,
        message=message,
        attributes={"code": code, **attributes},
        in_doubt=in_doubt,
    )


_POLICY: Final = '"fixed window";"api";q=1000;w=300'
_QUOTA_MESSAGE: Final = (
    "We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes"
    " period. Upgrade to a PRO user or Team/Enterprise organization account"
)
_COMMITS: Final = (
    "You have exceeded the rate limit for repository commits (256 per hour)."
    " Try again in about 1 hour."
)
_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>{0}</title></head><body>x</body></html>"
)
_HTML: Final = {"Content-Type": "text/html"}

_FOR_EACH_CASE: Final = ("401-bad-token", "404", "502-html")

# What any endpoint may answer (hub-api.md 1.3 and 6).
REFUSED_ANYWHERE: Final = (
    said(
        "401-bad-token",
        401,
        AuthenticationError,
        "Invalid credentials in Authorization header",
    ),
    said("403", 403, PermissionDeniedError, "You don't have the required permissions"),
    said(
        "429-window",
        429,
        RateLimitError,
        _QUOTA_MESSAGE,
        headers={"RateLimit": '"api";r=0;t=189', "RateLimit-Policy": _POLICY},
        retry_after=189.0,
        remaining=0,
        bucket="api",
    ),
    said(
        "429-action",
        429,
        ActionLimitError,
        _COMMITS,
        headers={"RateLimit": '"api";r=941;t=12', "RateLimit-Policy": _POLICY},
        retry_after=3600.0,
        remaining=941,
        bucket="api",
    ),
    said(
        "429-retry-after",
        429,
        RateLimitError,
        "Too many requests",
        headers={"Retry-After": "7"},
        retry_after=7.0,
        remaining=None,
        bucket=None,
    ),
    said("408", 408, HubResponseError, "Request timeout", in_doubt=True),
    said("500", 500, HubServerError, "Internal Error", in_doubt=True),
    said("503", 503, HubServerError, "Service Unavailable", in_doubt=True),
    said(
        "503-retry-after",
        503,
        HubServerError,
        "Service Unavailable",
        headers={"Retry-After": "3"},
    ),
    Refusal(
        id="502-html",
        status=502,
        body=_PAGE.format("502 Bad Gateway"),
        headers=_HTML,
        error=HubServerError,
        message="502 Bad Gateway",
        in_doubt=True,
    ),
    Refusal(
        id="504-text",
        status=504,
        body="upstream timed out",
        headers={"Content-Type": "text/plain"},
        error=HubServerError,
        message="upstream timed out",
        in_doubt=True,
    ),
    Refusal(
        id="403-html",
        status=403,
        body=_PAGE.format("ERROR: The request could not be satisfied"),
        headers=_HTML,
        error=PermissionDeniedError,
        message="ERROR: The request could not be satisfied",
    ),
    Refusal(
        id="302",
        status=302,
        body="",
        headers={"Location": "https://elsewhere.example/api/spaces?token=x"},
        error=RedirectRefusedError,
        message="the Hub redirected this call, and the redirect was not followed",
        attributes={"location": "https://elsewhere.example/api/spaces"},
    ),
)
# What an endpoint about one Space may answer besides.
REFUSED_FOR_SPACE: Final = (
    *REFUSED_ANYWHERE,
    said(
        "404",
        404,
        SpaceNotFoundError,
        "Repository not found",
        code="RepoNotFound",
    ),
    said("404-no-code", 404, SpaceNotFoundError, "Sorry, we can't find the page"),
    said("404-part", 404, NotFoundError, "Entry not found", code="EntryNotFound"),
    said("403-gated", 403, PermissionDeniedError, "Access is gated", code="GatedRepo"),
    Refusal(
        id="403-header",
        status=403,
        body="",
        headers={"X-Error-Message": "Access to this resource is disabled."},
        error=PermissionDeniedError,
        message="Access to this resource is disabled.",
    ),
)
STATIC: Final = said(
    "400-static",
    400,
    BadRequestError,
    "This operation is not supported on static Spaces",
)
INVALID_BODY: Final = Refusal(
    id="422",
    status=422,
    body='{"errors": [{"message": "bad value"}, {"message": "bad path"}]}',
    error=BadRequestError,
    message="bad value; bad path",
)
NEEDS_PRO: Final = said(
    "402",
    402,
    PaymentRequiredError,
    "Static Spaces are free for everyone, but hosting Gradio and Docker Spaces on free"
    " cpu-basic requires a PRO subscription. Subscribe at https://huggingface.co/pro",
)
NO_PAYMENT_METHOD: Final = said(
    "403-payment",
    403,
    PermissionDeniedError,
    "You must add a payment method to your account to upgrade your space's hardware."
    " Visit your billing settings to add one: https://huggingface.co/settings/billing",
)
EXISTS: Final = said(
    "409",
    409,
    ConflictError,
    "You already created this space repo",
    extra={"url": f"{HUB}/spaces/user/tmp_test_space"},
)


async def check_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Make the call of a case and have it refused; look at all that the error tells."""
    _answer_before(mock, case)
    mock.answer(
        case.method,
        case.path,
        query=case.query,
        body=refusal.body,
        status=refusal.status,
        headers=refusal.headers,
    )
    with pytest.raises(HubResponseError) as caught:
        await case.invoke(client)
    error = caught.value
    assert type(error) is refusal.error
    assert (error.status, error.message) == (refusal.status, refusal.message)
    for name, value in refusal.attributes.items():
        assert getattr(error, name) == value, name
    assert error.request_id == REQUEST_ID
    assert (error.method, error.url) == (case.method, HUB + case.path)
    assert error.attempts == 1
    assert error.body == refusal.body[:1000]
    assert error.outcome_unknown is (refusal.in_doubt and case.is_write)
    assert len(mock.sent) == len(case.before) + 1
    shown = str(error)
    for part in (case.method, case.path, str(refusal.status), refusal.message):
        assert part in shown
    assert REQUEST_ID in shown
    assert len(shown.splitlines()) == 1
    stored = pickle.dumps(error)
    assert str(pickle.loads(stored)) == shown  # noqa: S301  (our own)
    for hidden in (TOKEN, SECRET):
        assert hidden not in shown + repr(error)
        assert hidden.encode() not in stored


BAD_REPO_IDS: Final[tuple[Any, ...]] = (
    "demo",
    "",
    "/",
    "/demo",
    "acme/",
    "acme/demo/x",
    "acme//demo",
    "../demo",
    "acme/..",
    "acme/.",
    "./demo",
    "acme/a..b",
    "acme/de?mo",
    "acme/de#mo",
    "acme/de%2Fmo",
    "acme%2Fdemo",
    "acme/de mo",
    " acme/demo",
    "acme/demo ",
    "acme/demo\n",
    "acme/\x00",
    "acme/\x7f",
    "acmé/demo",
    "acme/dem\u200bo",
    "acme\\demo",
    "acme/@demo",
    f"acme/{'x' * 97}",
    f"{'x' * 97}/demo",
    "https://huggingface.co/spaces/acme/demo",
    None,
    5,
    b"acme/demo",
    ("acme", "demo"),
)
FEW_BAD_REPO_IDS: Final[tuple[Any, ...]] = ("demo", "acme/..", "acme/de?mo", None)
"""For each method; `test_catalog.py` has all of them for one, `test_validate.py` for
what they all call."""
BAD_KEYS: Final[tuple[Any, ...]] = (
    "", "1A", "_A", "A-B", "A.B", "A B", "A=B", "A/B", "Ä", "A\n", "\x00", None, 5, b"A",
)  # fmt: skip
FEW_BAD_KEYS: Final[tuple[Any, ...]] = ("", "A-B", None)
BAD_SLEEP_TIMES: Final[tuple[Any, ...]] = (
    0, -2, -300, True, False, 1.5, 3600.0, float("nan"), float("inf"), "3600", "never",
)  # fmt: skip
BAD_FLAVORS: Final[tuple[Any, ...]] = (
    "", " ", "T4 small", "t4/small", "t4-small\n", "T4-SMALL", "-t4", "t4-", "x" * 65,
    "t4_small", "{}", 5, True, b"t4-small",
)  # fmt: skip
BAD_TIERS: Final[tuple[Any, ...]] = (
    "", "huge", "SMALL", " small", "small\n", 5, True, b"small",
)  # fmt: skip

Refused = Callable[[SpacesClient], Awaitable[Any]]


async def check_not_sent(
    mock: HubMock, client: SpacesClient, refused: Callable[[], Any]
) -> ConfigurationError:
    """Expect a `ConfigurationError`, and that nothing went out."""
    with pytest.raises(ConfigurationError) as caught:
        await refused()
    assert mock.sent == []
    error = caught.value
    assert isinstance(error, ValueError)
    assert not error.outcome_unknown
    assert len(str(error).splitlines()) == 1
    assert not re.search(r"Traceback|object at 0x", str(error))
    return error
