"""Whether a running Space is used: a sample of its metrics, and when it was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import frozen

from spaces_async import _costs
from spaces_async.cli._errors import reason
from spaces_async.cli._output import human_seconds
from spaces_async.cli._use_options import SAMPLE_SECONDS
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from datetime import datetime

    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo
    from spaces_async.records import SpaceMetrics

__all__ = ["Question", "Sample", "Use", "judge", "measure", "read_changes"]

T = TypeVar("T")

_FIRST_MEASUREMENT_SECONDS: Final = 10.0
"""How long to wait for the first measurement; then the sample begins."""
_BUSY_CPU_PCT: Final = 1.0
"""An app that waits for requests uses less of its CPU."""
_CONCURRENCY: Final = 32


class Use(StrEnum):
    """Whether something is used."""

    UNUSED = "unused"
    RECENT = "changed lately"
    """No use was seen, but its repository has changed too lately to call it unused."""
    IN_USE = "in use"
    UNKNOWN = "unknown"


@frozen
class Sample:
    """What a sample of the metrics shows.

    Attributes:
        use: Whether the Space was used meanwhile.
        why: Why that is not known; None if it is.
    """

    use: Use
    why: str | None = None


@frozen
class Question:
    """What has to be so for a Space to be called unused.

    Attributes:
        sample: Seconds of metrics without CPU and network; None looks at no metrics.
        unused_for: Seconds for which the repository has not changed; None does not ask.
    """

    sample: float | None = SAMPLE_SECONDS
    unused_for: float | None = None

    def answer(
        self, sample: Sample | None, changed: datetime | None, now: datetime
    ) -> Use:
        """Return whether a Space is used, by all that was asked.

        Whatever speaks against "unused" decides; then whatever is not known.
        """
        answers: list[Use] = []
        if self.sample is not None:
            answers.append(Use.UNKNOWN if sample is None else sample.use)
        if self.unused_for is not None:
            answers.append(self._by_change(changed, now))
        for decisive in (Use.IN_USE, Use.RECENT, Use.UNKNOWN):
            if decisive in answers:
                return decisive
        return Use.UNUSED if answers else Use.UNKNOWN

    def __str__(self) -> str:
        parts: list[str] = []
        if self.sample is not None:
            parts.append(f"no CPU, GPU and network for {human_seconds(self.sample)}")
        if self.unused_for is not None:
            parts.append(f"no commit for {human_seconds(self.unused_for)}")
        return " and ".join(parts)

    def _by_change(self, changed: datetime | None, now: datetime) -> Use:
        if changed is None or self.unused_for is None:
            return Use.UNKNOWN
        is_old = (now - changed).total_seconds() >= self.unused_for
        return Use.UNUSED if is_old else Use.RECENT


def judge(measured: Sequence[SpaceMetrics], replicas: int | None) -> Sample:
    """Return what measurements show.

    Args:
        measured: What was measured of any of its replicas.
        replicas: How many replicas there are; None if that is not known.
    """
    busy = [_is_busy(each) for each in measured]
    if True in busy:
        return Sample(Use.IN_USE)
    if not busy:
        return Sample(Use.UNKNOWN, "no measurement came")
    if None in busy:
        return Sample(Use.UNKNOWN, "a measurement cannot be read")
    if len({each.replica for each in measured}) < (replicas or 1):
        return Sample(Use.UNKNOWN, "not all replicas were measured")
    return Sample(Use.UNUSED)


def _is_busy(measured: SpaceMetrics) -> bool | None:
    """Return whether a measurement shows any use; None if it does not tell."""
    seen: list[bool | None] = [
        _above(measured.cpu_usage_pct, _BUSY_CPU_PCT),
        _above(measured.rx_bps, 0),
        _above(measured.tx_bps, 0),
    ]
    for gpu in (measured.gpus or {}).values():
        used: Any = gpu.get("utilization") if isinstance(gpu, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        is_number = isinstance(used, int | float)
        seen.append(_above(used if is_number else None, 0))
    if True in seen:
        return True
    return None if None in seen else False


def _above(value: float | None, limit: float) -> bool | None:
    if value is None:
        return None
    return value >= limit if limit else value > 0


async def measure(
    client: SpacesClient, spaces: Iterable[SpaceInfo], seconds: float
) -> dict[str, Sample]:
    """Take a sample of the metrics of each Space, many at the same time."""

    async def sample(info: SpaceInfo) -> Sample:
        return await _sample(client, info, seconds)

    return await _each(spaces, sample)


async def _sample(client: SpacesClient, info: SpaceInfo, seconds: float) -> Sample:
    loop = asyncio.get_running_loop()
    measured: list[SpaceMetrics] = []
    replicas = None if info.runtime is None else _costs.replica_count(info.runtime)
    try:
        async with (
            asyncio.timeout(_FIRST_MEASUREMENT_SECONDS) as limit,
            client.logs.stream_metrics(info.id) as stream,
        ):
            async for each in stream:
                if not measured:
                    limit.reschedule(loop.time() + seconds)
                measured.append(each)
                if _is_busy(each):
                    break  # more of it would tell nothing more
    except SpacesError as error:
        if not measured:
            return Sample(Use.UNKNOWN, reason(error))
    except TimeoutError:
        pass  # the end of the sample
    return judge(measured, replicas)


async def read_changes(
    client: SpacesClient, spaces: Iterable[SpaceInfo]
) -> dict[str, datetime | None]:
    """Read when each Space's repository was changed last; None where it is not known.

    A listing that has it costs no call.
    """

    async def read(info: SpaceInfo) -> datetime | None:
        if info.last_modified is not None:
            return info.last_modified
        try:
            found = await client.catalog.get_info(info.id, expand=["lastModified"])
        except SpacesError:
            return None
        return found.last_modified

    return await _each(spaces, read)


async def _each(
    spaces: Iterable[SpaceInfo], read: Callable[[SpaceInfo], Awaitable[T]]
) -> dict[str, T]:
    slots = asyncio.Semaphore(_CONCURRENCY)
    found: dict[str, T] = {}

    async def work(info: SpaceInfo) -> None:
        async with slots:
            found[info.id] = await read(info)

    async with asyncio.TaskGroup() as group:
        for info in spaces:
            group.create_task(work(info))
    return found
