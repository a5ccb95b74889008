"""`GET /api/spaces`: filters, order and pages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from spaces_async.testing import _render as render
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spaces_async.testing._world import World
    from spaces_async.testing.space import FakeSpace

__all__ = ["expansion", "list_spaces", "paged"]

_T = TypeVar("_T")
_SORT_KEYS: dict[str, Callable[[FakeSpace], Any]] = {
    "createdAt": lambda space: render.instant(space.created_at),
    "lastModified": lambda space: render.instant(space.last_modified),
    "likes": lambda space: space.likes,
    "likes30d": lambda space: space.likes,
    "trendingScore": lambda space: space.trending_score,
    "downloads": lambda _: 0,
    "mainSize": lambda space: sum(space.files.values()),
    "id": lambda space: space.id,
}


@answers("GET /api/spaces")
def list_spaces(world: World, call: Call) -> Reply:
    world.check_token(call)
    names = expansion(call)
    sort = call.first("sort") or "trendingScore"
    if sort not in _SORT_KEYS:
        raise RefusedError(400, f"✖ Invalid sort parameter: {sort}")
    is_full, linked = call.flag("full"), call.flag("linked")
    if is_full and names:
        raise RefusedError(400, "✖ Cannot use both full and expand parameters")

    def key(space: FakeSpace) -> tuple[Any, str]:
        return _SORT_KEYS[sort](space), space.oid

    found = sorted(
        filter(_filter(world, call), world.spaces.values()),
        key=key,
        reverse=True,
    )
    page, headers = paged(world, call, found, key)
    if names:
        return Reply.json([render.pick(space, names) for space in page], headers)
    rows = [render.summary(space, full=is_full, linked=linked) for space in page]
    return Reply.json(rows, headers)


def expansion(call: Call) -> list[str]:
    """Return the fields that `expand` names."""
    names = call.all("expand")
    for name in names:
        if name not in render.EXPANDABLE:
            options = "|".join(f'"{option}"' for option in sorted(render.EXPANDABLE))
            text = f"✖ Invalid option: expected one of {options} → at expand: {name}"
            raise RefusedError(400, text)
    return names


def paged(
    world: World,
    call: Call,
    items: Sequence[_T],
    key: Callable[[_T], tuple[Any, str]],
    *,
    size: int | None = None,
) -> tuple[list[_T], dict[str, str]]:
    """Return one page of items in descending order, and a link to the next.

    The cursor names the last item, not a position, so creating or deleting an item
    between two pages neither repeats nor hides another one.
    """
    max_size = size or world.options.page_size
    limit = min(call.number("limit") or max_size, max_size)
    cursor = call.first("cursor")
    remaining = list(items)
    if cursor is not None:
        after = _decode_cursor(cursor)
        try:
            remaining = [item for item in remaining if key(item) < after]
        except TypeError:
            raise RefusedError(400, "✖ Invalid cursor") from None
    page = remaining[:limit]
    if len(remaining) <= limit:
        return page, {}
    query = [pair for pair in call.request.query if pair[0] != "cursor"]
    query.append(("cursor", _encode_cursor(key(page[-1]))))
    base = world.options.link_url or call.base
    target = f"{base}{call.request.path}?{urlencode(query)}"
    return page, {"Link": f'<{target}>; rel="next"'}


def _encode_cursor(key: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decode_cursor(cursor: str) -> tuple[Any, str]:
    try:
        value, oid = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError):
        raise RefusedError(400, "✖ Invalid cursor") from None
    return value, str(oid)


def _filter(world: World, call: Call) -> Callable[[FakeSpace], bool]:
    """Return what tells which Spaces a call lists."""
    # Read once: a listing asks it about each Space of the Hub.
    author, search = call.first("author"), (call.first("search") or "").lower()
    tags, models = call.all("filter"), call.all("models")
    datasets = call.all("datasets")
    prefix = "" if author is None else f"{author}/"

    def matches(space: FakeSpace) -> bool:
        return (
            space.id.startswith(prefix)
            and world.visible(space, call)
            and (not search or search in space.id.lower())
            and all(tag in space.tags for tag in tags)
            and all(model in space.models for model in models)
            and all(name in space.datasets for name in datasets)
        )

    return matches
