"""Requests and responses of the Hub, without sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from attrs import define, field, frozen

from spaces_async.testing.accounts import Identity

__all__ = [
    "Call",
    "MovedError",
    "ReceivedRequest",
    "RefusedError",
    "Reply",
    "Stream",
    "moved",
    "refusal",
]

JSON_TYPE = "application/json; charset=utf-8"

#: Writes a stream until it ends; it receives a function that sends bytes.
Stream = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


class RefusedError(Exception):
    """The Hub rejects a request."""

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


class MovedError(Exception):
    """The Space of a request has another id by now."""

    def __init__(self, repo_id: str) -> None:
        super().__init__(repo_id)
        self.repo_id = repo_id


@frozen
class Reply:
    """A response.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: Its own headers; those of every response are added later.
        stream: Writes server-sent events instead of the body.
        acted: Whether a write changed something.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    stream: Stream | None = None
    acted: bool = True

    @classmethod
    def json(cls, value: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Return a JSON response."""
        body = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return cls(200, body.encode(), {"Content-Type": JSON_TYPE, **(headers or {})})

    @classmethod
    def plain(cls, text: str) -> Reply:
        """Return a plain-text response."""
        return cls(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    @classmethod
    def events(cls, stream: Stream) -> Reply:
        """Return a response with server-sent events."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        return cls(200, b"", headers, stream)


def refusal(error: RefusedError) -> Reply:
    """Return the Hub's error response: two headers and a small JSON object."""
    headers = {"Content-Type": JSON_TYPE, **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    if error.message:
        # A header is one line of ASCII here; the body has the message as it is.
        line = " ".join(error.message.split())
        headers["X-Error-Message"] = re.sub(r"[^\x20-\x7e]", "?", line)
    body = json.dumps({"error": error.message, **error.extra}, ensure_ascii=False)
    return Reply(error.status, body.encode(), headers)


def moved(call: Call, error: MovedError) -> Reply:
    """Return the Hub's redirect: the same path with the id that the Space has now."""
    before, after = (
        f"/api/spaces/{name}" for name in (call.params["id"], error.repo_id)
    )
    location = call.target.replace(before, after, 1)
    body = f"Temporary Redirect. Redirecting to {location}".encode()
    headers = {"Location": location, "Content-Type": "text/plain; charset=utf-8"}
    return Reply(307, body, headers)


@define(eq=False)
class ReceivedRequest:
    """A request as it reached the Hub, and its result.

    Attributes:
        method: "GET", "POST", ...
        path: Path, percent-decoded, without the Hub's prefix.
        query: Query parameters in order.
        headers: Headers; names as received, looked up case-insensitively.
        body: The body as received.
        json: The body parsed as JSON; None if it is empty or not JSON.
        token: The bearer token.
        at: When it arrived, in seconds since the Hub was started.
        status: Status of the response; None if none has been sent.
        acted: Whether the request changed something.
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
        """The client's `User-Agent`."""
        return self.headers.get("User-Agent")

    @property
    def request_id(self) -> str | None:
        """The `X-Request-Id` that the client sent."""
        return self.headers.get("X-Request-Id")


@define
class Call:
    """A request for the function that answers it.

    Attributes:
        request: The request.
        caller: The identity of the caller.
        base: The base URL under which the caller reaches the Hub.
        target: The path and query of the request line, as received.
        params: The parameters in the path.
    """

    request: ReceivedRequest
    caller: Identity
    base: str
    target: str
    params: dict[str, str] = field(factory=dict[str, str])

    def first(self, name: str) -> str | None:
        """Return a query parameter; None if it is missing."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Return all values of a query parameter, given as `name` or `name[]`."""
        return [v for k, v in self.request.query if k in {name, f"{name}[]"}]

    def flag(self, name: str) -> bool:
        """Whether a query parameter is true."""
        return (self.first(name) or "").lower() in {"1", "true"}

    def number(self, name: str) -> int | None:
        """Return a query parameter that must be a number above 0."""
        text = self.first(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdecimal() or int(text) < 1:
            raise RefusedError(400, f"✖ Invalid {name} parameter: {text}")
        return int(text)

    def body(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object."""
        value = self.request.json
        if not isinstance(value, dict):
            raise RefusedError(400, "Invalid JSON body")
        return cast("dict[str, Any]", value)

    def text(self, name: str) -> str:
        """Return a required string from the body."""
        value = self.body().get(name)
        if not isinstance(value, str) or not value:
            raise RefusedError(400, f'✖ Invalid input: expected string → at "{name}"')
        return value

    def choice(self, name: str, options: Sequence[str]) -> str:
        """Return a string from the body that must be one of the options."""
        value = self.body().get(name)
        if value not in options:
            expected = "|".join(f'"{option}"' for option in sorted(options))
            text = f'✖ Invalid option: expected one of {expected} → at "{name}"'
            raise RefusedError(400, text)
        return str(value)
