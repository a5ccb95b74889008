"""Waves and health as a journal keeps them, and as whoever goes on takes them over. Pure.

A bulk that was halted by its canary must not send to all at once when it is resumed. So
the header of a journal has what `waves` and the options beside it were:

```
{
    "waves": [1, "100%"],
    "max_unavailable": null,
    "pause_between": 60.0,
    "max_failures": null,
    "healthy": {
        "stages": null,
        "probe": "/health",
        "timeout": 600.0,
        "for_seconds": 0.0,
    },
}
```

`healthy` is false where nothing is looked at, and true where a function of the user's
judges: no file can hold that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spaces_async.bulk.health import Healthy
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spaces_async.bulk._amount import Amount
    from spaces_async.bulk._waves import Pacing

__all__ = [
    "PACING",
    "options_of",
    "record_of",
    "require_judge",
    "taken_over",
]

PACING: Final = ("waves", "max_unavailable", "pause_between", "max_failures")
"""The options of a bulk about waves that a record has."""
_HEALTH: Final = ("probe", "timeout", "for_seconds")


def record_of(
    pacing: Pacing, healthy: Healthy | None, *, has_check: bool
) -> dict[str, Any] | None:
    """Return what the header of a journal has of waves and health.

    None is a bulk that has neither; its `max_failures` is a limit of that run alone.

    Args:
        pacing: How the bulk is asked to proceed.
        healthy: What has to be so after each write; None is nothing.
        has_check: Whether a function of the user's judges as well.
    """
    if not pacing.waves and healthy is None:
        return None
    health: Any = has_check
    if healthy is not None and not has_check:
        stages = healthy.stages
        health = {"stages": None if stages is None else sorted(map(str, stages))}
        health |= {name: getattr(healthy, name) for name in _HEALTH}
    return {
        "waves": [amount.plain for amount in pacing.waves] or None,
        "max_unavailable": _plain(pacing.max_unavailable),
        "pause_between": pacing.pause_between,
        "max_failures": _plain(pacing.max_failures),
        "healthy": health,
    }


def _plain(amount: Amount | None) -> int | str | None:
    return None if amount is None else amount.plain


def options_of(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a record says as options of a bulk.

    Raises:
        ConfigurationError: Something of it makes no sense here.
    """
    if record is None:
        return {}
    found = {name: value for name, value in record.items() if name in PACING and value}
    health = record.get("healthy")
    if isinstance(health, dict):
        names = {"stages", *_HEALTH}
        given: dict[str, Any] = {k: v for k, v in health.items() if k in names}  # pyright: ignore[reportUnknownVariableType]
        found["healthy"] = Healthy(**given)
    elif health is False:
        found["healthy"] = False
    return found


def taken_over(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a bulk that goes on with an earlier one.

    What is given goes first, None and False included. What makes no sense beside it is
    left out: the pause between waves that are not there any more.

    Args:
        before: The options about waves and health of the earlier bulk.
        given: The options of the one that goes on.
    """
    found = {**before, **given}
    if not found.get("waves"):
        for name in {"pause_between", "max_failures"} - given.keys():
            found.pop(name, None)
    if given.get("wait") and "healthy" not in given and not found.get("healthy"):
        found.pop("healthy", None)
    looks = found.get("healthy")
    if looks is None:
        looks = found.get("waves") or found.get("wait")
    if not looks and "max_unavailable" not in given:
        found.pop("max_unavailable", None)
    return found


def require_judge(journal: str, record: Mapping[str, Any] | None) -> None:
    """Refuse to go on without the function that judged health before.

    Raises:
        ConfigurationError: There was one.
    """
    if record is not None and record.get("healthy") is True:
        raise ConfigurationError(
            f"the bulk of {journal} judged health by a function of yours, which no"
            " journal holds: pass it again as healthy=, or healthy=False to go on"
            " without a look"
        )
