"""Which endpoint a call, or the route of a fault, is for."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from spaces_async.testing import _billing as billing
from spaces_async.testing import _query as query
from spaces_async.testing import _reads as reads
from spaces_async.testing import _repos as repos
from spaces_async.testing import _streams as streams
from spaces_async.testing import _writes as writes
from spaces_async.testing._names import close_to
from spaces_async.testing._route import ROUTES, Route
from spaces_async.testing._wire import RefusedError

__all__ = ["check_route", "find"]

# The import of these has filled the table.
_ANSWERS: Final = (query, reads, billing, repos, streams, writes)

# The more of a path is fixed at its beginning, the earlier it comes:
# /api/spaces/zero-gpu/quota looks like the id of a Space.
_ROUTES: Final = sorted(
    ROUTES, key=lambda route: len(route.template.partition("{")[0]), reverse=True
)


def find(method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
    """Return the endpoint of a call and the parameters in its path.

    Raises:
        RefusedError: There is no such endpoint.
    """
    for route in _ROUTES:
        found = route.path.fullmatch(raw_path)
        if found is not None and route.method == method:
            return route, found.groupdict()
    text = "Sorry, we can't find the page you are looking for."
    raise RefusedError(404, text)


# Routes of faults --------------------------------------------------------------------


def check_route(route: str) -> None:
    """Check that a fault's route can match a call to one of these endpoints.

    A whole path that resembles none of them is allowed: a fault may answer for an
    endpoint that this Hub does not have.

    Raises:
        ValueError: The route is misspelt.
    """
    method, _, path = route.strip().partition(" ")
    if method.startswith("/"):
        method, path = "*", method
    method, path = method.upper(), path.strip()
    if path in {"", "*"}:
        return
    matching = [known for known in _ENDPOINTS if _matches(known.template, path)]
    if any(method in {"*", known.method} for known in matching):
        return
    allowed = [e for e in _ENDPOINTS if method in {"*", e.method}] or _ENDPOINTS
    for known in [*matching, *allowed]:
        meant = _corrected(known.template, path)
        if meant is not None:
            verb = known.method if matching or method == "*" else method
            raise ValueError(
                f"the route {route!r} matches no endpoint; did you mean '{verb} {meant}'?"
            )
    if not path.startswith("/api/"):
        ends = sorted({f"/{known.template.split('/')[-1]}" for known in allowed})
        raise ValueError(
            f"the route {route!r} matches no endpoint; its path should end with one of"
            f" {', '.join(ends)}"
        )


class _Endpoint(NamedTuple):
    method: str
    template: str


_ENDPOINTS = [
    _Endpoint(route.method, route.template.replace("{kind}", kind))
    for route in _ROUTES
    for kind in (("run", "build") if "{kind}" in route.template else ("",))
]
_LAST_WORDS = frozenset(
    word
    for known in _ENDPOINTS
    for word in [known.template.split("/")[-1]]
    if "{" not in word
)


def _segments(path: str) -> list[str | None]:
    """Split a path; None stands for a placeholder."""
    path = path.replace("{id}", "{owner}/{name}")
    return [None if "{" in part else part for part in path.strip("/").split("/")]


def _aligned(template: str, path: str) -> list[tuple[str | None, str | None]]:
    """Return the segments of an endpoint with those of a path, the last ones first."""
    known, wanted = _segments(template), _segments(path)
    is_whole = path.startswith("/api/")
    if len(wanted) > len(known) or (is_whole and len(wanted) != len(known)):
        return []
    return list(zip(reversed(known), reversed(wanted), strict=False))


def _matches(template: str, path: str) -> bool:
    """Whether calls to an endpoint can have a path that is this, or ends like this."""
    pairs = _aligned(template, path)
    if not pairs or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return False
    last, word = pairs[0]
    if last is not None or word is None:
        return True
    # The name of a Space can be any word, but is more likely a misspelt last word.
    return len(pairs) > 1 and close_to(word, _LAST_WORDS) in {None, word}


def _corrected(template: str, path: str) -> str | None:
    """Return a path with its one misspelt word as this endpoint spells it, if any."""
    pairs = _aligned(template, path)
    wrong = [pair for pair in pairs if None not in pair and pair[0] != pair[1]]
    if pairs and not wrong and _matches(template, path):
        return path
    if len(wrong) != 1:
        return None
    known, word = wrong[0]
    if known is None or word is None or close_to(word, [known]) is None:
        return None
    return re.sub(rf"(?<=/){re.escape(word)}(?=/|$)", known, path)
