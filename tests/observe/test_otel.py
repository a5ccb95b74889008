"""OpenTelemetry: the spans, their parents, and the duration of requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

import pytest
from attrs import frozen
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import spaces_async as sa
from spaces_async.bulk import operations
from spaces_async.observe import (
    BreakerChanged,
    QuotaWait,
    RetryWait,
    RunEnded,
    RunStarted,
)
from spaces_async.observe.otel import OpenTelemetryObserver
from spaces_async.testing import FakeHub, Fault, ManualClock

SECRET = "canary-of-a-secret-value"


@frozen
class Telemetry:
    """What was gathered, in memory."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer: trace.Tracer
    observer: OpenTelemetryObserver

    def spans(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        """Return the spans in the order of their begin."""
        found = [
            s for s in self.exporter.get_finished_spans() if kind in {None, s.kind}
        ]
        return sorted(found, key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]

    def points(self) -> list[Any]:
        """Return the data points of the only metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return list(metric.data.data_points)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(tracer_provider=tracers, meter_provider=meters)
    yield Telemetry(exporter, reader, tracers.get_tracer("test"), observer)
    tracers.shutdown()
    meters.shutdown()


@asynccontextmanager
async def observed(
    hub: FakeHub, telemetry: Telemetry, **arguments: Any
) -> AsyncIterator[sa.SpacesClient]:
    settings = sa.ClientSettings(observer=telemetry.observer)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings, **arguments
    ) as client:
        yield client


def id_of(span: ReadableSpan) -> int:
    context: Any = span.get_span_context()
    return int(context.span_id)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_call_and_its_request(hub: FakeHub, telemetry: Telemetry) -> None:
    """A call is an internal span, its request a client span with the HTTP attributes."""
    async with observed(hub, telemetry) as client:
        await client.lifecycle.get_runtime("acme/demo")
    call, request = telemetry.spans()
    assert (call.name, call.kind) == ("get_runtime", SpanKind.INTERNAL)
    assert parent_of(call) is None
    assert attributes_of(call) == {"spaces_async.repo_id": "acme/demo"}
    assert (request.name, request.kind) == ("GET", SpanKind.CLIENT)
    assert parent_of(request) == id_of(call)
    assert attributes_of(request) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(hub.url.rpartition(":")[2]),
        "url.full": f"{hub.url}/api/spaces/acme/demo/runtime",
        "http.response.status_code": 200,
    }
    assert request.status.status_code is call.status.status_code is StatusCode.UNSET
    assert request.start_time is not None
    assert request.end_time is not None
    assert request.start_time < request.end_time


async def test_the_duration_of_requests(hub: FakeHub, telemetry: Telemetry) -> None:
    """The metric has no id of a Space and no path, and buckets in seconds."""
    hub.add_space("acme/other")
    async with observed(hub, telemetry) as client:
        await client.lifecycle.get_runtime("acme/demo")
        await client.lifecycle.get_runtime("acme/other")
        with pytest.raises(sa.SpaceNotFoundError):
            await client.lifecycle.get_runtime("acme/none")
    good, bad = telemetry.points()
    assert (good.count, bad.count) == (2, 1)
    assert good.explicit_bounds[0] == 0.005
    assert dict(good.attributes) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(hub.url.rpartition(":")[2]),
        "http.response.status_code": 200,
    }
    assert dict(bad.attributes)["error.type"] == "404"


async def test_failed_and_repeated_requests(hub: FakeHub, telemetry: Telemetry) -> None:
    """Each request has its own span, with its error and its number."""
    hub.faults("GET /runtime", Fault.disconnect())
    hub.faults("GET /runtime", Fault.status(500))
    async with observed(hub, telemetry, clock=ManualClock(auto=True)) as client:
        await client.lifecycle.get_runtime("acme/demo")
    (call,) = telemetry.named("get_runtime")
    lost, failed, good = map(attributes_of, telemetry.spans(SpanKind.CLIENT))
    assert lost["error.type"] == "ConnectionLostError"
    assert "http.response.status_code" not in lost
    assert (failed["error.type"], failed["http.response.status_code"]) == ("500", 500)
    assert "error.type" not in good
    counts = [a.get("http.request.resend_count") for a in (lost, failed, good)]
    assert counts == [None, 1, 2]
    statuses = [s.status.status_code for s in telemetry.spans(SpanKind.CLIENT)]
    assert statuses == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert [event.name for event in call.events] == ["retry wait", "retry wait"]
    assert attributes_of(call)["spaces_async.attempts"] == 3
    assert call.status.status_code is StatusCode.UNSET


async def test_a_call_that_fails(hub: FakeHub, telemetry: Telemetry) -> None:
    """The span of the call has the error, with its words."""
    hub.faults("POST /restart", Fault.disconnect(), times=None)
    hub.faults("GET /runtime", Fault.status(403), times=None)
    async with observed(hub, telemetry) as client:
        with pytest.raises(sa.ConnectionLostError) as seen:
            await client.lifecycle.restart("acme/demo")
    (call,) = telemetry.named("restart")
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == str(seen.value)
    attributes = attributes_of(call)
    assert attributes["error.type"] == "ConnectionLostError"
    assert attributes["spaces_async.outcome_unknown"] is True
    (look,) = telemetry.named("get_runtime")
    assert parent_of(look) == id_of(call)


async def test_a_call_is_part_of_what_calls_it(
    hub: FakeHub, telemetry: Telemetry
) -> None:
    """In any task, a call's parent is the span that is current there."""
    async with observed(hub, telemetry) as client:
        with telemetry.tracer.start_as_current_span("request") as request:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(client.lifecycle.get_runtime("acme/demo"))
            assert trace.get_current_span() is request
        await client.lifecycle.get_runtime("acme/demo")
    parents = [parent_of(span) for span in telemetry.named("get_runtime")]
    assert parents == [*[request.get_span_context().span_id] * 3, None]


async def test_a_run_and_its_calls(hub: FakeHub, telemetry: Telemetry) -> None:
    """A run is a span, its calls are below it, and the caller's span stays current."""
    async with observed(hub, telemetry) as client:
        with telemetry.tracer.start_as_current_span("job") as job:
            async with client.bulk.stream(
                operations.pause(), ["acme/demo", "acme/none"]
            ) as outcomes:
                assert trace.get_current_span() is job
                _ = [outcome async for outcome in outcomes]
    (run,) = telemetry.named("bulk pause")
    assert parent_of(run) == job.get_span_context().span_id
    assert {parent_of(span) for span in telemetry.named("pause")} == {id_of(run)}
    attributes = attributes_of(run)
    assert attributes["spaces_async.operation"] == "pause"
    assert attributes["spaces_async.outcomes.done"] == 1
    assert attributes["spaces_async.outcomes.failed"] == 1
    (event,) = run.events
    assert dict(event.attributes or {}) == {
        "spaces_async.repo_id": "acme/none",
        "spaces_async.status": "failed",
        "error.type": "SpaceNotFoundError",
    }


async def test_spans_of_a_function_lie_between(
    hub: FakeHub, telemetry: Telemetry
) -> None:
    """A user's span in a bulk is below the run, and the calls in it are below it."""

    async def look(client: sa.SpacesClient, repo_id: str) -> None:
        with telemetry.tracer.start_as_current_span("mine"):
            await client.lifecycle.get_runtime(repo_id)

    async with observed(hub, telemetry) as client:
        await client.bulk.run(operations.as_operation(look, name="look"), ["acme/demo"])
    (run,), (mine,) = telemetry.named("bulk look"), telemetry.named("mine")
    (call,) = telemetry.named("get_runtime")
    assert parent_of(mine) == id_of(run)
    assert parent_of(call) == id_of(mine)


async def test_a_cancelled_call(
    hub: FakeHub, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled call ends its spans, and nothing of it stays current."""
    hub.faults("GET /runtime", Fault.hang())
    async with observed(hub, telemetry) as client:
        task = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        async with asyncio.timeout(30):
            while not hub.requests:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.lifecycle.get_runtime("acme/demo")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    cancelled = [
        attributes_of(span).get("error.type") for span in telemetry.spans()[:2]
    ]
    assert cancelled == ["CancelledError", "CancelledError"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_call_that_is_dropped_unfinished(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """What an interpreter closes at its end, in any context, is no error of the tracer."""
    with FakeHub() as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo")
        settings = sa.ClientSettings(observer=telemetry.observer)
        client = sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings)

        async def main() -> None:
            coroutine: Any = client.lifecycle.get_runtime("acme/demo")
            # It runs to its first wait in a context of its own.
            copy_context().run(coroutine.send, None)
            coroutine.close()
            await client.aclose()

        asyncio.run(main())
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]
    (call,) = telemetry.named("get_runtime")
    assert attributes_of(call)["error.type"] == "GeneratorExit"


async def test_two_observers_of_one_client(hub: FakeHub, telemetry: Telemetry) -> None:
    """Whichever comes first, after a call the caller's span is current again."""
    other = OpenTelemetryObserver(tracer_provider=TracerProvider())
    settings = sa.ClientSettings(observer=[telemetry.observer, other])
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        with telemetry.tracer.start_as_current_span("request") as request:
            await client.lifecycle.get_runtime("acme/demo")
            assert trace.get_current_span() is request


async def test_stages_and_waits_are_events_of_spans(
    hub: FakeHub, telemetry: Telemetry
) -> None:
    """A stage that a wait sees is an event of the span around it; so is a refusal."""
    hub.faults("GET /runtime", Fault.rate_limit(retry_after=3))
    async with observed(hub, telemetry, clock=ManualClock(auto=True)) as client:
        with telemetry.tracer.start_as_current_span("job"):
            await client.lifecycle.wait_until("acme/demo", timeout=30)
    (job,) = telemetry.named("job")
    assert [dict(event.attributes or {}) for event in job.events] == [
        {"spaces_async.repo_id": "acme/demo", "spaces_async.stage": "RUNNING"}
    ]
    events = [e for span in telemetry.named("get_runtime") for e in span.events]
    refusal = next(event for event in events if event.name == "refused")
    assert dict(refusal.attributes or {})["http.response.status_code"] == 429
    assert "quota wait" in {event.name for event in events}


async def test_no_token_and_no_secret_is_in_a_span(
    hub: FakeHub, telemetry: Telemetry
) -> None:
    """Whatever the Hub echoes, no span, event or label has it."""
    hub.faults("POST /secrets", Fault.status(400, message=f"{hub.token} {SECRET}"))
    async with observed(hub, telemetry) as client:
        with pytest.raises(sa.BadRequestError):
            await client.config.add_secret("acme/demo", "KEY", SECRET)
        await client.config.add_secret("acme/demo", "KEY", SECRET)
        await client.bulk.add_secret(["acme/demo"], key="KEY", value=SECRET)
        _ = [info async for info in client.catalog.list_spaces(search="query-word")]
    told = "\n".join(span.to_json() for span in telemetry.spans())
    told += str(telemetry.reader.get_metrics_data())
    assert "secrets" in told
    for canary in (hub.token, SECRET, "query-word"):
        assert canary not in told


def test_an_outage_of_a_run(telemetry: Telemetry) -> None:
    """The phases of the breaker are events of the run; a run that was stopped failed."""
    observer = telemetry.observer
    begin = RunStarted(run=7, parent=None, operation="pause", concurrency=2, total=None)
    copy_context().run(observer, begin)
    observer(BreakerChanged(run=7, phase="open"))
    observer(RetryWait(seconds=1.5, action="pause", call=None, run=7, repo_id="a/b"))
    observer(
        RunEnded(
            run=7,
            operation="pause",
            seconds=600.0,
            counts={"done": 1, "failed": 0, "not_attempted": 4},
            stopped_by="outage",
        )
    )
    (run,) = telemetry.named("bulk pause")
    assert run.status.status_code is StatusCode.ERROR
    assert attributes_of(run) == {
        "spaces_async.operation": "pause",
        "spaces_async.concurrency": 2,
        "spaces_async.outcomes.done": 1,
        "spaces_async.outcomes.not_attempted": 4,
        "spaces_async.stopped_by": "outage",
    }
    assert [(event.name, dict(event.attributes or {})) for event in run.events] == [
        ("breaker changed", {"spaces_async.phase": "open"}),
        (
            "retry wait",
            {"spaces_async.seconds": 1.5, "spaces_async.repo_id": "a/b"},
        ),
    ]


def test_events_of_what_began_before_are_passed_over(telemetry: Telemetry) -> None:
    """What has no span, as a call of before the observer came, makes no trouble."""
    observer = telemetry.observer
    observer(QuotaWait(3.0, "window", "restart"))
    observer(QuotaWait(3.0, "window", "restart", 99))
    observer(BreakerChanged(run=99, phase="open"))
    observer(
        RunEnded(run=99, operation="pause", seconds=1.0, counts={}, stopped_by=None)
    )
    assert telemetry.spans() == []
