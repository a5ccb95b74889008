"""Spaces, variables and runtimes in the Hub's JSON format."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from spaces_async.models import SpaceStage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from spaces_async.testing.space import FakeSpace, Setting

__all__ = ["EXPANDABLE", "card", "full", "instant", "pick", "runtime", "summary"]


def instant(moment: datetime) -> str:
    """Format an instant as the Hub does: UTC with milliseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def runtime(space: FakeSpace) -> dict[str, Any]:
    """Return the runtime object with the keys of recorded responses, and its extras."""
    return {**_runtime(space), **space.runtime_fields}


def _runtime(space: FakeSpace) -> dict[str, Any]:
    stage = space.stage
    if space.is_static:
        return {
            "stage": stage.value,
            "hardware": {"current": None, "requested": None},
            "replicas": {"requested": 1, "current": 1},
        }
    hardware = {"current": space.hardware, "requested": space.requested_hardware}
    document: dict[str, Any] = {"stage": stage.value, "hardware": hardware}
    replicas: dict[str, Any] = {"requested": space.replicas}
    if stage.is_running:
        replicas["current"] = space.replica_count
    elif not stage.is_transitional:
        replicas["current"] = None
    if space.error_message is not None:
        document["errorMessage"] = space.error_message
    if stage is not SpaceStage.PAUSED:
        document["gcTimeout"] = space.sleep_time
    document["replicas"] = replicas
    if stage is not SpaceStage.PAUSED:
        document["devMode"] = space.dev_mode
        default = {"domain": f"{space.subdomain}.hf.space", "stage": "READY"}
        document["domains"] = [default, *space.domains]
    if space.running_sha is not None:
        document["sha"] = space.running_sha
    if space.volumes:
        document["volumes"] = space.volumes
    if space.storage is not None:
        document["storage"] = space.storage
    return document


def _siblings(space: FakeSpace) -> list[dict[str, Any]]:
    return [{"rfilename": name} for name in sorted(space.files)]


def _group(space: FakeSpace) -> dict[str, Any] | None:
    if space.resource_group is None:
        return None
    return {"id": space.resource_group, "name": "group", "numUsers": 1}


_FIELDS: dict[str, Callable[[FakeSpace], Any]] = {
    "author": lambda space: space.author,
    "cardData": lambda space: space.card,
    "createdAt": lambda space: instant(space.created_at),
    "datasets": lambda space: space.datasets,
    "disabled": lambda space: space.disabled,
    "gated": lambda space: space.settings.get("gated", False),
    "gitalyUid": lambda space: hashlib.sha256(space.oid.encode()).hexdigest(),
    "host": lambda space: (
        f"https://{space.subdomain}{'.static' if space.is_static else ''}.hf.space"
    ),
    "lastModified": lambda space: instant(space.last_modified),
    "likes": lambda space: space.likes,
    "models": lambda space: space.models,
    "private": lambda space: space.private,
    "region": lambda space: space.region,
    "resourceGroup": _group,
    "runtime": runtime,
    "sdk": lambda space: space.sdk,
    "sha": lambda space: space.sha,
    "siblings": _siblings,
    "subdomain": lambda space: space.subdomain,
    "tags": lambda space: space.tags,
    "trendingScore": lambda space: space.trending_score,
    "usedStorage": lambda space: sum(space.files.values()),
    "xetEnabled": lambda _: False,
}
#: The fields that `expand` accepts.
EXPANDABLE = frozenset(_FIELDS) - {"host", "gated"}
_SUMMARY = ("likes", "trendingScore", "private", "sdk", "tags", "createdAt")
_LISTED = (
    "author", "cardData", "disabled", "gated", "lastModified", "likes",
    "trendingScore", "private", "sha", "sdk", "siblings", "tags", "createdAt",
    "subdomain",
)  # fmt: skip
_FULL = (
    "author", "sha", "lastModified", "private", "gated", "disabled", "host",
    "subdomain", "tags", "likes", "sdk", "runtime", "cardData", "models", "datasets",
    "siblings", "createdAt", "region", "usedStorage",
)  # fmt: skip


def pick(space: FakeSpace, names: list[str]) -> dict[str, Any]:
    """Return `_id`, `id` and the named fields."""
    document: dict[str, Any] = {"_id": space.oid, "id": space.id}
    for name in names:
        value = _FIELDS[name](space)
        if value is not None:
            document[name] = value
    return document


def summary(space: FakeSpace, *, full: bool, linked: bool) -> dict[str, Any]:
    """Return an item of a listing."""
    names = [*(_LISTED if full else _SUMMARY)]
    if linked or full:
        names += ["models", "datasets"]
    return pick(space, names)


def full(space: FakeSpace, *, blobs: bool = False) -> dict[str, Any]:
    """Return the document of the info endpoint."""
    document = pick(space, [*_FULL])
    if blobs:
        document["siblings"] = [
            {
                "rfilename": name,
                "size": size,
                "blobId": hashlib.sha256(name.encode()).hexdigest()[:40],
            }
            for name, size in sorted(space.files.items())
        ]
    return document


def card(space: FakeSpace, score: float | None) -> dict[str, Any]:
    """Return a result of the semantic search."""
    names = ["author", "sdk", "likes", "private", "tags", "runtime", "trendingScore"]
    document = pick(space, [*names, "createdAt", "lastModified"])
    document |= {
        "title": space.card.get("title", space.name),
        "emoji": space.card.get("emoji"),
        "visibility": space.visibility,
        "pinned": False,
        "featured": False,
        "shortDescription": space.short_description,
        "ai_short_description": space.short_description or space.name,
        "ai_category": space.card.get("category", "Other"),
    }
    if score is not None:
        document["semanticRelevancyScore"] = score
    return document


def variables(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the map of variables, with their values."""
    return {
        key: {"key": key, "value": setting.value, **_metadata(setting)}
        for key, setting in settings.items()
    }


def secrets(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the map of secrets, without their values."""
    return {
        key: {"key": key, **_metadata(setting)} for key, setting in settings.items()
    }


def _metadata(setting: Setting) -> dict[str, Any]:
    metadata: dict[str, Any] = {"updatedAt": instant(setting.updated_at)}
    if setting.description is not None:
        metadata["description"] = setting.description
    return metadata
