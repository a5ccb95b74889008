"""Who goes on with a roll-out keeps to its waves and its health, unless told otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async.bulk import Healthy
from spaces_async.bulk._rollout_record import options_of, record_of, taken_over
from spaces_async.bulk._waves import Pacing
from spaces_async.bulk.health import make_healthy
from spaces_async.testing import FakeHub, ManualClock

IDS: Final = [f"acme/s{number}" for number in range(4)]
WAVES: Final[list[int | str]] = [1, "100%"]
ANSWERS: Final = Healthy(probe="/up", timeout=30)


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """An org whose first Space has an app that answers 500."""
    async with FakeHub(clock=clock, build_seconds=1.0, start_seconds=1.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id)
        hub.space(IDS[0]).app_status = 500
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    settings = sa.ClientSettings(app_url=f"{hub.url}/_app/{{subdomain}}")
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock, settings=settings
    ) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "roll.jsonl")


def restarts(hub: FakeHub) -> list[int]:
    return [hub.space(repo_id).restarts for repo_id in IDS]


async def refuse(_: sa.SpacesClient, __: str) -> bool:
    return False


async def test_a_resume_meets_the_canary_again(
    client: sa.SpacesClient, hub: FakeHub, path: str
) -> None:
    """Nothing but the first Space gets a request until it is well."""
    await client.bulk.restart(IDS, waves=WAVES, healthy=ANSWERS, journal=path)
    again = await client.bulk.resume(path)
    assert (again.stopped_by, restarts(hub)) == ("unhealthy", [2, 0, 0, 0])
    assert [wave.size for wave in again.waves] == [1, 3]
    hub.space(IDS[0]).app_status = 200
    assert (await client.bulk.resume(path)).ok
    assert restarts(hub) == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "failed"),
    [({"waves": None}, 1), ({"waves": [4]}, 1), ({"healthy": False}, 0),
     ({"waves": None, "wait": True}, 1), ({"waves": None, "healthy": True}, 0)],
)  # fmt: skip
async def test_what_is_passed_goes_first(
    client: sa.SpacesClient, hub: FakeHub, path: str, options: Any, failed: int
) -> None:
    """Each of the options replaces that of the journal, None and False included."""
    await client.bulk.restart(
        IDS,
        waves=WAVES,
        healthy=ANSWERS,
        pause_between=5.0,
        max_unavailable=4,  # so that no other Space waits for the end of the first
        journal=path,
    )
    again = await client.bulk.resume(path, **options)
    assert restarts(hub) == [2, 1, 1, 1]
    assert len(again.failed) == failed


@pytest.mark.parametrize("from_journal", [True, False])
async def test_retry_failed_looks_at_health_again(
    client: sa.SpacesClient, hub: FakeHub, path: str, from_journal: bool
) -> None:
    """What failed for its health is not done because its write was accepted."""
    report = await client.bulk.restart(IDS, waves=WAVES, healthy=ANSWERS, journal=path)
    again = await client.bulk.retry_failed(path if from_journal else report)
    assert [o.reason for o in again.failed] == ["unhealthy"]
    assert restarts(hub) == [2, 0, 0, 0]
    blind = await client.bulk.retry_failed(
        path if from_journal else report, healthy=False
    )
    assert blind.ok


async def test_a_function_has_to_be_passed_again(
    client: sa.SpacesClient, hub: FakeHub, path: str
) -> None:
    """No file can hold it; a report can, and nothing is sent without it."""
    report = await client.bulk.restart(IDS[1:], waves=[1], healthy=refuse, journal=path)
    sent = restarts(hub)
    for again in (client.bulk.resume, client.bulk.retry_failed):
        with pytest.raises(sa.ConfigurationError, match="a function of yours"):
            await again(path)
    assert restarts(hub) == sent
    assert len((await client.bulk.retry_failed(report)).failed) == 1
    assert len((await client.bulk.retry_failed(path, healthy=refuse)).failed) == 1
    assert (await client.bulk.resume(path, healthy=False)).ok


@pytest.mark.parametrize(
    ("options", "healthy"),
    [({}, None), ({"max_failures": 3}, None), ({}, True),
     ({"waves": [1, "33.333333%"], "pause_between": 60.0, "max_failures": "5%"}, True),
     ({"waves": [2]}, False),
     ({"max_unavailable": "20%"}, Healthy(stages={"PAUSED"}, timeout=5)),
     ({"waves": [1]}, Healthy(probe="/up?x=1", for_seconds=9.5))],
)  # fmt: skip
def test_what_is_recorded_is_read_back(options: Any, healthy: Any) -> None:
    """All that was asked for about waves and health comes back, and no more."""
    judged, check = make_healthy(healthy)
    record = record_of(Pacing.make(**options), judged, has_check=check is not None)
    if "waves" not in options and judged is None:
        assert record is None
        assert options_of(record) == {}
        return
    expected = {**options, "healthy": False if judged is None else judged}
    found = options_of(record)
    if "waves" in found:
        found["waves"] = list(cast("list[int | str]", found["waves"]))
    assert found == expected


@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [({"waves": [1], "pause_between": 5, "max_failures": 2, "healthy": False},
      {"waves": None}, {"waves": None, "healthy": False}),
     ({"waves": [1], "healthy": False}, {"wait": True}, {"waves": [1], "wait": True}),
     ({"max_unavailable": 2, "healthy": Healthy()}, {"healthy": None},
      {"healthy": None}),
     ({"waves": [1], "max_failures": 2}, {"max_failures": None, "keep": "none"},
      {"waves": [1], "max_failures": None, "keep": "none"})],
)  # fmt: skip
def test_what_makes_no_sense_any_more_is_left_out(
    before: Any, given: Any, expected: Any
) -> None:
    """An option of before never contradicts one that is passed."""
    assert taken_over(before, given) == expected
