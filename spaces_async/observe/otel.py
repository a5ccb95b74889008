"""OpenTelemetry: spans of runs, calls and requests, and the duration of requests.

```python
from spaces_async import ClientSettings, SpacesClient
from spaces_async.observe.otel import OpenTelemetryObserver

client = SpacesClient(settings=ClientSettings(observer=OpenTelemetryObserver()))
```

It needs the extra `otel`, which brings the API. The SDK, and where it sends what it
gathers, is the program's choice; without one this costs little and does nothing.

| span | kind | for |
| --- | --- | --- |
| `bulk restart` | internal | a run; failed Spaces and the breaker are its events |
| `restart` | internal | a call with all its attempts; waits and refusals are its events |
| `POST` | client | a request, with the attributes of the HTTP conventions |

The metric `http.client.request.duration` has a value for each request, in seconds.

The span of a call is the current one while the call goes on, and the span of a run is
the current one in the tasks of the run. So what a function of yours does for a Space of
a bulk is part of the run, and its calls are part of what it does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from spaces_async._version import __version__
from spaces_async.observe.events import (
    AttemptEnded,
    BreakerChanged,
    CallEnded,
    CallStarted,
    Event,
    QuotaWait,
    Refusal,
    RetryWait,
    RunEnded,
    RunStarted,
    SpaceEnded,
    StageChanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["OpenTelemetryObserver"]

_SCOPE: Final = "spaces_async"
_BILLION: Final = 1_000_000_000
_FIRST_ERROR_STATUS: Final = 400
_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
"""The boundaries that the HTTP conventions ask for, in seconds."""
_TROUBLES: Final = frozenset({"failed", "unknown"})


class OpenTelemetryObserver:
    """Makes spans and a metric of the events of a client.

    One object serves any number of clients and event loops.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Make an observer.

        Args:
            tracer_provider: Makes the spans; None takes the global one.
            meter_provider: Makes the metric; None takes the global one.
        """
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        # The calls and runs that go on, by number.
        self._calls: dict[int, tuple[Span, Context, Token[Context]]] = {}
        self._runs: dict[int, Span] = {}
        self._take_in: Mapping[type, Callable[[Any], None]] = {
            CallStarted: self._call_started,
            AttemptEnded: self._attempt_ended,
            CallEnded: self._call_ended,
            QuotaWait: self._quota_wait,
            RetryWait: self._retry_wait,
            Refusal: self._refusal,
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

    def _call_started(self, event: CallStarted) -> None:
        repo_id = event.repo_id
        attributes = None if repo_id is None else {"spaces_async.repo_id": repo_id}
        span = self._tracer.start_span(event.action, attributes=attributes)
        context = trace.set_span_in_context(span)
        self._calls[event.call] = span, context, otel_context.attach(context)

    def _call_ended(self, event: CallEnded) -> None:
        found = self._calls.pop(event.call, None)
        if found is None:
            return
        span, context, token = found
        # A coroutine that is dropped unfinished is closed in another context.
        if otel_context.get_current() is context:
            otel_context.detach(token)
        if event.attempts != 1 or event.waited:
            span.set_attribute("spaces_async.attempts", event.attempts)
            span.set_attribute("spaces_async.waited", event.waited)
        if event.error is not None:
            span.set_attribute("error.type", event.error)
            if event.outcome_unknown:
                span.set_attribute("spaces_async.outcome_unknown", value=True)
            span.set_status(Status(StatusCode.ERROR, event.message))
        span.end()

    def _attempt_ended(self, event: AttemptEnded) -> None:
        status, seconds = event.status, event.seconds
        attributes: dict[str, str | int] = {
            "http.request.method": event.method,
            "server.address": event.host,
            "server.port": event.port,
        }
        problem = event.error
        if status is not None:
            attributes["http.response.status_code"] = status
            if status >= _FIRST_ERROR_STATUS:
                problem = str(status)
        if problem is not None:
            attributes["error.type"] = problem
        self._duration.record(seconds, attributes)
        more: dict[str, str | int] = {**attributes, "url.full": event.url}
        if event.number > 1:
            more["http.request.resend_count"] = event.number - 1
        ended = time.time_ns()
        span = self._tracer.start_span(
            event.method,
            kind=SpanKind.CLIENT,
            attributes=more,
            start_time=ended - int(seconds * _BILLION),
        )
        if problem is not None:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def _quota_wait(self, event: QuotaWait) -> None:
        self._add_event(
            event.call,
            "quota wait",
            {
                "spaces_async.seconds": event.seconds,
                "spaces_async.reason": event.reason,
            },
        )

    def _retry_wait(self, event: RetryWait) -> None:
        number = event.run if event.call is None else event.call
        attributes: dict[str, Any] = {"spaces_async.seconds": event.seconds}
        if event.repo_id is not None:
            attributes["spaces_async.repo_id"] = event.repo_id
        self._add_event(number, "retry wait", attributes)

    def _refusal(self, event: Refusal) -> None:
        attributes = {
            "http.response.status_code": event.status,
            "spaces_async.retry_after": event.retry_after,
            "spaces_async.quota_left": event.quota_left,
        }
        known = {name: value for name, value in attributes.items() if value is not None}
        self._add_event(event.call, "refused", known)

    def _run_started(self, event: RunStarted) -> None:
        attributes: dict[str, Any] = {
            "spaces_async.operation": event.operation,
            "spaces_async.concurrency": event.concurrency,
        }
        if event.total is not None:
            attributes["spaces_async.total"] = event.total
        span = self._tracer.start_span(f"bulk {event.operation}", attributes=attributes)
        # In the context of the tasks of the run, which ends with them.
        otel_context.attach(trace.set_span_in_context(span))
        self._runs[event.run] = span

    def _space_ended(self, event: SpaceEnded) -> None:
        if event.status not in _TROUBLES:
            return
        attributes: dict[str, Any] = {
            "spaces_async.repo_id": event.repo_id,
            "spaces_async.status": event.status,
        }
        if event.error is not None:
            attributes["error.type"] = event.error
        self._add_event(event.run, "space ended", attributes)

    def _breaker_changed(self, event: BreakerChanged) -> None:
        phase = {"spaces_async.phase": event.phase}
        self._add_event(event.run, "breaker changed", phase)

    def _run_ended(self, event: RunEnded) -> None:
        span = self._runs.pop(event.run, None)
        if span is None:
            return
        for status, count in event.counts.items():
            if count:
                span.set_attribute(f"spaces_async.outcomes.{status}", count)
        if event.stopped_by is not None:
            span.set_attribute("spaces_async.stopped_by", event.stopped_by)
            span.set_status(StatusCode.ERROR)
        span.end()

    @staticmethod
    def _stage_changed(event: StageChanged) -> None:
        trace.get_current_span().add_event(
            "stage changed",
            {"spaces_async.repo_id": event.repo_id, "spaces_async.stage": event.stage},
        )

    def _add_event(
        self, number: int | None, name: str, attributes: Mapping[str, Any]
    ) -> None:
        """Add an event to the span of a call or run, if it is known."""
        if number is None:
            return
        call = self._calls.get(number)
        span = self._runs.get(number) if call is None else call[0]
        if span is not None:
            span.add_event(name, attributes)
