"""Answers to writes: runtime and configuration of a Space."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import evolve, frozen

from spaces_async.models import SpaceStage, SpaceStorage
from spaces_async.testing import _render as render
from spaces_async.testing._flavors import FLAVORS, is_free, is_paid
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply
from spaces_async.testing.space import FakeSpace, volumes_of

if TYPE_CHECKING:
    from spaces_async.testing._world import World

_KEY = re.compile(r"[a-zA-Z][_a-zA-Z0-9]*")
_MISSING_PAYMENT = (
    "You must add a payment method to your account to upgrade your space's hardware."
    " Visit your billing settings to add one: https://huggingface.co/settings/billing"
)
_VOLUME_TYPES = frozenset({"bucket", "model", "dataset", "space"})
_MAX_REPLICAS = 64
_SETTINGS = frozenset(
    {
        "private", "visibility", "discussionsDisabled", "discussionsSorting", "gated",
        "orgMembersGated", "gatedNotificationsEmail", "gatedNotificationsMode",
    }
)  # fmt: skip


def _runtime(space: FakeSpace) -> Reply:
    return Reply.json(render.runtime(space))


@answers("POST /api/spaces/{id}/restart")
def restart(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    factory = call.flag("factory")
    if not (factory and space.stage is SpaceStage.PAUSED):
        _check_quota(world, space, space.requested_hardware)
    acted = space.restart(factory=factory)
    return evolve(_runtime(space), acted=acted)


@answers("POST /api/spaces/{id}/pause")
def pause(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    space.pause()
    return _runtime(space)


def seconds_of(value: object, name: str) -> int:
    """Parse a sleep time: whole seconds, or -1 for never."""
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        raise RefusedError(400, f'✖ Invalid input: expected number → at "{name}"')
    return value


@answers("POST /api/spaces/{id}/sleeptime")
def sleeptime(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    space.set_sleep_time(seconds_of(call.body().get("seconds"), "seconds"))
    return _runtime(space)


def check_flavor(world: World, namespace: str, flavor: str) -> None:
    """Reject a paid flavor for a namespace without a payment method."""
    if is_paid(flavor) and not world.accounts.can_pay(namespace):
        raise RefusedError(403, _MISSING_PAYMENT)


@frozen
class Excess:
    """One Space more than an account's compute quota allows.

    Attributes:
        refused: Whether the call is refused; else the Space is paused as it starts.
        refusal: The error of the call.
        message: The error message of the Space that is paused.
    """

    refused: bool
    refusal: str
    message: str


def excess_of(
    world: World, owner: str, flavor: str | None, space: FakeSpace | None = None
) -> Excess | None:
    """Return how a start on this flavor exceeds the owner's compute quota, if it does.

    Args:
        world: The Hub's state.
        owner: The account.
        flavor: The flavor to start on.
        space: The Space to start, which does not count; None is a new one.
    """
    limit = (
        None if flavor is None else world.accounts.flavor_limits.get((owner, flavor))
    )
    if flavor is None or limit is None:
        return None
    current = sum(
        other is not space and other.author == owner and other.holds(flavor)
        for other in world.spaces.values()
    )
    if current < limit.count:
        return None
    return Excess(
        refused=not limit.pauses,
        refusal=f"You've reached your {flavor} quota limit, please upgrade your account,"
        " or pause your previous Spaces to restart this one",
        message=f"Quota exceeded for flavor {flavor} (requested=1): current={current},"
        f" limit={limit.count}",
    )


def _check_quota(world: World, space: FakeSpace, flavor: str | None) -> None:
    """Apply the owner's compute quota to a Space that is about to start."""
    excess = excess_of(world, space.author, flavor, space)
    if excess is not None and excess.refused:
        raise RefusedError(403, excess.refusal)
    space.over_quota = None if excess is None else excess.message


@answers("POST /api/spaces/{id}/hardware")
def hardware(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    flavor = call.choice("flavor", sorted(FLAVORS))
    sleep = call.body().get("sleepTimeSeconds")
    seconds = None if sleep is None else seconds_of(sleep, "sleepTimeSeconds")
    check_flavor(world, space.author, flavor)
    active = space.stage.is_running or space.stage.is_transitional
    if active and flavor != space.requested_hardware:
        _check_quota(world, space, flavor)
    space.request_hardware(flavor)
    if seconds is not None:
        space.set_sleep_time(seconds)
    return _runtime(space)


@answers("POST /api/spaces/{id}/replicas")
def replicas(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    count = call.body().get("replicas")
    if isinstance(count, bool) or not isinstance(count, int):
        raise RefusedError(400, '✖ Invalid input: expected number → at "replicas"')
    if not 1 <= count <= _MAX_REPLICAS:
        raise RefusedError(400, '✖ Invalid input: expected number → at "replicas"')
    if is_free(space.requested_hardware or ""):
        raise RefusedError(400, "Replicas are only available on paid hardware")
    space.replicas = count
    space.notify()
    return _runtime(space)


@answers("POST /api/spaces/{id}/dev-mode")
def dev_mode(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    enabled = call.body().get("enabled")
    if not isinstance(enabled, bool):
        raise RefusedError(400, '✖ Invalid input: expected boolean → at "enabled"')
    if enabled and world.options.require_pro:
        require_plan(world, space.author, "Dev Mode requires a PRO or Team plan")
    space.dev_mode = enabled
    space.notify()
    return _runtime(space)


def require_plan(world: World, namespace: str, message: str) -> None:
    """Reject a feature of paid plans for a namespace without one."""
    if not world.accounts.has_plan(namespace):
        raise RefusedError(402, message)


# Variables and secrets ---------------------------------------------------------------


def key_of(value: object) -> str:
    """Parse the name of a variable or secret."""
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        text = "✖ Invalid string: must match pattern /^[a-zA-Z][_a-zA-Z0-9]*$/"
        raise RefusedError(400, f'{text} → at "key"')
    return value


def setting_of(body: dict[str, Any]) -> tuple[str, str, str | None]:
    """Parse key, value and description."""
    key = key_of(body.get("key"))
    value, description = body.get("value", ""), body.get("description")
    if not isinstance(value, str):
        raise RefusedError(400, '✖ Invalid input: expected string → at "value"')
    if description is not None and not isinstance(description, str):
        raise RefusedError(400, '✖ Invalid input: expected string → at "description"')
    return key, value, description


def _add(world: World, call: Call, kind: Literal["variables", "secrets"]) -> FakeSpace:
    space = world.writable(call)
    key, value, description = setting_of(call.body())
    space.set_config(kind, key, value, description)
    space.configured(collision=space.collides())
    return space


def _drop(world: World, call: Call, kind: Literal["variables", "secrets"]) -> FakeSpace:
    space = world.writable(call)
    store = space.variables if kind == "variables" else space.secrets
    # Deleting a missing key is not an error and changes nothing.
    if store.pop(key_of(call.body().get("key")), None) is not None:
        space.configured(collision=space.collides())
    return space


@answers("POST /api/spaces/{id}/variables")
def add_variable(world: World, call: Call) -> Reply:
    """Answer with the whole map."""
    return Reply.json(render.variables(_add(world, call, "variables").variables))


@answers("DELETE /api/spaces/{id}/variables")
def delete_variable(world: World, call: Call) -> Reply:
    """Answer with the whole map."""
    return Reply.json(render.variables(_drop(world, call, "variables").variables))


@answers("POST /api/spaces/{id}/secrets")
def add_secret(world: World, call: Call) -> Reply:
    """Answer with an empty object."""
    _add(world, call, "secrets")
    return Reply.json({})


@answers("DELETE /api/spaces/{id}/secrets")
def delete_secret(world: World, call: Call) -> Reply:
    """Answer with an empty object."""
    _drop(world, call, "secrets")
    return Reply.json({})


# Settings, volumes, storage, domains -------------------------------------------------


@answers("PUT /api/spaces/{id}/settings")
def settings(world: World, call: Call) -> Reply:
    """Answer with the body that was sent."""
    space = world.writable(call)
    body = call.body()
    for name in body:
        if name not in _SETTINGS:
            raise RefusedError(400, f'✖ Unrecognized key: "{name}"')
    apply_visibility(world, space, body)
    kept = {k: v for k, v in body.items() if k not in {"private", "visibility"}}
    space.settings.update(kept)
    return Reply.json(body)


def apply_visibility(world: World, space: FakeSpace, body: dict[str, Any]) -> None:
    """Apply `visibility` or `private` from a body."""
    wanted = body.get("visibility")
    private = body.get("private")
    if wanted is not None and private is not None:
        raise RefusedError(400, "✖ Use either visibility or private, not both")
    if private is not None:
        if not isinstance(private, bool):
            raise RefusedError(400, '✖ Invalid input: expected boolean → at "private"')
        wanted = "private" if private else "public"
    if wanted is None:
        return
    if wanted == "protected":
        if world.options.require_pro:
            require_plan(world, space.author, "Protected Spaces require a PRO plan")
        space.visibility = "protected"
    elif wanted == "private":
        space.visibility = "private"
    elif wanted == "public":
        space.visibility = "public"
    else:
        text = '✖ Invalid option: expected one of "public"|"private"|"protected"'
        raise RefusedError(400, f'{text} → at "visibility"')


@answers("POST /api/spaces/{id}/resource-group")
def resource_group(world: World, call: Call) -> Reply:
    space = world.writable(call)
    group = call.body().get("resourceGroupId")
    if group is not None and not re.fullmatch(r"[0-9a-f]{24}", str(group)):
        raise RefusedError(400, '✖ Invalid input → at "resourceGroupId"')
    space.resource_group = group
    return Reply.json({"id": group, "name": "group"} if group else None)


def volumes_in(value: object) -> list[dict[str, Any]]:
    """Parse a list of volumes."""
    if not isinstance(value, list) or not value:
        raise RefusedError(400, "✖ Too small: expected array to have >=1 items")
    volumes = cast("list[dict[str, Any]]", value)
    for volume in volumes:
        if volume.get("type") not in _VOLUME_TYPES:
            raise RefusedError(400, '✖ Invalid option → at "volumes.type"')
        if not re.fullmatch(r"[^/]+/[^/]+", str(volume.get("source", ""))):
            raise RefusedError(400, '✖ Invalid source → at "volumes.source"')
        if not str(volume.get("mountPath", "")).startswith("/"):
            text = "✖ Invalid string: must match pattern /^\\//"
            raise RefusedError(400, f'{text} → at "volumes.mountPath"')
    return volumes_of(volumes)


@answers("PUT /api/spaces/{id}/volumes")
def set_volumes(world: World, call: Call) -> Reply:
    """Answer with no body: what it has is not documented."""
    space = world.runnable(call)
    space.volumes = volumes_in(call.body().get("volumes"))
    space.notify()
    return Reply()


@answers("DELETE /api/spaces/{id}/volumes")
def delete_volumes(world: World, call: Call) -> Reply:
    space = world.runnable(call)
    if not space.volumes:
        raise RefusedError(400, "No volumes to delete")
    space.volumes = []
    space.notify()
    return Reply()


def tier_of(value: object, name: str) -> str:
    """Check a tier of the legacy storage."""
    tiers = [tier.value for tier in SpaceStorage]
    if value not in tiers:
        raise RefusedError(
            400, f'✖ Invalid option: expected one of {tiers} → at "{name}"'
        )
    return str(value)


@answers("POST /api/spaces/{id}/storage")
def request_storage(world: World, call: Call) -> Reply:
    """Answer as the Hub did for its legacy storage."""
    space = world.runnable(call)
    tier = call.choice("tier", [tier.value for tier in SpaceStorage])
    space.storage = tier
    return _runtime(space)


@answers("DELETE /api/spaces/{id}/storage")
def delete_storage(world: World, call: Call) -> Reply:
    """Answer as the Hub did for its legacy storage."""
    space = world.runnable(call)
    space.storage = None
    return _runtime(space)


@answers("POST /api/spaces/{id}/custom-domain")
def custom_domain(world: World, call: Call) -> Reply:
    space = world.writable(call)
    domain = call.text("domain")
    if world.options.require_pro:
        require_plan(world, space.author, "Custom domains require a PRO or Team plan")
    if space.visibility == "private":
        raise RefusedError(400, "Custom domains need a public or protected Space")
    if domain not in {known["domain"] for known in space.domains}:
        entry = {"domain": domain, "isCustom": True, "stage": "PENDING_CHALLENGE"}
        space.domains.append(entry)
    return Reply.json({"domain": domain, "stage": "PENDING_CHALLENGE"})
