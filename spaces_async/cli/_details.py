"""Everything about one Space, or one quota: rows of a label and a value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from spaces_async.cli._output import (
    hardware_text,
    human_seconds,
    sleep_text,
    stage_text,
)
from spaces_async.cli._times import clock_time, when

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async.cli._output import Cell
    from spaces_async.models import Replicas, SpaceInfo, SpaceRuntime
    from spaces_async.records import Account, RateLimit, ZeroGpuQuota

    Details = list[tuple[str, Cell]]

__all__ = [
    "account_details",
    "info_details",
    "quota_details",
    "rate_limit_details",
    "resets_at",
]

_SHOWN_WORDS: Final = 5
_SHORT_SHA_CHARACTERS: Final = 7
_BYTE_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_BYTES_PER_KILOBYTE: Final = 1000


def info_details(info: SpaceInfo, endpoint: str) -> Details:
    """Return what to show of a Space, without what is not known."""
    from rich.text import Text

    card_data = info.card_data or {}
    runtime = info.runtime
    version = card_data.get("sdk_version") or ""
    rows: list[tuple[str, Cell | None]] = [
        ("id", Text(info.id, style="bold")),
        ("title", info.title or card_data.get("title")),
        ("about", info.short_description or card_data.get("short_description")),
        ("page", f"{endpoint.rstrip('/')}/spaces/{info.id}"),
        ("app", info.host),
        ("stage", stage_text(info.stage)),
        *(_running(runtime) if runtime else []),
        ("sdk", f"{info.sdk} {version}" if info.sdk else None),
        ("visibility", _visibility(info)),
        ("disabled", "yes, by the Hub" if info.disabled else None),
        ("region", info.region),
        ("group", (info.resource_group or {}).get("name")),
        ("models", _some(info.models)),
        ("datasets", _some(info.datasets)),
        ("tags", _some(info.tags)),
        ("likes", None if info.likes is None else str(info.likes)),
        ("files", _files(info)),
        ("commit", _commit(info)),
        ("created", _day(info.created_at)),
        ("changed", _day(info.last_modified)),
        ("ssh", _ssh(info)),
    ]
    return [(label, cell) for label, cell in rows if cell]


def _running(runtime: SpaceRuntime) -> list[tuple[str, Cell | None]]:
    from rich.text import Text

    replicas = runtime.replicas
    sleeps = sleep_text(runtime)
    return [
        ("error", Text(runtime.error_message or "", style="red")),
        ("hardware", hardware_text(runtime)),
        ("sleeps after", None if sleeps == "-" else sleeps),
        ("replicas", _replicas(replicas) if replicas else None),
        ("dev mode", "on" if runtime.dev_mode else None),
        ("domains", _some(_domains(runtime))),
        ("volumes", _some(volume.to_uri() for volume in runtime.volumes or ())),
    ]


def _domains(runtime: SpaceRuntime) -> list[str]:
    """Return the custom domains; the Hub's own is the row `app`."""
    return [
        f"{domain.domain} ({domain.stage})"
        for domain in runtime.domains
        if domain.is_custom or domain.stage != "READY"
    ]


def quota_details(quota: ZeroGpuQuota, now: datetime) -> Details:
    """Return how much of the ZeroGPU quota is left, and when it resets."""
    base, left = quota.base, quota.current
    resets: Cell = "not started: the period begins with the first use"
    if quota.resets_at is not None:
        resets = when(quota.resets_at, now)
    rows: Details = [
        ("left", f"{_number(left)} of {_number(base)} GPU seconds"),
        ("resets", resets),
    ]
    if quota.overquota_used:
        rows.append(("beyond it", f"{_number(quota.overquota_used)} GPU seconds used"))
    runs: Mapping[str, Any] = quota.raw.get("runs") or {}
    if runs.get("limit") is not None:
        rows.append(("runs left", f"{runs.get('remaining')} of {runs['limit']}"))
    return rows


def rate_limit_details(limit: RateLimit, now: datetime) -> Details:
    """Return how many calls are left in this window, and when it ends."""
    left = "unknown" if limit.remaining is None else str(limit.remaining)
    of = "" if limit.limit is None else f" of {limit.limit}"
    rows: Details = [("left", f"{left}{of} calls")]
    ends = _end_of(limit, now)
    if limit.resets_in is not None and ends is not None:
        at = f"in {human_seconds(limit.resets_in)}, at {clock_time(ends)}"
        rows.append(("new window", at))
    return rows


def resets_at(limit: RateLimit, now: datetime) -> str | None:
    """Return when the window ends, for JSON; None if that is not known."""
    ends = _end_of(limit, now)
    return None if ends is None else ends.isoformat(timespec="seconds")


def _end_of(limit: RateLimit, now: datetime) -> datetime | None:
    if limit.resets_in is None:
        return None
    return now + timedelta(seconds=limit.resets_in)


def account_details(account: Account) -> Details:
    """Return what to show of an account, without what is not known."""
    auth: Any = account.raw.get("auth")
    token: Any = auth.get("accessToken") if isinstance(auth, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    role: Any = token.get("role") if isinstance(token, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    rows: list[tuple[str, Cell | None]] = [
        ("name", account.name),
        ("full name", account.fullname),
        ("type", account.type),
        ("token", role if isinstance(role, str) else None),
        ("plan", "PRO" if account.is_pro else None),
        ("can pay", None if account.can_pay is None else _yes(account.can_pay)),
        ("orgs", ", ".join(org.name for org in account.orgs)),
    ]
    return [(label, cell) for label, cell in rows if cell]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _replicas(replicas: Replicas) -> str | None:
    now, wanted = replicas.current, replicas.requested
    if wanted in {None, now}:
        return None if now in {None, 1} else str(now)
    return f"{now or 0} of {wanted}" if wanted != 1 else None


def _visibility(info: SpaceInfo) -> str | None:
    if info.private is None:
        return None
    return "private" if info.private else "public"


def _some(words: Iterable[str] | None) -> str | None:
    given = list(words or ())
    more = len(given) - _SHOWN_WORDS
    shown = ", ".join(given[:_SHOWN_WORDS])
    return f"{shown} and {more} more" if more > 0 else shown or None


def _files(info: SpaceInfo) -> str | None:
    if info.siblings is None:
        return None
    size = "" if info.used_storage is None else f", {_bytes(info.used_storage)}"
    return f"{len(info.siblings)}{size}"


def _bytes(count: float) -> str:
    for unit in _BYTE_UNITS[:-1]:
        if count < _BYTES_PER_KILOBYTE:
            return f"{count:.3g} {unit}"
        count /= _BYTES_PER_KILOBYTE
    return f"{count:.3g} {_BYTE_UNITS[-1]}"


def _commit(info: SpaceInfo) -> str | None:
    if info.sha is None:
        return None
    runs = info.runtime.sha if info.runtime else None
    if runs is None or runs == info.sha:
        return info.sha[:_SHORT_SHA_CHARACTERS]
    return (
        f"{info.sha[:_SHORT_SHA_CHARACTERS]}, but {runs[:_SHORT_SHA_CHARACTERS]} runs"
    )


def _day(instant: datetime | None) -> str | None:
    return None if instant is None else when(instant)


def _ssh(info: SpaceInfo) -> str | None:
    on = info.runtime is not None and info.runtime.dev_mode
    return f"ssh {info.subdomain}@ssh.hf.space" if on and info.subdomain else None
