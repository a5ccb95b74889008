"""The metrics of a fleet, made of one reading. Pure.

What is not known is left out: a value of 0 would look like knowledge. Of a Space, only
the series of its present stage exists, so that there are not thirteen for each Space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily

from spaces_async import _costs
from spaces_async._version import __version__
from spaces_async.models import SpaceSdk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from spaces_async._costs import Prices
    from spaces_async._exporter.fleet import Reading, SpaceReading
    from spaces_async.models import SpaceInfo

__all__ = ["Families"]

_SPACE: Final = ("org", "space")
_INFO: Final = ("sdk", "hardware", "requested_hardware", "visibility")


class Families:
    """All metrics of one reading, as a collector of prometheus_client."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._of_spaces()
        yield from self._of_owners()
        yield from self._of_hub()

    def _of_spaces(self) -> Iterator[Metric]:
        stage = _gauge(
            "hf_space_stage",
            "1 for the stage that the Space is in; there is no series for the others.",
            (*_SPACE, "stage"),
        )
        info = _gauge(
            "hf_space_info",
            "Always 1; the labels describe the Space.",
            (*_SPACE, *_INFO),
        )
        replicas = _gauge("hf_space_replicas", "Replicas that run now.", _SPACE)
        cost = _gauge(
            "hf_space_cost_usd_per_hour",
            "What the Space costs now, in US dollars for an hour, by the price list.",
            _SPACE,
        )
        lag = _gauge(
            "hf_space_commit_lag",
            "1 if the commit that runs is not the newest of the repository, else 0.",
            _SPACE,
        )
        up = _gauge(
            "hf_space_probe_up",
            "1 if the running app answered the probe with a 2xx status, else 0.",
            _SPACE,
        )
        prices = self._reading.prices
        for owner in self._reading.owners:
            for space in owner.spaces:
                known, labels = space.info, (owner.owner, space.info.id)
                info.add_metric([*labels, *_labels_of(known)], 1)
                if known.stage is not None:
                    stage.add_metric([*labels, str(known.stage)], 1)
                for family, value in (
                    (replicas, _replicas(known)),
                    (cost, _cost(known, prices)),
                    (lag, _commit_lag(known)),
                    (up, _probe_up(space)),
                ):
                    if value is not None:
                        family.add_metric(labels, value)
        yield from (stage, info, replicas, cost, lag, up)

    def _of_owners(self) -> Iterator[Metric]:
        success = _gauge(
            "hf_fleet_scrape_success",
            "1 if the Spaces of the owner were listed to their end, else 0.",
            ("org",),
        )
        seconds = _gauge(
            "hf_fleet_scrape_duration_seconds",
            "Time that the listing of the owner took.",
            ("org",),
        )
        count = _gauge("hf_fleet_spaces", "Spaces of the owner.", ("org",))
        for owner in self._reading.owners:
            success.add_metric([owner.owner], owner.success)
            seconds.add_metric([owner.owner], round(owner.seconds, 6))
            if owner.success:
                count.add_metric([owner.owner], len(owner.spaces))
        yield from (success, seconds, count)

    def _of_hub(self) -> Iterator[Metric]:
        quota = self._reading.quota
        left = _gauge(
            "hf_hub_quota_remaining", "Calls that the token has left in this window."
        )
        limit = _gauge("hf_hub_quota_limit", "Calls that the token has in a window.")
        resets = _gauge(
            "hf_hub_quota_reset_seconds", "Time until the window ends, at most."
        )
        for family, value in (
            (left, quota.remaining),
            (limit, quota.limit),
            (resets, None if quota.resets_in is None else round(quota.resets_in, 3)),
        ):
            if value is not None:
                family.add_metric([], value)
            yield family
        priced = _gauge(
            "hf_fleet_prices_success",
            "1 if the price list was read in the last hour or is not needed, else 0.",
        )
        if self._reading.has_prices is not None:
            priced.add_metric([], self._reading.has_prices)
        yield priced
        build = _gauge(
            "hf_exporter_build_info",
            "Always 1; the label is the version of the exporter.",
            ("version",),
        )
        build.add_metric([__version__], 1)
        yield build


def _gauge(name: str, says: str, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, labels=labels)


def _labels_of(info: SpaceInfo) -> list[str]:
    """Return the values of the labels of a Space; "" is not known, or there is none."""
    runtime = info.runtime
    hardware = wanted = None
    if runtime is not None:
        hardware, wanted = runtime.hardware, runtime.requested_hardware
    visibility = {True: "private", False: "public", None: ""}[info.private]
    return [str(info.sdk or ""), str(hardware or ""), str(wanted or ""), visibility]


def _replicas(info: SpaceInfo) -> float | None:
    runtime = info.runtime
    if runtime is None or info.sdk is SpaceSdk.STATIC or not runtime.stage.is_known:
        return None
    return _costs.replica_count(runtime) if runtime.stage.is_running else 0


def _cost(info: SpaceInfo, prices: Prices | None) -> float | None:
    rate = _costs.rate(info, _costs.prices(()) if prices is None else prices)
    return None if rate is None else float(rate)


def _commit_lag(info: SpaceInfo) -> float | None:
    runtime = info.runtime
    if runtime is None or not runtime.stage.is_running:
        return None
    if runtime.sha is None or info.sha is None:
        return None
    return float(runtime.sha != info.sha)


def _probe_up(space: SpaceReading) -> float | None:
    return None if space.probe_up is None else float(space.probe_up)
