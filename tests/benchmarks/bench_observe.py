"""What an observer costs on top of a call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from spaces_async import Observer
from spaces_async.observe import Event
from spaces_async.observe.otel import OpenTelemetryObserver
from spaces_async.observe.prometheus import PrometheusObserver
from spaces_async.observe.structlog import StructlogObserver
from tests.benchmarks.bench_calls import repeated
from tests.benchmarks.contestants import AsyncCall, our_client
from tests.benchmarks.harness import (
    Figure,
    Goal,
    Loop,
    Plan,
    Results,
    Row,
    Times,
    interleave,
    server,
)

_NONE: Final = "no observer"
_OTEL: Final = "OpenTelemetry, each span recorded"
_BY_HAND: Final = "two spans and a value of the SDK, made by hand"
_GOALS: Final = {_OTEL: Goal(25.0)}


def nothing(_event: Event) -> None:
    """Take in an event and do nothing."""


def observers() -> dict[str, Observer | None]:
    """Return what is compared. Nothing is exported: that is done in another thread."""
    meters = MeterProvider([InMemoryMetricReader()])
    quiet = structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
    )
    return {
        _NONE: None,
        "an observer that does nothing": nothing,
        _OTEL: OpenTelemetryObserver(
            tracer_provider=TracerProvider(), meter_provider=meters
        ),
        "OpenTelemetry, no span recorded": OpenTelemetryObserver(
            tracer_provider=TracerProvider(sampler=ALWAYS_OFF), meter_provider=meters
        ),
        "OpenTelemetry without an SDK": OpenTelemetryObserver(),
        "Prometheus": PrometheusObserver(registry=CollectorRegistry()),
        "structlog, from info on": StructlogObserver(quiet),
    }


def by_hand(call: AsyncCall) -> AsyncCall:
    """Return a call with what the SDK itself does at least: the floor for an observer."""
    tracer = TracerProvider().get_tracer("bench")
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    duration = meter.create_histogram("http.client.request.duration", unit="s")

    async def spanned(repo_id: str) -> object:
        with tracer.start_as_current_span("get_runtime"):
            found = await call(repo_id)
            attributes: dict[str, str | int] = {
                "http.request.method": "GET",
                "server.address": "127.0.0.1",
                "server.port": 80,
                "http.response.status_code": 200,
            }
            duration.record(0.001, attributes)
            attributes["url.full"] = "http://127.0.0.1/api/spaces/acme/demo/runtime"
            tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=attributes).end()
            return found

    return spanned


def measure(plan: Plan) -> Results:
    """Compare a client without an observer with those that have one."""
    count = plan.pick(200, 5)
    contestants: dict[str, Callable[[], object]] = {}
    with server() as url, ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)
        for name, observer in observers().items():
            client = our_client(loop, url, observer=observer)
            contestants[name] = repeated(loop, client.lifecycle.get_runtime, count)
        plain = our_client(loop, url).lifecycle.get_runtime
        contestants[_BY_HAND] = repeated(loop, by_hand(plain), count)
        times = interleave(
            "`GET .../runtime` with an observer",
            contestants,
            rounds=plan.pick(15, 2),
            units=count,
        )
    rows = [row(times, name) for name in contestants if name != _NONE]
    return Results(rows=rows, costs=[times.costs()])


def row(times: Times, name: str) -> Row:
    """Return what an observer costs on top, round for round."""
    pairs = list(zip(times.samples[name], times.samples[_NONE], strict=True))
    return Row(
        f"observe.{name}",
        f"a call with {name}, on top",
        "µs",
        "CPU",
        {
            "CPU": Figure.of([(one.cpu - base.cpu) * 1e6 for one, base in pairs]),
            "wall": Figure.of([(one.wall - base.wall) * 1e6 for one, base in pairs]),
        },
        _GOALS.get(name),
    )
