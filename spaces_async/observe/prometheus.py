"""Prometheus: what a client does, as metrics of the program that uses it.

```python
from spaces_async import ClientSettings, SpacesClient
from spaces_async.observe.prometheus import PrometheusObserver

client = SpacesClient(settings=ClientSettings(observer=PrometheusObserver()))
```

It needs the extra `prometheus`. How the program shows its metrics is its own choice.
No label has the id of a Space, so the number of series does not grow with an org;
`spaces-async exporter` has the metrics of the Spaces themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from spaces_async.models import SpaceStage
from spaces_async.observe.events import (
    AttemptEnded,
    BreakerChanged,
    CallEnded,
    CallStarted,
    Event,
    QuotaWait,
    QuotaWindow,
    Refusal,
    RetryWait,
    RunEnded,
    RunStarted,
    SpaceEnded,
    StageChanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PrometheusObserver"]

_PREFIX: Final = "spaces_async"
_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_OTHER: Final = "other"
_ADD_UP: Final = "livesum"
"""Where several processes share a folder of metrics, their gauges add up."""


class PrometheusObserver:
    """Counts the events of a client.

    Make one for each registry: the metrics of all clients that share it add up.
    """

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        """Make an observer, and register its metrics.

        Args:
            registry: Where; the default is that of prometheus_client.

        Raises:
            ValueError: The registry has them already.
        """
        self._requests = Histogram(
            f"{_PREFIX}_request_duration_seconds",
            "Time from sending a request to the end of its response.",
            ["action"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._results = Counter(
            f"{_PREFIX}_requests",
            "Requests, by the status of the response or the error in its place.",
            ["action", "result"],
            registry=registry,
        )
        self._in_progress = Gauge(
            f"{_PREFIX}_calls_in_progress",
            "Calls that have begun and are not over.",
            registry=registry,
            multiprocess_mode=_ADD_UP,
        )
        self._calls = Histogram(
            f"{_PREFIX}_call_duration_seconds",
            "Time that a call took, with all its attempts and waits.",
            ["action"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            f"{_PREFIX}_call_failures",
            "Calls that raised an error.",
            ["action", "error"],
            registry=registry,
        )
        self._waited = Counter(
            f"{_PREFIX}_call_wait_seconds",
            "Time that calls spent waiting for the quota and between attempts.",
            ["action"],
            registry=registry,
        )
        self._waits = Counter(
            f"{_PREFIX}_waits",
            "Waits that began: window or action (the Hub's quota), retry (a pause).",
            ["reason"],
            registry=registry,
        )
        self._refusals = Counter(
            f"{_PREFIX}_refusals",
            "Requests that the Hub refused for now (429, 503 with Retry-After).",
            ["action", "status"],
            registry=registry,
        )
        self._windows = Counter(
            f"{_PREFIX}_quota_windows",
            "Quota windows: begun, or used up.",
            ["event"],
            registry=registry,
        )
        self._runs_in_progress = Gauge(
            f"{_PREFIX}_runs_in_progress",
            "Bulks that have begun and are not over.",
            ["operation"],
            registry=registry,
            multiprocess_mode=_ADD_UP,
        )
        self._runs = Counter(
            f"{_PREFIX}_runs",
            "Bulks that are over, by what stopped them early (empty if nothing did).",
            ["operation", "stopped_by"],
            registry=registry,
        )
        self._outcomes = Counter(
            f"{_PREFIX}_outcomes",
            "Spaces of bulks, by how their work ended.",
            ["operation", "status"],
            registry=registry,
        )
        self._breakers_open = Gauge(
            f"{_PREFIX}_breakers_open",
            "Bulks whose circuit breaker is not closed: the Hub is down for them.",
            registry=registry,
            multiprocess_mode=_ADD_UP,
        )
        self._outages = Counter(
            f"{_PREFIX}_breaker_openings",
            "How often the circuit breaker of a bulk has opened.",
            registry=registry,
        )
        self._stages = Counter(
            f"{_PREFIX}_stage_changes",
            "New stages that waits saw.",
            ["stage"],
            registry=registry,
        )
        self._open_breakers: set[int] = set()
        self._take_in: Mapping[type, Callable[[Any], None]] = {
            CallStarted: self._call_started,
            AttemptEnded: self._attempt_ended,
            CallEnded: self._call_ended,
            QuotaWait: self._quota_wait,
            RetryWait: self._retry_wait,
            Refusal: self._refusal,
            QuotaWindow: self._quota_window,
            RunStarted: self._run_started,
            SpaceEnded: self._space_ended,
            BreakerChanged: self._breaker_changed,
            RunEnded: self._run_ended,
            StageChanged: self._stage_changed,
        }

    def __call__(self, event: Event, /) -> None:
        """Take in an event."""
        take_in = self._take_in.get(type(event))
        if take_in is not None:
            take_in(event)

    def _call_started(self, _event: CallStarted) -> None:
        self._in_progress.inc()

    def _attempt_ended(self, event: AttemptEnded) -> None:
        result = event.error or ("needless" if event.status is None else event.status)
        self._requests.labels(event.action).observe(event.seconds)
        self._results.labels(event.action, result).inc()

    def _call_ended(self, event: CallEnded) -> None:
        self._in_progress.dec()
        self._calls.labels(event.action).observe(event.seconds)
        if event.error is not None:
            self._failures.labels(event.action, event.error).inc()
        if event.waited:
            self._waited.labels(event.action).inc(event.waited)

    def _quota_wait(self, event: QuotaWait) -> None:
        self._waits.labels(event.reason).inc()

    def _retry_wait(self, _event: RetryWait) -> None:
        self._waits.labels("retry").inc()

    def _refusal(self, event: Refusal) -> None:
        self._refusals.labels(event.action, event.status).inc()

    def _quota_window(self, event: QuotaWindow) -> None:
        self._windows.labels("begun" if event.left else "used up").inc()

    def _run_started(self, event: RunStarted) -> None:
        self._runs_in_progress.labels(event.operation).inc()

    def _space_ended(self, event: SpaceEnded) -> None:
        self._outcomes.labels(event.operation, event.status).inc()

    def _breaker_changed(self, event: BreakerChanged) -> None:
        if event.phase == "open":
            self._outages.inc()
        self._note_breaker(event.run, is_open=event.phase != "closed")

    def _run_ended(self, event: RunEnded) -> None:
        self._runs_in_progress.labels(event.operation).dec()
        self._runs.labels(event.operation, event.stopped_by or "").inc()
        self._note_breaker(event.run, is_open=False)

    def _stage_changed(self, event: StageChanged) -> None:
        # A word that the Hub makes up must not become a series.
        known = SpaceStage(event.stage).is_known
        self._stages.labels(event.stage if known else _OTHER).inc()

    def _note_breaker(self, run: int, *, is_open: bool) -> None:
        if is_open:
            self._open_breakers.add(run)
        else:
            self._open_breakers.discard(run)
        self._breakers_open.set(len(self._open_breakers))
