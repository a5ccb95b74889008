"""Things that go wrong between a client and the Hub, and when they do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Self

from attrs import define, field, frozen

__all__ = ["Fault", "FaultBook", "FaultHandle", "FaultKind"]


class FaultKind(Enum):
    """What a fault does to a call."""

    ANSWER = auto()
    RAW = auto()
    DELAY = auto()
    RESET = auto()
    DISCONNECT = auto()
    TRUNCATED = auto()
    HANG = auto()
    WINDOW_LIMIT = auto()


@frozen
class Fault:
    """One thing that goes wrong. Made with the class methods.

    Attributes:
        kind: What happens.
        acted: Whether the Hub does what it was asked to, before things go wrong.
        answer_status: Status of the answer; None keeps the one that the Hub has.
        text: Text of the error, or a document that replaces the answer.
        code: `X-Error-Code`.
        body: The whole body in place of the usual one.
        headers: Headers of the answer; they win over the usual ones.
        seconds: How long a delay lasts.
        left: What a rate limit says is left of the quota.
    """

    kind: FaultKind
    acted: bool = False
    answer_status: int | None = None
    text: str = ""
    code: str | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict[str, str])
    seconds: float = 0.0
    left: int | None = None

    @classmethod
    def status(
        cls,
        status: int,
        *,
        message: str = "",
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        body: bytes | str | None = None,
        acted: bool = False,
    ) -> Self:
        """Answer with this status; `body` replaces the usual `{"error": message}`."""
        return cls(
            FaultKind.ANSWER,
            acted=acted,
            answer_status=status,
            text=message,
            code=code,
            body=body.encode() if isinstance(body, str) else body,
            headers=dict(headers or {}),
        )

    @classmethod
    def delay(cls, seconds: float) -> Self:
        """Wait so long on the Hub's clock, then go on as usual.

        A client that goes away in the meantime does not stop the Hub from acting.
        """
        return cls(FaultKind.DELAY, seconds=seconds)

    @classmethod
    def reset(cls, *, acted: bool = False) -> Self:
        """Break the connection with a TCP reset."""
        return cls(FaultKind.RESET, acted=acted)

    @classmethod
    def disconnect(cls, *, acted: bool = False) -> Self:
        """Close the connection in good order, without an answer."""
        return cls(FaultKind.DISCONNECT, acted=acted)

    @classmethod
    def truncated(cls) -> Self:
        """Act, and close the connection in the middle of the body."""
        return cls(FaultKind.TRUNCATED, acted=True)

    @classmethod
    def invalid_json(cls, *, acted: bool = True) -> Self:
        """Act, and answer with a body that claims to be JSON and is not."""
        return cls(FaultKind.ANSWER, acted=acted, body=b'{"stage": "RUNN')

    @classmethod
    def empty(cls, *, acted: bool = True) -> Self:
        """Act, and answer with an empty body."""
        return cls(FaultKind.ANSWER, acted=acted, body=b"")

    @classmethod
    def html(cls, *, status: int = 502, acted: bool = False) -> Self:
        """Answer with a web page, as the CDN in front of the Hub does."""
        page = f"<html><head><title>{status}</title></head><body>Oops</body></html>"
        return cls(
            FaultKind.ANSWER,
            acted=acted,
            answer_status=status,
            body=page.encode(),
            headers={"Content-Type": "text/html; charset=utf-8"},
        )

    @classmethod
    def redirect(cls, location: str, *, status: int = 302, acted: bool = False) -> Self:
        """Send the client somewhere else."""
        return cls(
            FaultKind.ANSWER,
            acted=acted,
            answer_status=status,
            body=f"Redirecting to {location}".encode(),
            headers={"Location": location, "Content-Type": "text/plain; charset=utf-8"},
        )

    @classmethod
    def raw(cls, data: bytes, *, acted: bool = False) -> Self:
        """Send these bytes in place of an answer, then close the connection."""
        return cls(FaultKind.RAW, acted=acted, body=data)

    @classmethod
    def hang(cls, *, acted: bool = False) -> Self:
        """Never answer; the connection stays open until somebody closes it."""
        return cls(FaultKind.HANG, acted=acted)

    @classmethod
    def rate_limit(
        cls, retry_after: float | str | None = None, *, remaining: int = 0
    ) -> Self:
        """Answer 429 as at the end of a quota window, with `r` as given."""
        return cls(
            FaultKind.WINDOW_LIMIT,
            answer_status=429,
            headers=_retry_after(retry_after),
            left=remaining,
        )

    @classmethod
    def action_limit(
        cls,
        message: str = (
            "You have exceeded the rate limit for this action (256 per hour)."
            " Try again in about 1 hour."
        ),
        *,
        retry_after: float | str | None = None,
    ) -> Self:
        """Answer 429 for one kind of action, while the quota is not used up."""
        return cls(
            FaultKind.ANSWER,
            answer_status=429,
            text=message,
            headers=_retry_after(retry_after),
        )


def _retry_after(value: float | str | None) -> dict[str, str]:
    if value is None:
        return {}
    return {"Retry-After": value if isinstance(value, str) else f"{value:g}"}


@define(eq=False)
class FaultHandle:
    """A fault that was put on a route.

    Attributes:
        route: The route as it was given.
        fault: What happens.
        times: How often it still happens; None is always.
        after: How many matching calls still pass before.
        repo_id: The only Space that it is for; None is every one.
        hits: How often it has happened.
    """

    route: str
    fault: Fault
    times: int | None = 1
    after: int = 0
    repo_id: str | None = None
    hits: int = 0
    removed: bool = False
    _method: str = field(init=False)
    _path: re.Pattern[str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._method, self._path = _parse(self.route)

    def remove(self) -> None:
        """Take the fault off its route."""
        self.removed = True

    def fires(self, method: str, path: str, repo_id: str | None) -> bool:
        """Decide for one call, and count it."""
        if self.removed or self.times == 0:
            return False
        if self.repo_id is not None and self.repo_id != repo_id:
            return False
        if self._method not in {"*", method} or not self._path.search(path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True


_METHODS: Final = frozenset({"*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def _parse(route: str) -> tuple[str, re.Pattern[str]]:
    """Read "POST /restart", "GET /api/spaces/{id}", "* /restart", "GET *" or "*"."""
    method, _, path = route.strip().partition(" ")
    path = path.strip()
    if method.startswith("/"):
        method, path = "*", method
    if method.upper() not in _METHODS or not (path in {"", "*"} or path[0] == "/"):
        raise ValueError(
            f"{route!r} is no route: it takes a method and the end of a path, such as"
            " 'POST /restart', or '*'"
        )
    if path in {"", "*"}:
        return method.upper(), re.compile("")
    whole = path.startswith("/api/")
    pieces = re.split(r"(\{[^}]*\})", path)
    pattern = "".join(
        {"{id}": "[^/]+/[^/]+"}.get(piece, "[^/]+")
        if piece.startswith("{")
        else re.escape(piece)
        for piece in pieces
    )
    return method.upper(), re.compile(f"{'^' if whole else ''}{pattern}$")


class FaultBook:
    """All faults that are set, in the order in which they were."""

    def __init__(self) -> None:
        self._handles: list[FaultHandle] = []

    def add(self, handle: FaultHandle) -> FaultHandle:
        """Set a fault."""
        self._handles.append(handle)
        return handle

    def clear(self) -> None:
        """Remove them all."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def pick(
        self, method: str, path: str, repo_id: str | None
    ) -> tuple[float, Fault | None]:
        """Return how long this call is delayed, and what goes wrong after that.

        Delays add up; of the other faults the first one that is due happens, and
        those behind it do not see the call.
        """
        delay = 0.0
        for handle in self._handles:
            if not handle.fires(method, path, repo_id):
                continue
            if handle.fault.kind is not FaultKind.DELAY:
                return delay, handle.fault
            delay += handle.fault.seconds
        return delay, None
