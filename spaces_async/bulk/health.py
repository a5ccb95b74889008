"""When a Space counts as healthy after a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from spaces_async import _validate
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceStage

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient

__all__ = ["HealthCheck", "Healthy"]

HealthCheck = Callable[["SpacesClient", str], Awaitable[bool]]
"""Asked once whether a Space is healthy, when it is RUNNING again."""


def _stages(
    words: str | Iterable[SpaceStage | str] | None,
) -> frozenset[SpaceStage] | None:
    if words is None:
        return None
    given = [words] if isinstance(words, str) else list(words)
    stages = frozenset(map(SpaceStage, given))
    for stage in sorted(stages):
        if not stage.is_known:
            raise _validate.unknown_word("stage", stage, SpaceStage)
    if not stages:
        raise ConfigurationError("stages is empty: name at least one")
    return stages


def _seconds(_: object, attribute: object, value: float) -> None:
    _validate.seconds(value, getattr(attribute, "name", "it"))


def _path(_: object, __: object, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.startswith("/") or value[1:2] == "/":
        raise ConfigurationError(
            f"probe must be a path of the app, such as '/health', not {value!r}"
        )
    if any(char.isspace() or not char.isprintable() for char in value):
        raise ConfigurationError(
            "probe is no path: it has blanks or control characters"
        )


@frozen(kw_only=True)
class Healthy:
    """What has to be so for a Space to count as healthy after its write.

    Attributes:
        stages: Where it must get; None is where the write aims at: RUNNING after a
            restart, PAUSED after a pause.
        probe: A path of the app that must answer with a 2xx status, such as
            "/health"; None does not ask the app. A stage alone is no health.
        timeout: Seconds for all of that.
        for_seconds: Seconds for which it must stay so.
    """

    stages: Collection[SpaceStage] | None = field(default=None, converter=_stages)
    probe: str | None = field(default=None, validator=_path)
    timeout: float = field(default=600.0, validator=_seconds)
    for_seconds: float = field(default=0.0, validator=_seconds)


def make_healthy(
    healthy: bool | Healthy | HealthCheck | None,  # noqa: FBT001  (as it was passed)
) -> tuple[Healthy | None, HealthCheck | None]:
    """Take what a bulk was passed as `healthy`.

    Returns:
        What has to be so, None if nothing has to; and a check of the user's.

    Raises:
        ConfigurationError: It is none of these.
    """
    if healthy is None or healthy is False:
        return None, None
    if healthy is True:
        return Healthy(), None
    if isinstance(healthy, Healthy):
        return healthy, None
    if callable(healthy):
        return Healthy(), healthy
    raise ConfigurationError(
        "healthy must be True, Healthy(...) or an async function (client, repo_id) ->"
        f" bool, not {healthy!r}"
    )
