"""The metrics of a client for Prometheus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import spaces_async as sa
from spaces_async.observe import BreakerChanged, RunEnded, StageChanged
from spaces_async.observe.prometheus import PrometheusObserver
from spaces_async.testing import FakeHub, Fault, ManualClock
from tests.observe.promtool import check_metrics

SECRET = "canary-of-a-secret-value"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observer(registry: CollectorRegistry) -> PrometheusObserver:
    return PrometheusObserver(registry=registry)


@asynccontextmanager
async def observed(
    hub: FakeHub, observer: PrometheusObserver, **arguments: Any
) -> AsyncIterator[sa.SpacesClient]:
    settings = sa.ClientSettings(observer=observer)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings, **arguments
    ) as client:
        yield client


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"spaces_async_{name}", labels)


async def test_calls_and_requests_are_counted(
    hub: FakeHub, observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """Requests by their result, calls by their errors, and how long each took."""
    hub.faults("GET /runtime", Fault.disconnect())
    clock = ManualClock(auto=True)
    async with observed(hub, observer, clock=clock) as client:
        await client.lifecycle.get_runtime("acme/demo")
        with pytest.raises(sa.SpaceNotFoundError):
            await client.lifecycle.get_runtime("acme/none")
    action = {"action": "get_runtime"}
    results = {"200": 1.0, "404": 1.0, "ConnectionLostError": 1.0}
    for result, count in results.items():
        assert value(registry, "requests_total", **action, result=result) == count
    assert value(registry, "request_duration_seconds_count", **action) == 3
    assert value(registry, "call_duration_seconds_count", **action) == 2
    error = {"error": "SpaceNotFoundError"}
    assert value(registry, "call_failures_total", **action, **error) == 1
    assert value(registry, "waits_total", reason="retry") == 1
    assert (value(registry, "call_wait_seconds_total", **action) or 0) > 0
    assert value(registry, "calls_in_progress") == 0


async def test_runs_are_counted(
    hub: FakeHub, observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """A bulk counts as one run, and its Spaces by how they ended."""
    async with observed(hub, observer) as client:
        await client.bulk.pause(["acme/demo", "acme/none"])
    pause = {"operation": "pause"}
    assert value(registry, "runs_total", **pause, stopped_by="") == 1
    assert value(registry, "outcomes_total", **pause, status="done") == 1
    assert value(registry, "outcomes_total", **pause, status="failed") == 1
    assert value(registry, "runs_in_progress", **pause) == 0


async def test_the_quota_is_counted(
    hub: FakeHub, observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """Refusals, waits and windows tell how the quota fares."""
    hub.faults("POST /pause", Fault.action_limit(retry_after=20))
    async with observed(hub, observer, clock=ManualClock(auto=True)) as client:
        await client.lifecycle.pause("acme/demo")
    assert value(registry, "refusals_total", action="pause", status="429") == 1
    assert value(registry, "waits_total", reason="action") == 1
    assert value(registry, "quota_windows_total", event="begun") == 1


def test_a_breaker_counts_until_its_run_ends(
    observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """An open breaker is seen, and is over at the latest with its run."""
    observer(BreakerChanged(run=1, phase="open"))
    observer(BreakerChanged(run=2, phase="open"))
    observer(BreakerChanged(run=2, phase="half-open"))
    assert value(registry, "breakers_open") == 2
    observer(BreakerChanged(run=2, phase="closed"))
    assert value(registry, "breakers_open") == 1
    observer(
        RunEnded(run=1, operation="pause", seconds=1.0, counts={}, stopped_by="outage")
    )
    assert value(registry, "breakers_open") == 0
    assert value(registry, "breaker_openings_total") == 2


def test_a_new_word_of_the_hub_makes_no_series(
    observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """Stages that nobody knows are counted as one."""
    for stage in ("PAUSED", "NEW_ONE", "NEW_TWO"):
        observer(StageChanged(repo_id="a/b", stage=stage, before=None, parent=None))
    assert value(registry, "stage_changes_total", stage="PAUSED") == 1
    assert value(registry, "stage_changes_total", stage="other") == 2


async def test_no_label_names_a_space_a_token_or_a_secret(
    hub: FakeHub, observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """The number of series does not grow with the Spaces, and nothing secret is in it."""
    hub.faults("POST /secrets", Fault.status(400, message=f"{hub.token} {SECRET}"))
    async with observed(hub, observer) as client:
        with pytest.raises(sa.BadRequestError):
            await client.config.add_secret("acme/demo", "KEY", SECRET)
        await client.bulk.add_secret(["acme/demo"], key="KEY", value=SECRET)
        runtime = await client.lifecycle.restart("acme/demo")
        await client.lifecycle.wait_until("acme/demo", after=runtime, timeout=30)
    text = generate_latest(registry).decode()
    assert "add_secret" in text
    for canary in (hub.token, SECRET, "acme", "demo"):
        assert canary not in text
    assert not re.search(r'="[^"]*/', text)


async def test_promtool_finds_nothing(
    hub: FakeHub, observer: PrometheusObserver, registry: CollectorRegistry
) -> None:
    """The names, types and help texts are as Prometheus asks for."""
    async with observed(hub, observer) as client:
        await client.bulk.pause(["acme/demo"])
    check_metrics(generate_latest(registry).decode())


WORKER = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from spaces_async.observe import CallStarted
from spaces_async.observe.prometheus import PrometheusObserver

observer = PrometheusObserver()
started = CallStarted(call=1, parent=None, action="a", method="GET", repo_id=None)
child = os.fork()
observer(started)
if child:
    os.waitpid(child, 0)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(registry.get_sample_value("spaces_async_calls_in_progress"))
else:
    os._exit(0)
"""


def test_the_gauges_of_workers_add_up(tmp_path: Path) -> None:
    """Each worker of a service counts for itself; a scrape of one sees them all."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("2.0\n", "")
