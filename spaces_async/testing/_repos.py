"""Answers to calls about whole repositories: create, duplicate, move, delete."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, cast

from spaces_async.models import SpaceStage
from spaces_async.testing import _writes as writes
from spaces_async.testing._flavors import FLAVORS, TEMPLATES, is_free
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply
from spaces_async.testing.space import FakeSpace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async.testing._world import World

_NAME = re.compile(r"(?!.*(--|\.\.))[\w][\w.\-]{0,95}", re.ASCII)
_SDKS = ("docker", "gradio", "static")
_NO_PRO = (
    "Static Spaces are free for everyone, but hosting Gradio and Docker Spaces on free"
    " cpu-basic requires a PRO subscription. Subscribe at https://huggingface.co/pro"
)


@answers("POST /api/repos/create")
def create(world: World, call: Call) -> Reply:
    world.require_token(call)
    body = call.body()
    _only_spaces(body)
    repo_id = _repo_id_in(call, body)
    owner = repo_id.partition("/")[0]
    template = _template(body)
    sdk = body.get("sdk") or (template or {}).get("sdk")
    if sdk not in _SDKS:
        options = "|".join(f'"{option}"' for option in _SDKS)
        raise RefusedError(
            400, f'✖ Invalid option: expected one of {options} → at "sdk"'
        )
    if not world.accounts.may_create(owner, call.caller):
        text = f'You don\'t have the rights to create a space under the namespace "{owner}"'
        raise RefusedError(403, text)
    flavor = _flavor(world, body, owner, sdk)
    if repo_id in world.spaces:
        raise _conflict(world, repo_id)
    over_quota = _over_quota(world, owner, sdk, flavor)
    space = _make(world, call, repo_id, sdk=sdk, flavor=flavor)
    files = cast("list[dict[str, Any]]", body.get("files") or [])
    space.files = {".gitattributes": 1519, "README.md": 240}
    for entry in files:
        space.files[str(entry.get("path"))] = len(str(entry.get("content", "")))
    if template is not None:
        space.files.update(FakeSpace.default_files(sdk))
    space.short_description = body.get("short_description")
    _apply_fields(world, space, body)
    _first_build(space, over_quota)
    url = _url(world, repo_id)
    return Reply.json({"url": url, "name": repo_id, "id": space.oid})


@answers("POST /api/spaces/{id}/duplicate")
def duplicate(world: World, call: Call) -> Reply:
    """Copy variables but not secrets."""
    world.require_token(call)
    source = world.readable(call)
    body = call.body()
    target = _valid_repo_id(call.text("repository"))
    owner = target.partition("/")[0]
    if not world.accounts.may_create(owner, call.caller):
        text = f'You don\'t have the rights to create a space under the namespace "{owner}"'
        raise RefusedError(403, text)
    flavor = _flavor(world, body, owner, source.sdk)
    if target in world.spaces:
        raise _conflict(world, target)
    over_quota = _over_quota(world, owner, source.sdk, flavor)
    space = _make(world, call, target, sdk=source.sdk, flavor=flavor)
    space.files = dict(source.files)
    space.visibility = source.visibility
    space.card = dict(source.card)
    space.tags = list(source.tags)
    space.models, space.datasets = list(source.models), list(source.datasets)
    for key, setting in source.variables.items():
        space.set_config("variables", key, setting.value, setting.description)
    _apply_fields(world, space, body)
    _first_build(space, over_quota)
    return Reply.json({"url": _url(world, target)})


@answers("DELETE /api/repos/delete")
def delete(world: World, call: Call) -> Reply:
    """Answer with the text OK."""
    world.require_token(call)
    body = call.body()
    _only_spaces(body)
    space = world.writable(call, _repo_id_in(call, body))
    del world.spaces[space.id]
    space.set_stage(SpaceStage.DELETING)
    return Reply.plain("OK")


@answers("POST /api/repos/move")
def move(world: World, call: Call) -> Reply:
    world.require_token(call)
    _only_spaces(call.body())
    source = world.writable(call, _valid_repo_id(call.text("fromRepo")))
    target = _valid_repo_id(call.text("toRepo"))
    if not world.accounts.may_create(target.partition("/")[0], call.caller):
        raise RefusedError(403, "You don't have the rights to move a repo there")
    if target in world.spaces:
        raise _conflict(world, target)
    world.move(source, target)
    return Reply.plain("OK")


def _only_spaces(body: dict[str, Any]) -> None:
    if body.get("type") != "space":
        raise RefusedError(400, '✖ This Hub has only Spaces → at "type"')


def _repo_id_in(call: Call, body: dict[str, Any]) -> str:
    """Return the id that `name` and `organization` describe."""
    name = call.text("name")
    if "/" in name:
        return _valid_repo_id(name)
    user = call.caller.user.name if call.caller.user else ""
    return _valid_repo_id(f"{body.get('organization') or user}/{name}")


def _valid_repo_id(repo_id: str) -> str:
    owner, _, name = repo_id.partition("/")
    if not (_NAME.fullmatch(owner) and _NAME.fullmatch(name)):
        raise RefusedError(400, f"Invalid repo name: {repo_id}")
    return repo_id


def _template(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("template")
    if wanted is None:
        return None
    for template in TEMPLATES:
        if template["repoId"] == wanted:
            return template
    raise RefusedError(400, f"Unknown template: {wanted}")


def _flavor(world: World, body: dict[str, Any], owner: str, sdk: str) -> str:
    flavor = body.get("hardware") or "cpu-basic"
    flavor = "zero-a10g" if flavor == "zerogpu" else flavor
    if flavor not in FLAVORS:
        options = "|".join(f'"{option}"' for option in sorted(FLAVORS))
        text = f'✖ Invalid option: expected one of {options} → at "hardware"'
        raise RefusedError(400, text)
    if world.options.require_pro and sdk != "static" and flavor == "cpu-basic":
        writes.require_plan(world, owner, _NO_PRO)
    writes.check_flavor(world, owner, flavor)
    return str(flavor)


def _make(
    world: World, call: Call, repo_id: str, *, sdk: str, flavor: str
) -> FakeSpace:
    return world.create(
        repo_id,
        sdk=sdk,
        hardware=flavor,
        visibility="public",
        creator=call.caller.user.name if call.caller.user else None,
    )


def _apply_fields(world: World, space: FakeSpace, body: dict[str, Any]) -> None:
    """Apply the fields that create and duplicate share; undo all on an error."""
    try:
        writes.apply_visibility(world, space, body)
        for kind in _KINDS:
            entries = cast("Iterable[dict[str, Any]]", body.get(kind) or [])
            for entry in entries:
                space.set_config(kind, *writes.setting_of(entry))
        if body.get("volumes"):
            space.volumes = writes.volumes_in(body["volumes"])
        if body.get("sleepTimeSeconds") is not None:
            seconds = writes.seconds_of(body["sleepTimeSeconds"], "sleepTimeSeconds")
            space.set_sleep_time(seconds)
        if body.get("storageTier") is not None:
            space.storage = writes.tier_of(body["storageTier"], "storageTier")
    except RefusedError:
        del world.spaces[space.id]
        raise
    space.resource_group = body.get("resourceGroupId")
    space.region = body.get("region") or "us"
    space.dev_mode = bool(body.get("devModeEnabled"))


_KINDS: tuple[Literal["variables", "secrets"], ...] = ("variables", "secrets")


def _over_quota(world: World, owner: str, sdk: str, flavor: str) -> str | None:
    """Return the message with which the first start ends in PAUSED, if it does."""
    excess = None if sdk == "static" else writes.excess_of(world, owner, flavor)
    if excess is not None and excess.refused:
        raise RefusedError(402, _NO_PRO if is_free(flavor) else excess.refusal)
    return None if excess is None else excess.message


def _first_build(space: FakeSpace, over_quota: str | None) -> None:
    if space.is_static:
        space.set_stage(SpaceStage.RUNNING)
    elif not space.has_app():
        space.set_stage(SpaceStage.NO_APP_FILE)
    else:
        space.over_quota = over_quota
        space.build(fresh=True)


def _url(world: World, repo_id: str) -> str:
    return f"{world.url}/spaces/{repo_id}"


def _conflict(world: World, repo_id: str) -> RefusedError:
    text = "You already created this space repo"
    return RefusedError(409, text, extra={"url": _url(world, repo_id)})
