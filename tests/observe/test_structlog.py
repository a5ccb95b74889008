"""A line of structlog for each event."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

import spaces_async as sa
from spaces_async.observe.structlog import StructlogObserver
from spaces_async.testing import FakeHub, Fault, ManualClock

SECRET = "canary-of-a-secret-value"


async def logged(hub: FakeHub, observer: StructlogObserver) -> None:
    """Do a bit of everything."""
    hub.faults("GET /runtime", Fault.rate_limit(retry_after=3))
    settings = sa.ClientSettings(observer=observer)
    clock = ManualClock(auto=True)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings, clock=clock
    ) as client:
        await client.lifecycle.get_runtime("acme/demo")
        hub.faults("POST /secrets", Fault.status(400, message=f"{hub.token} {SECRET}"))
        with pytest.raises(sa.BadRequestError):
            await client.config.add_secret("acme/demo", "KEY", SECRET)
        await client.bulk.pause(["acme/demo", "acme/none"])


async def test_each_event_is_a_line(hub: FakeHub) -> None:
    """A line is called after its event, has its fields, and a level that fits."""
    with capture_logs() as lines:
        await logged(hub, StructlogObserver())
    levels = {(line["event"], line["log_level"]) for line in lines}
    assert levels >= {
        ("call_started", "debug"),
        ("attempt_ended", "debug"),
        ("call_ended", "debug"),
        ("call_ended", "warning"),  # of the call that failed
        ("quota_wait", "info"),
        ("refusal", "warning"),
        ("run_started", "info"),
        ("space_ended", "debug"),
        ("space_ended", "warning"),  # of the Space that failed
        ("run_ended", "info"),
    }
    ended = next(line for line in lines if line["event"] == "call_ended")
    assert ended["action"] == "get_runtime"
    assert ended["repo_id"] == "acme/demo"
    assert "error" not in ended  # what is None is left out


async def test_it_logs_where_it_is_told_to(hub: FakeHub) -> None:
    """A logger of the program's own gets the lines."""
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, _name: str, line: Any) -> str:
        lines.append(dict(line))
        raise structlog.DropEvent

    logger = structlog.wrap_logger(None, processors=[keep]).bind(service="backend")
    await logged(hub, StructlogObserver(logger))
    assert {line["service"] for line in lines} == {"backend"}


async def test_no_token_and_no_secret_is_in_a_line(hub: FakeHub) -> None:
    """Whatever the Hub echoes, no line has it."""
    with capture_logs() as lines:
        await logged(hub, StructlogObserver())
    told = repr(lines)
    assert "add_secret" in told
    for canary in (hub.token, SECRET):
        assert canary not in told
