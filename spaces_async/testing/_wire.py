"""A call as it came, and an answer as it goes: no sockets here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from attrs import define, field, frozen

from spaces_async.testing.accounts import Identity

__all__ = ["Call", "ReceivedRequest", "RefusedError", "Reply", "Stream", "refusal"]

JSON_TYPE = "application/json; charset=utf-8"

#: Writes to a stream until it ends; it is given a function that sends bytes.
Stream = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


class RefusedError(Exception):
    """The Hub says no."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


@frozen
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: Headers; the ones of every answer are added later.
        stream: Writes the body instead, as server-sent events.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    stream: Stream | None = None

    @classmethod
    def json(cls, value: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Answer with JSON."""
        body = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return cls(200, body.encode(), {"Content-Type": JSON_TYPE, **(headers or {})})

    @classmethod
    def plain(cls, text: str) -> Reply:
        """Answer with text."""
        return cls(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    @classmethod
    def events(cls, stream: Stream) -> Reply:
        """Answer with server-sent events."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        return cls(200, b"", headers, stream)


def refusal(error: RefusedError) -> Reply:
    """Write a refusal as the Hub does: two headers and a small object."""
    headers = {"Content-Type": JSON_TYPE, **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    if error.message:
        # A header has one line and Latin-1; the body has the text as it is.
        line = " ".join(error.message.split())
        headers["X-Error-Message"] = line.encode("ascii", "replace").decode()
    body = json.dumps({"error": error.message, **error.extra}, ensure_ascii=False)
    return Reply(error.status, body.encode(), headers)


@define(eq=False)
class ReceivedRequest:
    """A request as it reached the Hub, and what became of it.

    Attributes:
        method: "GET", "POST", ...
        path: Path, percent-decoded.
        query: Query parameters in order.
        headers: Headers; names as they came, looked up without regard to case.
        body: The body as it came.
        json: The body as JSON; None without one, or if it is not JSON.
        token: The bearer token.
        at: When it came, in seconds since the Hub was started.
        status: Status of the answer; None while there is none, or if none was given.
        acted: Whether it changed something.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    json: Any = field(repr=False)
    token: str | None = field(repr=False)
    at: float
    status: int | None = None
    acted: bool = False

    @property
    def user_agent(self) -> str | None:
        """What the client calls itself."""
        return self.headers.get("User-Agent")

    @property
    def request_id(self) -> str | None:
        """The `X-Request-Id` that the client has sent."""
        return self.headers.get("X-Request-Id")


@define
class Call:
    """A request on its way to the code that answers it.

    Attributes:
        request: The request.
        who: Who calls.
        params: What the path's template has captured.
    """

    request: ReceivedRequest
    who: Identity
    params: dict[str, str] = field(factory=dict[str, str])

    def first(self, name: str) -> str | None:
        """Return a query parameter; None if it is not there."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Return every value of a repeated query parameter, also as `name[]`."""
        return [v for k, v in self.request.query if k in {name, f"{name}[]"}]

    def flag(self, name: str) -> bool:
        """Whether a query parameter says true."""
        return (self.first(name) or "").lower() in {"1", "true"}

    def number(self, name: str) -> int | None:
        """Return a query parameter that has to be a number above zero."""
        text = self.first(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdecimal() or int(text) < 1:
            raise RefusedError(400, f"✖ Invalid {name} parameter: {text}")
        return int(text)

    def body(self) -> dict[str, Any]:
        """Return the body, which has to be a JSON object."""
        value = self.request.json
        if not isinstance(value, dict):
            raise RefusedError(400, "Invalid JSON body")
        return cast("dict[str, Any]", value)

    def text(self, name: str) -> str:
        """Return a text of the body that has to be there."""
        value = self.body().get(name)
        if not isinstance(value, str) or not value:
            raise RefusedError(400, f'✖ Invalid input: expected string → at "{name}"')
        return value

    def choice(self, name: str, options: Sequence[str]) -> str:
        """Return a text of the body that has to be one of these."""
        value = self.body().get(name)
        if value not in options:
            expected = "|".join(f'"{option}"' for option in sorted(options))
            text = f'✖ Invalid option: expected one of {expected} → at "{name}"'
            raise RefusedError(400, text)
        return str(value)
