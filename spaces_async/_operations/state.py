"""What a write sets, and how the state before it is kept. Pure.

A plan shows for each Space what is and what would be. A bulk that applies the plan later
leaves out a Space that has changed since. An undo brings back what was. All three ask the
same questions of a write: which fields does it set, what does a state show of them, and
how is that state written down?

Worked example: `set_sleep_time(3600)` has the field "sleep_time" with the wanted value
3600. A listing shows 172800, so the plan says "sleep_time: 172800 -> 3600". The journal
keeps the runtime as the Hub sent it. From that the undo makes `set_sleep_time(172800)`,
and sends it only where the Space still shows 3600: else somebody has changed it since.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from operator import eq
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import frozen

from spaces_async._wire.converter import decode_runtime, dump_json, is_unreadable
from spaces_async.models import (
    SpaceInfo,
    SpaceRuntime,
    SpaceSecret,
    SpaceStage,
    SpaceVariable,
    Volume,
    VolumeType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S")


class Untold(enum.Enum):
    """Stands for a value that a state does not show."""

    UNTOLD = "untold"


UNTOLD: Final = Untold.UNTOLD
NEVER: Final = -1
"""The sleep time of a Space that never goes to sleep."""
SET: Final = "set"
"""Stands for the value of a secret, which cannot be read."""
NOT_PUBLIC: Final = "private or protected"
"""The Hub does not say which of the two."""


@frozen
class Field(Generic[S]):
    """Something that a write sets.

    Attributes:
        name: What it is called, such as "sleep_time".
        wanted: Its value after the write, as plain JSON; None is "not there".
        value: Returns the value that a state shows, or `UNTOLD`.
        alike: Whether two values count as the same for a Space that has not changed.
    """

    name: str
    wanted: Any
    value: Callable[[S], Any]
    alike: Callable[[Any, Any], bool] = eq

    def shows(self, state: S) -> bool | None:
        """Return whether a state has the wanted value; None if it does not show one."""
        value = self.value(state)
        return None if value is UNTOLD else value == self.wanted


@frozen
class Snapshot(Generic[S]):
    """How a state is kept in a journal.

    Attributes:
        keep: Makes plain JSON of it.
        restore: Makes it again. It raises `KeyError`, `TypeError`, `ValueError` or
            `DecodeError` (a `ValueError`) for what `keep` did not make.
    """

    keep: Callable[[S], Any]
    restore: Callable[[Any], S]


def shown(fields: tuple[Field[S], ...], state: S) -> dict[str, Any]:
    """Return the values of fields that a state shows, without those that it does not."""
    values = ((field.name, field.value(state)) for field in fields)
    return {name: value for name, value in values if value is not UNTOLD}


def has_changed(
    fields: tuple[Field[S], ...], expected: Mapping[str, Any], state: S
) -> bool:
    """Return whether a state shows other values than were expected.

    Fields that one of the two does not have say nothing.
    """
    now = shown(fields, state)
    return any(
        field.name in expected
        and field.name in now
        and not field.alike(expected[field.name], now[field.name])
        for field in fields
    )


# The runtime -------------------------------------------------------------------------

RUNTIME: Final[Snapshot[SpaceRuntime]] = Snapshot(
    keep=lambda runtime: dict(runtime.raw.items()),  # parses it once
    restore=lambda data: decode_runtime(dump_json(data)),
)


def stage(wanted: SpaceStage) -> Field[SpaceRuntime]:
    """Return the stage. One that builds or starts counts as running: it soon does."""
    return Field("stage", str(wanted), lambda r: str(r.stage), _same_stage)


def _same_stage(one: str, other: str) -> bool:
    return _coarse(SpaceStage(one)) == _coarse(SpaceStage(other))


def _coarse(stage: SpaceStage) -> SpaceStage:
    is_up = stage.is_running or stage.is_transitional
    return SpaceStage.RUNNING if is_up else stage


def hardware(wanted: str) -> Field[SpaceRuntime]:
    """Return the flavor that was asked for last."""

    def value(runtime: SpaceRuntime) -> Any:
        flavor = runtime.requested_hardware or runtime.hardware
        unreadable = is_unreadable(runtime, "requested_hardware")
        return UNTOLD if flavor is None or unreadable else str(flavor)

    return Field("hardware", wanted, value)


def sleep_time(wanted: int) -> Field[SpaceRuntime]:
    """Return the sleep time. A Space that does not run may not show one."""

    def value(runtime: SpaceRuntime) -> Any:
        if is_unreadable(runtime, "sleep_time"):
            return UNTOLD
        if runtime.sleep_time is None:
            return NEVER if runtime.stage.is_running else UNTOLD
        return runtime.sleep_time

    return Field("sleep_time", wanted, value)


def replicas(wanted: int) -> Field[SpaceRuntime]:
    """Return the number of copies of the app."""

    def value(runtime: SpaceRuntime) -> Any:
        count = None if runtime.replicas is None else runtime.replicas.requested
        return UNTOLD if count is None else count

    return Field("replicas", wanted, value)


def dev_mode(*, wanted: bool) -> Field[SpaceRuntime]:
    """Return whether dev mode is on. A Space that does not run may not show it."""

    def value(runtime: SpaceRuntime) -> Any:
        if is_unreadable(runtime, "dev_mode"):
            return UNTOLD
        if runtime.dev_mode is None and not runtime.stage.is_running:
            return UNTOLD
        return bool(runtime.dev_mode)

    return Field("dev_mode", wanted, value)


def storage(wanted: str | None) -> Field[SpaceRuntime]:
    """Return the tier of the legacy storage."""

    def value(runtime: SpaceRuntime) -> Any:
        if is_unreadable(runtime, "storage"):
            return UNTOLD
        return None if runtime.storage is None else str(runtime.storage)

    return Field("storage", wanted, value)


def volumes(wanted: list[str]) -> Field[SpaceRuntime]:
    """Return the mounted volumes, as URIs."""
    return Field(
        "volumes",
        sorted(wanted),
        lambda r: sorted(volume.to_uri() for volume in r.volumes or ()),
        lambda one, other: same_volumes(
            map(Volume.from_uri, one), map(Volume.from_uri, other)
        ),
    )


def same_volumes(there: Iterable[Volume], wanted: Iterable[Volume]) -> bool:
    """Compare what is mounted, whatever the Hub fills in that was left open."""
    mounted = {volume.mount_path: _spelled_out(volume) for volume in there}
    return mounted == {volume.mount_path: _spelled_out(volume) for volume in wanted}


def _spelled_out(volume: Volume) -> tuple[object, ...]:
    """Spell out what may be left open: the main branch, and who may write."""
    bucket = volume.type is VolumeType.BUCKET
    read_only = bool(volume.read_only) if bucket else True
    revision = volume.revision or "main"
    return (volume.type, volume.source, volume.path, revision, read_only)


# Variables, secrets, the repository ------------------------------------------------------


def variable(
    key: str, wanted: str | None
) -> tuple[Field[Mapping[str, SpaceVariable]], Snapshot[Mapping[str, SpaceVariable]]]:
    """Return one variable; None is one that is not there."""

    def keep(variables: Mapping[str, SpaceVariable]) -> Any:
        found = variables.get(key)
        if found is None:
            return None
        return {"value": found.value, "description": found.description}

    def restore(data: Any) -> dict[str, SpaceVariable]:
        if data is None:
            return {}
        return {key: SpaceVariable(key, data["value"], data["description"])}

    def value(variables: Mapping[str, SpaceVariable]) -> Any:
        return variables[key].value if key in variables else None

    return Field(f"variable {key}", wanted, value), Snapshot(keep, restore)


def secret(key: str, wanted: str | None) -> Field[Mapping[str, SpaceSecret]]:
    """Return whether a secret is there: `SET`, or None."""
    return Field(f"secret {key}", wanted, lambda s: SET if key in s else None)


def visibility(wanted: str) -> Field[SpaceInfo]:
    """Return who sees the Space, as far as the Hub says."""

    def value(info: SpaceInfo) -> Any:
        if info.private is None:
            return UNTOLD
        return NOT_PUBLIC if info.private else "public"

    def alike(one: str, other: str) -> bool:
        return (one == "public") is (other == "public")

    return Field("visibility", wanted, value, alike)


VISIBILITY: Final[Snapshot[SpaceInfo]] = Snapshot(
    keep=lambda info: {"id": info.id, "private": info.private},
    restore=lambda data: SpaceInfo(data["id"], private=data["private"]),
)


def existence(*, wanted: bool) -> Field[SpaceInfo | None]:
    """Return whether the Space is there."""
    return Field("exists", wanted, lambda info: info is not None)
