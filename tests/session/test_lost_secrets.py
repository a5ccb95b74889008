"""Secrets whose write was lost: the Hub shows when one was written, but never what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async._core.recent_writes import RecentWrites
from spaces_async.testing import FakeHub, Fault, ManualClock


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub with one Space, by that clock."""
    async with FakeHub(clock=clock) as hub:
        hub.add_space("acme/demo")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client with the default retries."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


async def test_a_secret_is_not_taken_for_the_one_just_before(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """A lost write right after another of the same secret is sent again, not believed.

    `updatedAt` is too coarse to tell the two apart, whoever wrote the first one.
    """
    secrets = hub.space("acme/demo").secrets
    await client.config.add_secret("acme/demo", "K", "first")
    hub.faults("POST /secrets", Fault.reset())
    await client.config.add_secret("acme/demo", "K", "second")
    assert secrets["K"].value == "second"
    clock.advance(10)
    hub.space("acme/demo").configure({}, {"K": "another program's"})
    clock.advance(1)
    hub.faults("POST /secrets", Fault.reset())
    await client.config.add_secret("acme/demo", "K", "third")
    assert secrets["K"].value == "third"


async def test_a_secret_that_cannot_be_told_from_the_one_before_is_unknown(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """If it is lost again and again, nobody can say whether it was written."""
    await client.config.add_secret("acme/demo", "K", "first")
    hub.faults("POST /secrets", Fault.reset(acted=True), times=None)
    with pytest.raises(sa.ConnectionLostError) as caught:
        await client.config.add_secret("acme/demo", "K", "second")
    assert caught.value.outcome_unknown
    assert hub.count("POST", "/secrets") == 6


async def test_a_bulk_does_not_take_a_secret_for_the_one_just_before(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The same in a bulk."""
    for value in ("first", "second"):
        report = await client.bulk.add_secret(["acme/demo"], key="K", value=value)
        assert report.ok
        assert hub.space("acme/demo").secrets["K"].value == value
        hub.faults("POST /secrets", Fault.reset())


async def test_a_bulk_judges_a_secret_by_the_hubs_clock() -> None:
    """With a clock that is an hour slow, old secrets look young; they are not."""
    slow = ManualClock(datetime(2025, 12, 31, 23, tzinfo=UTC), auto=True)
    async with FakeHub(clock=ManualClock()) as hub:
        hub.add_space("acme/demo", secrets={"K": "old"})
        hub.clock.advance(60)  # type: ignore[attr-defined]
        hub.faults("POST /secrets", Fault.reset())
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=slow
        ) as client:
            report = await client.bulk.add_secret(["acme/demo"], key="K", value="new")
        assert report.ok
        assert hub.space("acme/demo").secrets["K"].value == "new"


def test_which_writes_are_recent_is_soon_forgotten() -> None:
    """Only writes of the last seconds are kept in mind."""
    recent = RecentWrites()
    for number in range(100):
        assert not recent.holds(("acme/demo", str(number)), float(number))
        recent.note(("acme/demo", str(number)), float(number))
    assert recent.holds(("acme/demo", "95"), 99.0)
    assert not recent.holds(("acme/demo", "93"), 99.0)
    assert len(recent._ended) == 6
