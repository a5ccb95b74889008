"""Each write that the Hub takes for a Space, described once.

A function here checks its arguments and returns the `Write`. Its name is the name of the
operation, its parameters are those of the resource method, of the bulk method and of the
journal. Nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from spaces_async import _validate
from spaces_async._operations import requests, state
from spaces_async._operations.evidence import (
    Variables,
    own_space_was_created,
    restarted,
    runtime_has,
    runtime_shows,
    secret_is_gone,
    secret_was_written,
    space_is_gone,
    space_moved,
    space_was_created,
    variable_is,
    variable_is_gone,
    visibility_is,
)
from spaces_async._operations.state import NEVER
from spaces_async._operations.write import Edit, Series, Write, secret_write, write
from spaces_async._redacted import Redacted
from spaces_async._wire.calls import Circumstances, Done, Evidence, OnLost, Verdict
from spaces_async._wire.calls import nothing as no_content
from spaces_async._wire.compute_quota import read_compute_quota
from spaces_async._wire.converter import (
    DecodeError,
    JsonObject,
    decode_object,
    decode_runtime,
    decode_written_variables,
    is_unreadable,
)
from spaces_async.errors import ConfigurationError
from spaces_async.models import (
    CreatedSpace,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    SpaceStorage,
    SpaceVariable,
    Volume,
)

Entries = Mapping[str, str] | Iterable[Mapping[str, str] | SpaceVariable] | None
"""`{"KEY": "value"}`, or `[{"key", "value", "description"}, ...]`."""

Volumes = tuple[Volume, ...]
BoxedEntries = Entries | Redacted[Entries]

_REGIONS: Final = {"us": "us", "eu": "eu"}
_GATED: Final = ("auto", "manual", False)


# How a Space runs ----------------------------------------------------------------


@write
def restart(*, factory_reboot: bool = False) -> Write[SpaceRuntime]:
    """Restart a Space; with `factory_reboot` build it again without the cache."""
    factory = _validate.flag(factory_reboot, "factory_reboot")
    return Write(
        "POST",
        "restart",
        query=(("factory", "true"),) if factory else (),
        decode=decode_runtime,
        on_lost=OnLost.VERIFY if factory else OnLost.VERIFY_THEN_REPEAT,
        evidence=restarted(factory_reboot=factory),
        ineffective=_refuse_reboot if factory else _refuse_start,
        needs_container=True,
        fields=(state.stage(SpaceStage.RUNNING),),
        snapshot=state.RUNTIME,
        restarts=True,
    )


def _refuse_start(runtime: SpaceRuntime) -> str | None:
    """Say why a restart left a Space paused: the Hub accepts it all the same."""
    if runtime.stage is not SpaceStage.PAUSED:
        return None
    used_up = read_compute_quota(runtime.error_message) is not None
    return runtime.error_message if used_up else None


def _refuse_reboot(runtime: SpaceRuntime) -> str | None:
    """Say why a factory reboot left a Space paused: the Hub accepts it all the same."""
    if runtime.stage is not SpaceStage.PAUSED:
        return None
    return _refuse_start(runtime) or (
        "the Space is paused, and a factory reboot does not start a paused Space:"
        " restart it first, without a factory reboot"
    )


@write
def pause() -> Write[SpaceRuntime]:
    """Pause a Space."""
    return Write(
        "POST",
        "pause",
        decode=decode_runtime,
        evidence=runtime_shows(lambda r: r.stage is SpaceStage.PAUSED),
        needs_container=True,
        inverse=_restart_what_ran,
        fields=(state.stage(SpaceStage.PAUSED),),
        snapshot=state.RUNTIME,
    )


def _restart_what_ran(before: SpaceRuntime) -> Write[SpaceRuntime] | None:
    ran = before.stage.is_running or before.stage.is_transitional
    return restart() if ran else None


@write
def request_hardware(
    flavor: SpaceHardware | str, *, sleep_time: int | None = None
) -> Write[SpaceRuntime]:
    """Ask for a hardware flavor, and set the sleep time with it if one is given."""
    wanted = _validate.flavor(flavor)
    body: dict[str, Any] = {"flavor": wanted}
    fields = ["requested_hardware"]
    if sleep_time is not None:
        body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)
        fields.append("sleep_time")

    def shows(runtime: SpaceRuntime) -> bool | None:
        if runtime.requested_hardware != wanted:
            return False
        if sleep_time is None:
            return True
        return state.sleep_time(sleep_time).shows(runtime)

    def inverse(before: SpaceRuntime) -> Write[SpaceRuntime] | None:
        flavor = before.requested_hardware or before.hardware
        if flavor is None or is_unreadable(before, *fields):
            return None
        if sleep_time is None:
            return request_hardware(flavor)
        seconds = state.sleep_time(sleep_time).value(before)
        if seconds is state.UNTOLD:
            return None
        return request_hardware(flavor, sleep_time=seconds)

    return Write(
        "POST",
        "hardware",
        body=body,
        decode=decode_runtime,
        evidence=runtime_shows(shows, *fields),
        refine=requests.name_hardware(wanted),
        needs_container=True,
        advice=None if sleep_time is None else _fixed_sleep_time,
        inverse=inverse,
        fields=(
            state.hardware(wanted),
            *(() if sleep_time is None else (state.sleep_time(sleep_time),)),
        ),
        snapshot=state.RUNTIME,
        restarts=True,
    )


@write
def set_sleep_time(seconds: int) -> Write[SpaceRuntime]:
    """Set after how many seconds without a visit a Space goes to sleep."""
    wanted = _validate.sleep_time(seconds)
    field = state.sleep_time(wanted)
    return Write(
        "POST",
        "sleeptime",
        body={"seconds": wanted},
        decode=decode_runtime,
        evidence=runtime_has(field, before_repeat=False),
        needs_container=True,
        advice=_fixed_sleep_time,
        inverse=_sleep_as_before,
        fields=(field,),
        snapshot=state.RUNTIME,
    )


def _sleep_as_before(before: SpaceRuntime) -> Write[SpaceRuntime] | None:
    # What is not told looks like "never", which may cost a lot.
    seconds = state.sleep_time(NEVER).value(before)
    return None if seconds is state.UNTOLD else set_sleep_time(seconds)


def _fixed_sleep_time(runtime: SpaceRuntime) -> str | None:
    flavor = runtime.requested_hardware or runtime.hardware
    if flavor is not SpaceHardware.CPU_BASIC:
        return None
    return (
        "runs on cpu-basic, where the Hub keeps the sleep time at 48 hours: what was"
        " set has no effect until it has other hardware"
    )


@write
def set_replicas(replicas: int) -> Write[SpaceRuntime]:
    """Set how many copies of the app run."""
    wanted = _validate.whole(replicas, "replicas")
    field = state.replicas(wanted)

    def inverse(before: SpaceRuntime) -> Write[SpaceRuntime] | None:
        count = before.replicas.requested if before.replicas else None
        return set_replicas(count) if isinstance(count, int) else None

    return Write(
        "POST",
        "replicas",
        body={"replicas": wanted},
        decode=decode_runtime,
        evidence=runtime_has(field),
        needs_container=True,
        inverse=inverse,
        fields=(field,),
        snapshot=state.RUNTIME,
    )


@write
def set_dev_mode(enabled: bool) -> Write[SpaceRuntime]:  # noqa: FBT001  (it is the subject)
    """Switch dev mode on or off."""
    wanted = _validate.flag(enabled, "enabled")
    field = state.dev_mode(wanted=wanted)

    def inverse(before: SpaceRuntime) -> Write[SpaceRuntime] | None:
        return None if before.dev_mode is None else set_dev_mode(before.dev_mode)

    return Write(
        "POST",
        "dev-mode",
        body={"enabled": wanted},
        decode=decode_runtime,
        evidence=runtime_has(field),
        needs_container=True,
        needs_plan="dev mode" if wanted else None,
        inverse=inverse,
        fields=(field,),
        snapshot=state.RUNTIME,
        restarts=True,
    )


# Variables and secrets -------------------------------------------------------------


@write
def add_variable(
    key: str, value: str, *, description: str | None = None
) -> Write[SpaceVariable]:
    """Add a variable, or change the one of that key."""
    return set_variable(key, value, description=description).then(
        lambda variables: _pick(variables, key)
    )


def set_variable(
    key: str, value: str, *, description: str | None = None
) -> Write[Variables]:
    """Do the same, with all variables for a result, as the Hub answers."""
    _validate.key(key)
    _validate.text(value, "the value of a variable")

    def inverse(before: Variables) -> Write[Any]:
        if key not in before:
            return delete_variable(key)
        return _restore(before[key], over=description)

    field, snapshot = state.variable(key, value)
    return Write(
        "POST",
        "variables",
        body=_entry(key, description) | {"value": value},
        decode=lambda body: _having(decode_written_variables(body), key),
        evidence=variable_is(key, value, description),
        inverse=inverse,
        fields=(field,),
        snapshot=snapshot,
        restarts=True,
        name="add_variable",
    )


@write
def delete_variable(key: str) -> Write[Variables]:
    """Delete a variable. One that is not there is no error."""
    _validate.key(key)
    field, snapshot = state.variable(key, None)
    return Write(
        "DELETE",
        "variables",
        body={"key": key},
        decode=decode_written_variables,
        evidence=variable_is_gone(key),
        inverse=lambda before: _restore(before[key]) if key in before else None,
        fields=(field,),
        snapshot=snapshot,
        restarts=True,
    )


@secret_write("value")
def add_secret(
    key: str, value: str | Redacted[str], *, description: str | None = None
) -> Write[None]:
    """Add a secret, or change the one of that key."""
    hidden = value if isinstance(value, Redacted) else Redacted(value)
    del value
    _validate.key(key)
    return Write(
        "POST",
        "secrets",
        body=_entry(key, description),
        boxed={"value": _validate.secret(hidden)},
        decode=no_content,
        evidence=secret_was_written(key),
        stamp=f"secret {key}",
        fields=(state.secret(key, state.SET),),
        restarts=True,
    )


@write
def delete_secret(key: str) -> Write[None]:
    """Delete a secret. One that is not there is no error."""
    _validate.key(key)
    return Write(
        "DELETE",
        "secrets",
        body={"key": key},
        decode=no_content,
        evidence=secret_is_gone(key),
        fields=(state.secret(key, None),),
        restarts=True,
    )


@write
def add_variables(
    variables: Mapping[str, str], *, description: str | None = None
) -> Series:
    """Add or change several variables, one request each."""
    return _series(
        {
            key: add_variable(key, value, description=description)
            for key, value in _mapping(Redacted(variables), "variables").items()
        },
        "variables",
    )


@write
def delete_variables(keys: Iterable[str]) -> Series:
    """Delete several variables, one request each."""
    return _series({k: delete_variable(k) for k in _keys(keys)}, "keys")


@secret_write("secrets")
def add_secrets(
    secrets: Mapping[str, str | Redacted[str]], *, description: str | None = None
) -> Series:
    """Add or change several secrets, one request each."""
    boxed: Redacted[Any] = cast("Any", secrets)
    del secrets
    given = Redacted(_mapping(boxed, "secrets"))
    return _series(
        {
            key: add_secret(key, given.reveal()[key], description=description)
            for key in given.reveal()
        },
        "secrets",
    )


@write
def delete_secrets(keys: Iterable[str]) -> Series:
    """Delete several secrets, one request each."""
    return _series({k: delete_secret(k) for k in _keys(keys)}, "keys")


def _series(steps: Mapping[str, Write[Any]], what: str) -> Series:
    if not steps:
        raise ConfigurationError(f"{what} is empty: name at least one")
    return Series(tuple(steps.items()))


def _mapping(boxed: Redacted[Any], what: str) -> Mapping[str, Any]:
    if isinstance(boxed.reveal(), Mapping):
        return dict(boxed.reveal())
    raise ConfigurationError(f"{what} must be {{'KEY': 'value'}}")


def _keys(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(_validate.key(k) for k in _validate.items(keys, "keys")))


def _entry(key: str, description: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": key}
    if description is not None:
        entry["description"] = _validate.text(description, "description")
    return entry


def _restore(
    variable: SpaceVariable, *, over: str | None = None
) -> Write[SpaceVariable]:
    """Bring a variable back.

    Args:
        variable: How it was.
        over: The description that it has got since; None if it has got none. A write
            without a description would leave it.
    """
    description = variable.description
    if description is None and over is not None:
        description = ""
    return add_variable(variable.key, variable.value or "", description=description)


def _having(variables: Variables, key: str) -> Variables:
    if key in variables:
        return variables
    raise DecodeError("the answer lacks the variable", [f"$.{key}: missing"])


def _pick(variables: Variables, key: str) -> SpaceVariable:
    return variables[key]


# Who sees a Space, and where ---------------------------------------------------------


@write
def set_visibility(
    visibility: str | None = None, *, private: bool | None = None
) -> Write[None]:
    """Set who sees a Space."""
    body = requests.visibility(private, visibility)
    if not body:
        raise ConfigurationError("pass visibility or private")
    return Write(
        "PUT",
        "settings",
        body=body,
        decode=no_content,
        evidence=visibility_is(body["visibility"]),
        needs_plan=_plan_for(body),
        # Whether one that was not public was private or protected, the Hub does not say.
        inverse=None if body["visibility"] == "public" else _public_as_before,
        fields=(state.visibility(body["visibility"]),),
        snapshot=state.VISIBILITY,
    )


def _plan_for(body: Mapping[str, Any]) -> str | None:
    return "protected" if body.get("visibility") == "protected" else None


def _public_as_before(before: SpaceInfo) -> Write[None] | None:
    return set_visibility("public") if before.private is False else None


@write
def update_settings(
    *,
    gated: str | bool | None = None,
    private: bool | None = None,
    visibility: str | None = None,
) -> Write[None]:
    """Set who sees a Space, and whether access has to be asked for."""
    body = requests.visibility(private, visibility)
    if gated is not None:
        if gated not in _GATED:
            raise ConfigurationError(f"gated must be one of {_GATED}")
        body["gated"] = gated
    if not body:
        raise ConfigurationError("pass gated, private or visibility")
    return Write(
        "PUT",
        "settings",
        body=body,
        decode=no_content,
        needs_plan=_plan_for(body),
    )


@write
def set_custom_domain(domain: str) -> Write[None]:
    """Let the app answer under a domain of one's own."""
    return Write(
        "POST",
        "custom-domain",
        body={"domain": _validate.domain(domain)},
        decode=no_content,
        needs_plan="a custom domain",
    )


# What a Space keeps --------------------------------------------------------------------


@write
def set_volumes(volumes: Iterable[Volume | str]) -> Write[None]:
    """Mount exactly these volumes, in place of all that are there."""
    wanted = _volumes(volumes)
    if not wanted:
        raise ConfigurationError("volumes is empty: use delete_volumes")
    return Write(
        "PUT",
        "volumes",
        body={"volumes": wanted},
        decode=no_content,  # no content is declared
        evidence=_mounted(wanted),
        needs_container=True,
        inverse=_remount,
        fields=(state.volumes([volume.to_uri() for volume in wanted]),),
        snapshot=state.RUNTIME,
        restarts=True,
    )


@write
def delete_volumes() -> Write[None]:
    """Unmount all volumes."""
    return Write(
        "DELETE",
        "volumes",
        decode=no_content,
        evidence=_mounted(()),
        needs_container=True,
        refused_if_already=True,
        inverse=lambda before: set_volumes(before.volumes) if before.volumes else None,
        fields=(state.volumes([]),),
        snapshot=state.RUNTIME,
        restarts=True,
    )


@write
def add_volumes(
    volumes: Iterable[Volume | str],
) -> Edit[SpaceRuntime, tuple[Volume, ...]]:
    """Mount more volumes, or change what is mounted at their paths."""
    new = _volumes(volumes)
    paths = {volume.mount_path for volume in new}
    return _edit_volumes(
        lambda there: (*(v for v in there if v.mount_path not in paths), *new)
    )


@write
def remove_volumes(
    mount_paths: Iterable[str],
) -> Edit[SpaceRuntime, tuple[Volume, ...]]:
    """Unmount the volumes at these paths. Where nothing is mounted, that is no error."""
    paths = frozenset(_validate.items(mount_paths, "mount_paths"))
    return _edit_volumes(
        lambda there: tuple(v for v in there if v.mount_path not in paths)
    )


def _edit_volumes(
    change: Callable[[Volumes], Volumes],
) -> Edit[SpaceRuntime, tuple[Volume, ...]]:
    def make(
        runtime: SpaceRuntime,
    ) -> Write[tuple[Volume, ...]] | Done[tuple[Volume, ...]]:
        there = runtime.volumes or ()
        wanted: tuple[Volume, ...] = change(there)
        if state.same_volumes(there, wanted):
            return Done(wanted)
        made = set_volumes(wanted) if wanted else delete_volumes()
        return made.then(lambda _: wanted)

    return Edit(
        requests.volumes_call,
        make,
        fields=(state.volumes([]),),
        snapshot=state.RUNTIME,
        inverse=_remount,
    )


def _volumes(volumes: Iterable[Volume | str]) -> tuple[Volume, ...]:
    given = _validate.items(volumes, "volumes")
    return _validate.volumes(
        Volume.from_uri(v) if isinstance(v, str) else v for v in given
    )


def _mounted(wanted: tuple[Volume, ...]) -> Evidence[SpaceRuntime, None]:
    def shows(runtime: SpaceRuntime) -> bool:
        return state.same_volumes(runtime.volumes or (), wanted)

    def judge(runtime: SpaceRuntime, _: Circumstances) -> Done[None] | Verdict:
        return Done(None) if shows(runtime) else Verdict.NOT_DONE

    return Evidence(read=requests.volumes_call, judge=judge, already=shows)


def _remount(before: SpaceRuntime) -> Write[None]:
    return set_volumes(before.volumes) if before.volumes else delete_volumes()


@write
def request_storage(tier: SpaceStorage | str) -> Write[SpaceRuntime]:
    """Ask for a tier of the legacy persistent storage."""
    wanted = _validate.tier(tier)
    field = state.storage(wanted)
    return Write(
        "POST",
        "storage",
        body={"tier": wanted},
        decode=decode_runtime,
        evidence=runtime_has(field),
        needs_container=True,
        fields=(field,),
        snapshot=state.RUNTIME,
        restarts=True,
    )


@write
def delete_storage() -> Write[SpaceRuntime]:
    """Delete the legacy persistent storage, with all that is in it."""
    field = state.storage(None)
    return Write(
        "DELETE",
        "storage",
        decode=decode_runtime,
        evidence=runtime_has(field),
        needs_container=True,
        fields=(field,),
        snapshot=state.RUNTIME,
        restarts=True,
    )


# The repository --------------------------------------------------------------------------


@secret_write("secrets", "variables")
def create(
    repo_id: str,
    *,
    sdk: SpaceSdk | str,
    private: bool | None = None,
    visibility: str | None = None,
    hardware: SpaceHardware | str | None = None,
    sleep_time: int | None = None,
    secrets: BoxedEntries = None,
    variables: BoxedEntries = None,
    volumes: Iterable[Volume] | None = None,
    template: str | None = None,
    short_description: str | None = None,
    sdk_version: str | None = None,
    dev_mode: bool | None = None,
    resource_group_id: str | None = None,
    region: str | None = None,
    license: str | None = None,  # noqa: A002  (the Hub's own word)
    files: Iterable[Mapping[str, str]] | None = None,
) -> Write[CreatedSpace]:
    """Create a Space. A name without an owner is one under the caller's account."""
    owner, name = _validate.repo_id_or_name(repo_id)
    body: dict[str, Any] = {"name": name, "organization": owner}
    body |= requests.visibility(private, visibility)
    body |= {"type": "space", "sdk": _validate.sdk(sdk)}
    if template is not None:
        body["template"] = "/".join(_validate.repo_id(template))
    body |= _common(hardware, sleep_time, volumes)
    if short_description is not None:
        body["short_description"] = _validate.short_description(short_description)
    for key, value in (
        ("sdkVersion", sdk_version),
        ("resourceGroupId", resource_group_id),
        ("license", license),
    ):
        if value is not None:
            body[key] = _validate.text(value, key)
    if dev_mode is not None:
        body["devModeEnabled"] = _validate.flag(dev_mode, "dev_mode")
    if region is not None:
        body["region"] = requests.one_of(region, _REGIONS, "region")
    if files is not None:
        body["files"] = _validate.files(files)
    evidence = own_space_was_created(name) if owner is None else None
    return Write(
        "POST",
        "create",
        segments=("repos", "create"),
        makes_a_space=True,
        body=body | _open_entries(variables),
        boxed=_boxed_entries(secrets),
        decode=lambda answer: _created(repo_id, decode_object(answer)),
        on_lost=OnLost.VERIFY,
        evidence=evidence or space_was_created(repo_id),
        refine=requests.name_hardware(body.get("hardware")),
    )


@secret_write("secrets", "variables")
def duplicate(
    to_id: str,
    *,
    private: bool | None = None,
    visibility: str | None = None,
    hardware: SpaceHardware | str | None = None,
    storage: SpaceStorage | str | None = None,
    sleep_time: int | None = None,
    secrets: BoxedEntries = None,
    variables: BoxedEntries = None,
    volumes: Iterable[Volume] | None = None,
    resource_group_id: str | None = None,
) -> Write[CreatedSpace]:
    """Copy a Space to `to_id`, "owner/name"."""
    target = "/".join(_validate.repo_id(to_id))
    body: dict[str, Any] = {"repository": target}
    body |= requests.visibility(private, visibility)
    if resource_group_id is not None:
        body["resourceGroupId"] = _validate.text(resource_group_id, "a group's id")
    if storage is not None:
        body["storageTier"] = _validate.tier(storage)
    body |= _common(hardware, sleep_time, volumes)
    return Write(
        "POST",
        "duplicate",
        body=body | _open_entries(variables),
        boxed=_boxed_entries(secrets),
        decode=lambda answer: _created(target, decode_object(answer)),
        on_lost=OnLost.VERIFY,
        evidence=space_was_created(target),
        refine=requests.name_hardware(body.get("hardware")),
    )


@write
def move(to_id: str) -> Write[None]:
    """Rename a Space, or move it to another owner."""
    target = "/".join(_validate.repo_id(to_id))
    return Write(
        "POST",
        "move",
        segments=("repos", "move"),
        body=lambda source: {"fromRepo": source, "toRepo": target, "type": "space"},
        decode=no_content,  # no content is declared
        on_lost=OnLost.VERIFY,
        evidence=space_moved(target),
    )


@write
def delete(*, missing_ok: bool = False) -> Write[None]:
    """Delete a Space for good."""
    return Write(
        "DELETE",
        "delete",
        segments=("repos", "delete"),
        removes_the_space=True,
        body=_named_in_parts,
        decode=no_content,  # the text "OK"
        on_lost=OnLost.VERIFY,
        evidence=space_is_gone(),
        fields=(state.existence(wanted=False),),
        absent=Done(None) if _validate.flag(missing_ok, "missing_ok") else None,
    )


def _named_in_parts(repo_id: str) -> dict[str, Any]:
    owner, name = _validate.repo_id(repo_id)
    return {"name": name, "organization": owner, "type": "space"}


def _common(
    hardware: SpaceHardware | str | None,
    sleep_time: int | None,
    volumes: Iterable[Volume] | None,
) -> dict[str, Any]:
    """Check what creating and duplicating have in common."""
    body: dict[str, Any] = {}
    if hardware is not None:
        body["hardware"] = _validate.flavor(hardware)
    if sleep_time is not None:
        body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)
    if volumes is not None:
        body["volumes"] = _validate.volumes(volumes)
    return body


def _boxed_entries(secrets: Any) -> dict[str, Redacted[Any] | None]:
    return {"secrets": requests.entries(secrets, "secrets")}


def _open_entries(variables: Any) -> dict[str, Any]:
    entries = requests.entries(variables, "variables")
    return {} if entries is None else {"variables": entries.reveal()}


def _created(repo_id: str, data: JsonObject) -> CreatedSpace:
    url, name = data.get("url"), data.get("name")
    if data.get("error"):
        raise DecodeError("the response says that there was an error")
    if "/" not in repo_id and isinstance(name, str):
        # A bare name was asked for; the response says which account it is under.
        repo_id = name
    return CreatedSpace(repo_id, url if isinstance(url, str) else None, data)
