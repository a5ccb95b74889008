"""Answers to reads: info, search, hardware, accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from spaces_async.testing import _render as render
from spaces_async.testing._flavors import TEMPLATES, hardware_list
from spaces_async.testing._query import expansion, paged
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply
from spaces_async.testing._world import ANONYMOUS, World
from spaces_async.testing.quota import QuotaWindow

if TYPE_CHECKING:
    from spaces_async.testing.space import FakeSpace

_MAX_TRENDING = 20
_DAY_SECONDS = 86400.0
_REFUSED = 400
APPS = "/_app/"
"""Below this the apps answer, which the Hub's quota does not count."""


@answers("GET /api/spaces/{id}")
@answers("GET /api/spaces/{id}/revision/{rev}")
def info(world: World, call: Call) -> Reply:
    space = world.readable(call)
    revision = call.params.get("rev")
    if revision is not None:
        _check_revision(space, unquote(revision))
    return _describe(space, call)


@answers("GET /api/spaces/by-subdomain/{name}")
def by_subdomain(world: World, call: Call) -> Reply:
    for space in world.spaces.values():
        if space.subdomain == call.params["name"]:
            return _describe(world.readable(call, space.id), call)
    return _describe(world.readable(call, "-/-"), call)


def _describe(space: FakeSpace, call: Call) -> Reply:
    names, blobs = expansion(call), call.flag("blobs")
    if names and blobs:
        raise RefusedError(400, "✖ Cannot use both blobs and expand parameters")
    if names:
        return Reply.json(render.pick(space, names))
    return Reply.json(render.full(space, blobs=blobs))


def _check_revision(space: FakeSpace, revision: str) -> None:
    if revision not in {"main", "refs/heads/main", space.sha}:
        text = f"Invalid rev id: {revision}"
        raise RefusedError(404, text, code="RevisionNotFound")


@answers("GET /api/spaces/{escaped}")
def bad_name(_: World, call: Call) -> Reply:
    """Answer a path with a percent-encoded slash."""
    text = f"Invalid repo name: {call.params['name']}"
    raise RefusedError(400, f"{text} - repo name includes an url-encoded slash")


@answers("GET /api/spaces/{id}/runtime")
def runtime(world: World, call: Call) -> Reply:
    return Reply.json(render.runtime(world.readable(call)))


@answers("GET /api/spaces/{id}/variables")
def variables(world: World, call: Call) -> Reply:
    return Reply.json(render.variables(world.writable(call).variables))


@answers("GET /api/spaces/{id}/secrets")
def secrets(world: World, call: Call) -> Reply:
    return Reply.json(render.secrets(world.writable(call).secrets))


@answers("GET /api/spaces/semantic-search")
def search(world: World, call: Call) -> Reply:
    world.check_token(call)
    words = (call.first("q") or "").lower().split()
    sdks, tags = call.all("sdk"), call.all("filter")
    category = call.first("category")
    rows: list[tuple[float, dict[str, Any]]] = []
    for space in world.spaces.values():
        text = f"{space.id} {space.card.get('title')} {space.short_description}"
        hits = sum(word in text.lower() for word in words)
        if not hits and words:
            continue
        if not world.visible(space, call) or (sdks and space.sdk not in sdks):
            continue
        if category and space.card.get("category", "Other") != category:
            continue
        if not all(tag in space.tags for tag in tags):
            continue
        if not (space.stage.is_running or call.flag("includeNonRunning")):
            continue
        score = hits / len(words) if words else 0.0
        shown = score if len(words) > 1 else None
        rows.append((score, render.card(space, shown)))
    rows.sort(key=lambda row: (-row[0], row[1]["id"]))
    return Reply.json([row for _, row in rows])


@answers("GET /api/spaces/hardware")
def hardware(world: World, call: Call) -> Reply:
    world.check_token(call)
    return Reply.json(hardware_list())


@answers("GET /api/spaces/templates")
def templates(world: World, call: Call) -> Reply:
    world.check_token(call)
    return Reply.json({"templates": TEMPLATES})


@answers("GET /api/trending")
def trending(world: World, call: Call) -> Reply:
    world.check_token(call)
    limit = min(call.number("limit") or 10, _MAX_TRENDING)
    found = [space for space in world.spaces.values() if world.visible(space, call)]
    found.sort(key=lambda space: (-space.trending_score, space.id))
    rows = [
        {"repoType": "space", "repoData": render.card(space, None)}
        for space in found[:limit]
    ]
    return Reply.json({"recentlyTrending": rows})


@answers("GET /api/spaces/zero-gpu/quota")
def zero_gpu_quota(world: World, call: Call) -> Reply:
    world.require_token(call)
    user = call.caller.user
    if user is None:
        raise RefusedError(401, ANONYMOUS)
    base = 1500.0 if user.is_pro else 210.0
    used = world.zero_gpu.get(user.name)
    resets = None
    if used is not None:
        resets = render.instant(world.at(world.now() + _DAY_SECONDS))
    remaining = max(0.0, base - (used or 0.0))
    return Reply.json({"base": base, "current": remaining, "resetsAt": resets})


@answers("GET /api/whoami-v2")
def whoami(world: World, call: Call) -> Reply:
    world.require_token(call)
    user, token = call.caller.user, call.caller.token
    if user is None or token is None:
        raise RefusedError(401, ANONYMOUS)
    quota = world.options.whoami_quota
    if quota is not None:
        window = world.whoami.setdefault(user.name, QuotaWindow(quota))
        if not window.take(world.now()):
            text = "You have exceeded the rate limit for the /whoami-v2 endpoint."
            raise RefusedError(429, text)
    role = "fineGrained" if token.role == "none" else token.role
    access: dict[str, Any] = {
        "displayName": f"{user.name}'s token",
        "role": role,
        "createdAt": render.instant(world.at(0.0)),
    }
    if token.role == "none":
        access["fineGrained"] = {"canReadGatedRepos": False, "scoped": []}
    return Reply.json(
        {
            "type": "user",
            "id": f"{_number(user.name):024x}",
            "name": user.name,
            "fullname": user.name.title(),
            "email": f"{user.name}@example.com",
            "emailVerified": True,
            "canPay": user.can_pay,
            "periodEnd": None,
            "isPro": user.is_pro or not world.options.require_pro,
            "avatarUrl": f"{world.url}/avatars/{user.name}.svg",
            "orgs": _orgs(world, user.name),
            "auth": {"type": "access_token", "accessToken": access},
        }
    )


def _orgs(world: World, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index, org in enumerate(world.accounts.orgs.values(), start=1):
        if name not in org.members:
            continue
        entry = {
            "type": "org",
            "id": f"{index:024x}",
            "name": org.name,
            "fullname": org.name.title(),
            "avatarUrl": f"{world.url}/avatars/{org.name}.svg",
            "canPay": org.can_pay,
            "roleInOrg": org.members[name],
        }
        plan = org.plan or (None if world.options.require_pro else "team")
        if plan is not None:  # the Hub leaves it out for a free org
            entry["plan"] = plan
        found.append(entry)
    return found


def _number(name: str) -> int:
    """Return a number for a name that is the same in every process."""
    return int.from_bytes(name.encode()[:12].ljust(12, b"\0"), "big")


@answers("GET /api/organizations/{name}/members")
def members(world: World, call: Call) -> Reply:
    world.require_token(call)
    org = world.accounts.orgs.get(call.params["name"])
    if org is None:
        raise RefusedError(404, "Organization not found")
    search = (call.first("search") or "").lower()
    names = sorted((n for n in org.members if search in n.lower()), reverse=True)
    page, headers = paged(world, call, names, lambda name: (name, name), size=500)
    rows: list[dict[str, Any]] = []
    for name in page:
        user = world.accounts.users.get(name)
        rows.append(
            {
                "_id": f"{_number(name):024x}",
                "user": name,
                "fullname": name.title(),
                "avatarUrl": f"{world.url}/avatars/{name}.svg",
                "isPro": bool(user and user.is_pro),
                "type": "user",
                "role": org.members[name],
            }
        )
    return Reply.json(rows, headers)


@answers("GET /api/settings/repositories")
@answers("GET /api/organizations/{name}/settings/repositories")
def repositories(world: World, call: Call) -> Reply:
    world.require_token(call)
    owner = call.params.get("name") or (
        call.caller.user.name if call.caller.user else ""
    )
    if not world.accounts.may_see(owner, call.caller):
        raise RefusedError(403, "You are not a member of this organization")
    text = (call.first("search") or "").lower()
    found = [
        space
        for space in world.spaces.values()
        if space.author == owner and text in space.id.lower()
    ]
    storage = call.first("sort") == "storage"
    found.sort(
        key=lambda space: (
            (sum(space.files.values()) if storage else 0, space.last_modified, space.id)
        ),
        reverse=call.first("direction") != "asc",
    )
    total = sum(sum(space.files.values()) for space in found) or 1
    rows = [
        {
            "id": space.id,
            "type": "space",
            "updatedAt": render.instant(space.last_modified),
            "visibility": space.visibility,
            "storage": sum(space.files.values()),
            "storagePercent": sum(space.files.values()) / total,
        }
        for space in found
    ]
    return Reply.json(rows[: call.number("limit") or len(rows)])


@answers("GET /api/spaces/{id}/resource-group")
def resource_group(world: World, call: Call) -> Reply:
    space = world.readable(call)
    if space.resource_group is None:
        return Reply.json(None)
    return Reply.json({"id": space.resource_group, "name": "group", "numUsers": 1})


@answers("GET /_app/{name}{rest}")
def app(world: World, call: Call) -> Reply:
    """Answer in place of a Space's app: `GET /_app/{subdomain}/...`.

    The app of a Space that is not public asks for a key, and the token is none.
    """
    named = (s for s in world.spaces.values() if s.subdomain == call.params["name"])
    space = next(named, None)
    if space is None:
        raise RefusedError(404, "no such app")
    key = call.first("__sign") or ""
    if space.visibility == "private" and space.app_keys.get(key, 0.0) <= world.now():
        raise RefusedError(404, "Sorry, we can't find the page you are looking for.")
    if not space.stage.is_running:
        raise RefusedError(503, "Your space is in error, check its status on hf.co")
    status = space.app_status
    if callable(status):
        status = status(call.params["rest"])
    if status >= _REFUSED:
        raise RefusedError(status, "the app is not well")
    return Reply(status, b"ok", {"Content-Type": "text/plain"})


@answers("GET /api/spaces/{id}/jwt")
def jwt(world: World, call: Call) -> Reply:
    world.require_token(call)
    space = world.readable(call)
    seconds = min(call.number("expires_in") or 3600, int(_DAY_SECONDS))
    expires = int(world.at(world.now() + seconds).timestamp())
    token = f"fake.{space.oid}.{world.hex(16)}"
    space.app_keys[token] = world.now() + seconds
    return Reply.json({"accessToken": token, "token": token, "exp": expires})
