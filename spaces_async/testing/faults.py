"""Faults between a client and the Hub, and when they occur."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Self

from attrs import define, field, frozen

__all__ = ["Fault", "FaultHandle", "FaultKind", "FaultList"]


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
    """One fault. Create it with the class methods.

    Attributes:
        kind: What happens.
        acted: Whether the Hub acts on the request before the fault.
        answer_status: Status of the response; None keeps the Hub's own.
        text: Message of the error.
        code: `X-Error-Code`.
        body: Replaces the whole body.
        headers: Headers of the response; they override the usual ones.
        seconds: Length of a delay in seconds.
        left: Calls left according to a rate limit's response.
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
        """Respond with this status; `body` replaces the usual `{"error": message}`."""
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
        """Wait this long on the Hub's clock, then continue as usual.

        If the client disconnects in the meantime, the Hub still acts.
        """
        return cls(FaultKind.DELAY, seconds=seconds)

    @classmethod
    def reset(cls, *, acted: bool = False) -> Self:
        """Break the connection with a TCP reset."""
        return cls(FaultKind.RESET, acted=acted)

    @classmethod
    def disconnect(cls, *, acted: bool = False) -> Self:
        """Close the connection cleanly, without a response."""
        return cls(FaultKind.DISCONNECT, acted=acted)

    @classmethod
    def truncated(cls) -> Self:
        """Act, and close the connection in the middle of the body."""
        return cls(FaultKind.TRUNCATED, acted=True)

    @classmethod
    def invalid_json(cls, *, acted: bool = True) -> Self:
        """Act, and respond with a body that is declared as JSON but is invalid."""
        return cls(FaultKind.ANSWER, acted=acted, body=b'{"stage": "RUNN')

    @classmethod
    def empty(cls, *, acted: bool = True) -> Self:
        """Act, and respond with an empty body."""
        return cls(FaultKind.ANSWER, acted=acted, body=b"")

    @classmethod
    def html(cls, *, status: int = 502, acted: bool = False) -> Self:
        """Respond with a web page, as the CDN in front of the Hub does."""
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
        """Respond with a redirect to `location`."""
        return cls(
            FaultKind.ANSWER,
            acted=acted,
            answer_status=status,
            body=f"Redirecting to {location}".encode(),
            headers={"Location": location, "Content-Type": "text/plain; charset=utf-8"},
        )

    @classmethod
    def raw(cls, data: bytes, *, acted: bool = False) -> Self:
        """Send these bytes instead of a response, then close the connection."""
        return cls(FaultKind.RAW, acted=acted, body=data)

    @classmethod
    def hang(cls, *, acted: bool = False) -> Self:
        """Never respond; the connection stays open until the client closes it."""
        return cls(FaultKind.HANG, acted=acted)

    @classmethod
    def rate_limit(
        cls, retry_after: float | str | None = None, *, remaining: int = 0
    ) -> Self:
        """Respond with 429, as at the end of a quota; `remaining` is sent as `r`."""
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
        """Respond with 429 for one kind of action while quota is left."""
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
    """A fault that was added to a route.

    Attributes:
        route: The route as given.
        fault: The fault.
        times: How often it will still occur; None means always.
        after: How many matching calls still pass first.
        repo_id: The only Space that it applies to; None means all.
        hits: How often it has occurred.
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
        """Remove the fault from its route."""
        self.removed = True

    def assert_met(self, hits: int | None = None) -> None:
        """Fail the test if no call has met the fault.

        Args:
            hits: How often it must have occurred; None means at least once.

        Raises:
            AssertionError: It occurred more or less often.
        """
        __tracebackhide__ = True
        if self.hits == hits or (hits is None and self.hits):
            return
        about = f" for {self.repo_id}" if self.repo_id else ""
        what = f"the fault {self.fault.kind.name} on {self.route!r}{about}"
        if self.hits:
            raise AssertionError(f"{what} occurred {_times(self.hits)}, not {hits}")
        first = (
            f"; {self.after} more calls would have passed first" if self.after else ""
        )
        raise AssertionError(
            f"{what} never occurred: no matching call reached it{first}"
        )

    def fires(self, method: str, path: str, repo_id: str | None) -> bool:
        """Return whether the fault occurs for this call, and count it."""
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


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


_METHODS: Final = frozenset({"*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def _parse(route: str) -> tuple[str, re.Pattern[str]]:
    """Parse "POST /restart", "GET /api/spaces/{id}", "* /restart", "GET *" or "*"."""
    method, _, path = route.strip().partition(" ")
    path = path.strip()
    if method.startswith("/"):
        method, path = "*", method
    if method.upper() not in _METHODS or not (path in {"", "*"} or path[0] == "/"):
        raise ValueError(
            f"{route!r} is not a route; expected a method and the end of a path, such"
            " as 'POST /restart', or '*'"
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


class FaultList:
    """The faults of a Hub, in the order in which they were added."""

    def __init__(self) -> None:
        self._handles: list[FaultHandle] = []

    def add(self, handle: FaultHandle) -> FaultHandle:
        """Add a fault."""
        self._handles.append(handle)
        return handle

    def unmet(self) -> list[FaultHandle]:
        """Return the faults that no call has met and that were not removed."""
        return [
            handle for handle in self._handles if not (handle.hits or handle.removed)
        ]

    def clear(self) -> None:
        """Remove all faults."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def pick(
        self, method: str, path: str, repo_id: str | None
    ) -> tuple[float, Fault | None]:
        """Return the delay of a call, and the fault that follows it.

        Delays add up. Of the other faults, only the first matching one occurs; those
        after it do not count the call.
        """
        delay = 0.0
        for handle in self._handles:
            if not handle.fires(method, path, repo_id):
                continue
            if handle.fault.kind is not FaultKind.DELAY:
                return delay, handle.fault
            delay += handle.fault.seconds
        return delay, None
