"""The endpoints and the functions that answer them."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from spaces_async.testing import _query as query
from spaces_async.testing import _reads as reads
from spaces_async.testing import _repos as repos
from spaces_async.testing import _streams as streams
from spaces_async.testing import _writes as writes
from spaces_async.testing._wire import Call, RefusedError, Reply
from spaces_async.testing._world import World

__all__ = ["Route", "find"]

_Handler = Callable[[World, Call], Reply]
_PLACEHOLDERS = {
    "{id}": r"(?P<id>[^/]+/[^/]+)",
    "{name}": r"(?P<name>[^/]+)",
    "{rev}": r"(?P<rev>[^/]+)",
    "{kind}": r"(?P<kind>run|build)",
    "{escaped}": r"(?P<name>[^/]+%2[Ff][^/]+)",
}


@frozen
class Route:
    """One endpoint.

    Attributes:
        method: HTTP method.
        path: Pattern of the raw path, as in the request line.
        answer: The function that answers it.
    """

    method: str
    path: re.Pattern[str]
    answer: _Handler

    @property
    def writes(self) -> bool:
        """Whether a successful call changes something."""
        return self.method != "GET"


def _route(line: str, answer: _Handler) -> Route:
    method, path = line.split()
    pieces = re.split(r"(\{\w+\})", path)
    pattern = "".join(_PLACEHOLDERS.get(piece, re.escape(piece)) for piece in pieces)
    return Route(method, re.compile(pattern), answer)


# Fixed paths come first: /api/spaces/zero-gpu/quota looks like the id of a Space.
_ROUTES = [
    _route(line, answer)
    for line, answer in (
        ("GET /api/spaces", query.list_spaces),
        ("GET /api/spaces/hardware", reads.hardware),
        ("GET /api/spaces/templates", reads.templates),
        ("GET /api/spaces/semantic-search", reads.search),
        ("GET /api/spaces/zero-gpu/quota", reads.zero_gpu_quota),
        ("GET /api/spaces/by-subdomain/{name}", reads.by_subdomain),
        ("GET /api/trending", reads.trending),
        ("GET /api/whoami-v2", reads.whoami),
        ("GET /api/settings/repositories", reads.repositories),
        ("GET /api/organizations/{name}/members", reads.members),
        ("GET /api/organizations/{name}/settings/repositories", reads.repositories),
        ("POST /api/repos/create", repos.create),
        ("DELETE /api/repos/delete", repos.delete),
        ("POST /api/repos/move", repos.move),
        ("GET /api/spaces/{id}", reads.info),
        ("GET /api/spaces/{escaped}", reads.bad_name),
        ("GET /api/spaces/{id}/revision/{rev}", reads.info),
        ("GET /api/spaces/{id}/runtime", reads.runtime),
        ("GET /api/spaces/{id}/variables", reads.variables),
        ("GET /api/spaces/{id}/secrets", reads.secrets),
        ("GET /api/spaces/{id}/resource-group", reads.resource_group),
        ("GET /api/spaces/{id}/jwt", reads.jwt),
        ("GET /api/spaces/{id}/logs/{kind}", streams.logs),
        ("GET /api/spaces/{id}/events", streams.events),
        ("GET /api/spaces/{id}/metrics", streams.metrics),
        ("POST /api/spaces/{id}/restart", writes.restart),
        ("POST /api/spaces/{id}/pause", writes.pause),
        ("POST /api/spaces/{id}/sleeptime", writes.sleeptime),
        ("POST /api/spaces/{id}/hardware", writes.hardware),
        ("POST /api/spaces/{id}/replicas", writes.replicas),
        ("POST /api/spaces/{id}/dev-mode", writes.dev_mode),
        ("POST /api/spaces/{id}/variables", writes.add_variable),
        ("DELETE /api/spaces/{id}/variables", writes.delete_variable),
        ("POST /api/spaces/{id}/secrets", writes.add_secret),
        ("DELETE /api/spaces/{id}/secrets", writes.delete_secret),
        ("PUT /api/spaces/{id}/settings", writes.settings),
        ("POST /api/spaces/{id}/resource-group", writes.resource_group),
        ("PUT /api/spaces/{id}/volumes", writes.set_volumes),
        ("DELETE /api/spaces/{id}/volumes", writes.delete_volumes),
        ("POST /api/spaces/{id}/storage", writes.request_storage),
        ("DELETE /api/spaces/{id}/storage", writes.delete_storage),
        ("POST /api/spaces/{id}/custom-domain", writes.custom_domain),
        ("POST /api/spaces/{id}/duplicate", repos.duplicate),
    )
]


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
