"""An endpoint, and the table of all, which the functions that answer them fill."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async.testing._wire import Call, Reply
    from spaces_async.testing._world import World

    Handler = Callable[[World, Call], Reply]

__all__ = ["ROUTES", "Route", "answers"]

_PLACEHOLDERS: Final = {
    "{id}": r"(?P<id>[^/]+/[^/]+)",
    "{name}": r"(?P<name>[^/]+)",
    "{rev}": r"(?P<rev>[^/]+)",
    "{kind}": r"(?P<kind>run|build)",
    "{escaped}": r"(?P<name>[^/]+%2[Ff][^/]+)",
    "{rest}": r"(?P<rest>/.*)",
}


@frozen
class Route:
    """One endpoint.

    Attributes:
        method: HTTP method.
        template: Its path with placeholders.
        path: Pattern of the raw path, as in the request line.
        answer: The function that answers it.
    """

    method: str
    template: str
    path: re.Pattern[str]
    answer: Handler

    @property
    def writes(self) -> bool:
        """Whether a successful call changes something."""
        return self.method != "GET"


ROUTES: Final[list[Route]] = []


def answers(line: str) -> Callable[[Handler], Handler]:
    """Let a function answer an endpoint.

    Args:
        line: Method and path, such as "POST /api/spaces/{id}/restart".
    """
    method, path = line.split()
    pieces = re.split(r"(\{\w+\})", path)
    pattern = "".join(_PLACEHOLDERS.get(piece, re.escape(piece)) for piece in pieces)

    def enter(answer: Handler) -> Handler:
        ROUTES.append(Route(method, path, re.compile(pattern), answer))
        return answer

    return enter
