"""A selection at work: what it reads, what it leaves out, and what it says of that."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault, ManualClock

READS = ("/secrets", "/variables")


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """An org with a Space of each kind that a condition tells apart."""
    async with FakeHub() as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo-1", hardware="t4-small", secrets={"OPENAI_KEY": "v"})
        hub.add_space("acme/demo-2", variables={"MODEL": "m"})
        hub.add_space("acme/prod-1", hardware="a10g-small", secrets={"OPENAI_KEY": "v"})
        hub.add_space("acme/zero", hardware="zero-a10g")
        hub.add_space("acme/site", sdk="static")
        hub.add_space("acme/off", stage="PAUSED", hardware="t4-small", private=True)
        hub.space("acme/site").tags = ["site", "region:eu"]
        hub.space("acme/demo-2").resource_group = "6" * 24
        hub.space("acme/off").last_modified = datetime(2020, 1, 1, tzinfo=UTC)
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=ManualClock(auto=True)
    ) as client:
        yield client


async def names(client: sa.SpacesClient, **conditions: Any) -> set[str]:
    selection = sa.Selection(author="acme", **conditions)
    return {info.name async for info in selection.resolve(client)}


def asked(hub: FakeHub, *paths: str) -> list[str]:
    """Return which Spaces were read for their secrets or variables."""
    found = (r.path for r in hub.requests if r.path.endswith(paths or READS))
    return sorted(path.split("/")[4] for path in found)


def listings(hub: FakeHub) -> int:
    """Return how often the org was listed; a probe of the Hub asks for one Space."""
    queries = (r.query for r in hub.requests if r.path == "/api/spaces")
    return sum(("limit", "500") in query for query in queries)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"exclude": ["prod-*", "zero"]}, {"demo-1", "demo-2", "site", "off"}),
        ({"match": "demo-*", "exclude": "acme/*-2"}, {"demo-1"}),
        ({"stages": "idle"}, {"off"}),
        ({"visibility": "private"}, {"off"}),
        ({"tags": ["site", "nothing"]}, {"site"}),
        ({"resource_group": "group"}, {"demo-2"}),
        ({"modified_before": timedelta(days=365)}, {"off"}),
        ({"modified_before": datetime(2020, 1, 1, tzinfo=UTC)}, set()),
        ({"having_secret": "OPENAI_KEY"}, {"demo-1", "prod-1"}),
        ({"having_secret": ["OTHER", "OPENAI_KEY"], "exclude": "prod-*"}, {"demo-1"}),
        ({"having_variable": "MODEL"}, {"demo-2"}),
        ({"having_secret": "OPENAI_KEY", "having_variable": "MODEL"}, set()),
        ({"paid": True, "exclude": "zero"}, {"demo-1", "prod-1", "off"}),
        ({"paid": False, "exclude": "zero"}, {"demo-2", "site"}),
    ],
)
async def test_conditions_hold_together(
    client: sa.SpacesClient, conditions: dict[str, Any], expected: set[str]
) -> None:
    """Each list means any of its words, and all conditions hold together."""
    assert await names(client, **conditions) == expected


async def test_secrets_are_read_last(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Only what fits all else is read, and a variable only where the secret is."""
    await names(client, having_secret="OPENAI_KEY", sdks="gradio", exclude="prod-*")
    assert asked(hub) == ["demo-1", "demo-2", "off", "zero"]
    hub.requests.clear()
    await names(client, having_secret="OPENAI_KEY", having_variable="M")
    assert asked(hub, "/variables") == ["demo-1", "prod-1"]


async def test_many_secrets_are_read_side_by_side(hub: FakeHub) -> None:
    """A bounded number of reads is in flight, and their order is that of the listing."""
    for number in range(150):
        hub.add_space(f"acme/s{number:03}", secrets={"K": "v"})
    hub.faults("GET /secrets", Fault.delay(0.002), times=None)
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        listed = [i.id async for i in sa.Selection(author="acme").resolve(client)]
        selection = sa.Selection(author="acme", having_secret="K")
        found = [info.id async for info in selection.resolve(client)]
    assert found == [
        repo_id for repo_id in listed if "/s0" in repo_id or "/s1" in repo_id
    ]
    assert 8 < hub.max_in_flight <= 16


async def test_prices_are_read_once_and_only_when_asked_for(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """`paid` costs one request, which also tells whether a flavor is known."""
    await names(client, stages="running")
    assert hub.count("GET", "/api/spaces/hardware") == 0
    with pytest.raises(sa.ConfigurationError, match="did you mean 't4-small'"):
        await names(client, paid=True, hardware="t4-smal")
    assert [request.path for request in hub.requests[-1:]] == ["/api/spaces/hardware"]
    assert hub.count("GET", "/api/spaces/hardware") == 1
    hub.faults("GET /api/spaces/hardware", Fault.status(404))
    with pytest.raises(sa.ConfigurationError, match="no list of prices"):
        await names(client, paid=True)


async def test_an_unknown_price_is_told(
    client: sa.SpacesClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A flavor without a known price is neither paid nor free, and one warning says so."""
    assert "zero" not in await names(client, paid=True)
    assert "zero" not in await names(client, paid=False)
    told = [r.getMessage() for r in caplog.records if r.name == "spaces_async.bulk"]
    assert len(told) == 2
    assert "price of 'zero-a10g' (acme/zero)" in told[0]
    caplog.clear()
    await names(client, paid=True, exclude="zero")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("status", [403, 404])
async def test_secrets_that_may_not_be_read_are_told(
    client: sa.SpacesClient,
    hub: FakeHub,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Such a Space is skipped, with the reason; the others are selected."""
    fault = Fault.status(status, message="you may not")
    hub.faults("GET /secrets", fault, repo_id="acme/demo-1", times=None)
    report = await client.bulk.pause(
        sa.Selection(author="acme", having_secret="OPENAI_KEY")
    )
    assert [outcome.repo_id for outcome in report.succeeded] == ["acme/prod-1"]
    (skipped,) = report.skipped
    assert skipped.repo_id == "acme/demo-1"
    assert skipped.reason == f"not known: secrets or variables: {status} you may not"
    assert report.ok
    assert len(report) == 2
    told = [r.getMessage() for r in caplog.records if r.name == "spaces_async.bulk"]
    assert len(told) == 1
    assert f"secrets or variables: {status} you may not (acme/demo-1)" in told[0]


async def test_a_refused_token_is_no_matter_of_one_space(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """With a 401 nothing is known of any Space, so it is raised."""
    hub.faults("GET /secrets", Fault.status(401), times=None)
    with pytest.raises(sa.AuthenticationError):
        await names(client, having_secret="OPENAI_KEY")


async def test_after_an_outage_nothing_is_read_again(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A bulk lists again when the Hub is back, and keeps what it knows of the secrets."""
    for number in range(100):
        hub.add_space(f"acme/s{number:03}", secrets={"K": "v"})
    down = Fault.status(503)
    # Five attempts of a read, and two reads.
    hub.faults("GET /secrets", down, repo_id="acme/s050", times=10)
    selection = sa.Selection(author="acme", having_secret="K")
    report = await client.bulk.pause(selection)
    assert len(report.succeeded) == 100
    read = [name for name in asked(hub) if name != "s050"]
    assert len(read) == len(set(read))
    assert listings(hub) == 3


async def test_a_space_that_cannot_be_read_holds_up_nothing(
    client: sa.SpacesClient, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the Hub is well and one Space is not, that one is left out, and told."""
    broken = Fault.status(500, message="out of order")
    hub.faults("GET /secrets", broken, repo_id="acme/demo-1", times=None)
    selection = sa.Selection(author="acme", having_secret="OPENAI_KEY")
    report = await client.bulk.pause(selection)
    assert [outcome.repo_id for outcome in report.succeeded] == ["acme/prod-1"]
    assert [outcome.repo_id for outcome in report.skipped] == ["acme/demo-1"]
    assert report.ok
    assert listings(hub) == 3
    told = [r.getMessage() for r in caplog.records if r.name == "spaces_async.bulk"]
    assert len(told) == 1
    assert "out of order" in told[0]


async def test_without_retries_all_others_are_read(hub: FakeHub) -> None:
    """A Space that fails at once does not hide those after it."""
    for number in range(50):
        hub.add_space(f"acme/s{number:03}", secrets={"K": "v"})
    broken = Fault.status(500)
    hub.faults("GET /secrets", broken, repo_id="acme/s049", times=None)
    hub.faults("GET /secrets", broken, repo_id="acme/s000", times=None)
    async with sa.SpacesClient(
        token=hub.token,
        endpoint=hub.url,
        clock=ManualClock(auto=True),
        settings=sa.ClientSettings(retry=sa.RetryPolicy.off()),
    ) as client:
        report = await client.bulk.pause(
            sa.Selection(author="acme", having_secret="K"), max_outage=None
        )
    assert len(report.succeeded) == 48
    assert report.ok


async def test_an_outage_of_the_secrets_ends(hub: FakeHub) -> None:
    """Where no secrets can be read any more, the bulk ends after `max_outage`."""
    for number in range(100):
        hub.add_space(f"acme/s{number:03}", secrets={"K": "v"})
    hub.faults("GET /secrets", Fault.status(503), after=70, times=None)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=ManualClock(auto=True)
    ) as client:
        selection = sa.Selection(author="acme", having_secret="K")
        with pytest.raises(sa.BulkInterruptedError) as caught:
            await client.bulk.pause(selection, max_outage=60)
    assert caught.value.report is not None
    assert 0 < len(caught.value.report.succeeded) < 100


async def test_what_is_not_known_is_skipped(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A plan says so too, and does the same; what the condition rules out is no target."""
    selection = sa.Selection(
        author="acme", paid=True, hardware=["zero-a10g", "t4-small"]
    )
    plan = await client.bulk.plan(sa.bulk.operations.pause(), selection)
    reasons = {change.repo_id: change.reason for change in plan.skipped}
    assert reasons == {"acme/zero": "not known: price of 'zero-a10g'"}
    assert [change.repo_id for change in plan.changes] == ["acme/demo-1"]
    applied, at_once = await plan.apply(), await client.bulk.pause(selection)
    for report in (applied, at_once):
        assert {o.repo_id: o.reason for o in report.skipped} == reasons
    assert hub.count("POST", "/pause") == 1


async def test_what_is_not_known_is_asked_again_with_a_journal(
    client: sa.SpacesClient, hub: FakeHub, tmp_path: Path
) -> None:
    """The journal has no such Space, so the same bulk may know more of it later."""
    journal, selection = tmp_path / "j", sa.Selection(author="acme", having_secret="K")
    hub.add_space("acme/a", secrets={"K": "v"})
    hub.add_space("acme/b", secrets={"K": "v"})
    hub.faults("GET /secrets", Fault.status(403), repo_id="acme/a")
    refused = hub.faults("POST /pause", Fault.status(403), repo_id="acme/b")
    first = await client.bulk.pause(selection, journal=journal, fail_fast=True)
    assert [outcome.repo_id for outcome in first.failed] == ["acme/b"]
    assert "acme/a" not in journal.read_text()
    refused.assert_met()
    again = await client.bulk.pause(selection, journal=journal)
    assert {o.repo_id for o in again.succeeded} == {"acme/a", "acme/b"}


async def test_an_outage_of_later_pages_ends() -> None:
    """That the first page can be listed again and again is no progress."""
    async with (
        FakeHub(page_size=3) as hub,
        sa.SpacesClient(
            token=hub.token,
            endpoint=hub.url,
            clock=ManualClock(auto=True),
            settings=sa.ClientSettings(retry=sa.RetryPolicy.off()),
        ) as client,
    ):
        hub.add_org("acme", members={"tester": "write"})
        for number in range(6):
            hub.add_space(f"acme/s{number}")
        # Each second call fails: the first page is listed, and the next one is not.
        for passed in range(1, 30):
            hub.faults("GET /api/spaces", Fault.status(503), after=passed)
        with pytest.raises(sa.BulkInterruptedError) as caught:
            await client.bulk.pause(sa.Selection(author="acme"), max_outage=60)
        assert caught.value.report is not None
        assert len(caught.value.report.succeeded) == 3
        # One each 10 s.
        assert hub.count("GET", "/api/spaces") == 2 * 7


async def test_an_outage_that_lets_pages_through_goes_on() -> None:
    """Each new page is progress: only the time without any counts for `max_outage`."""
    async with (
        FakeHub(page_size=1) as hub,
        sa.SpacesClient(
            token=hub.token,
            endpoint=hub.url,
            clock=ManualClock(auto=True),
            settings=sa.ClientSettings(retry=sa.RetryPolicy.off()),
        ) as client,
    ):
        hub.add_org("acme", members={"tester": "write"})
        for number in range(6):
            hub.add_space(f"acme/s{number}", stage="PAUSED" if number else "RUNNING")
        passed = 0
        for pages in range(1, 6):
            passed += pages
            hub.faults("GET /api/spaces", Fault.status(503), after=passed)
        # No Space of the later pages fits.
        selection = sa.Selection(author="acme", stages="running")
        report = await client.bulk.pause(selection, max_outage=15)
        hub.assert_faults_met()
    assert [outcome.repo_id for outcome in report] == ["acme/s0"]


async def test_an_owner_of_whom_nothing_is_seen(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """It is an error by name, whatever else is selected; no match alone is none."""
    with pytest.raises(sa.UnseenOwnerError, match="no Spaces of acmee") as caught:
        [i async for i in sa.Selection(author=["acme", "acmee"]).resolve(client)]
    assert caught.value.owner == "acmee"
    with pytest.raises(sa.BulkInterruptedError, match="no Spaces of acmee") as broken:
        await client.bulk.pause(sa.Selection(author="acmee"))
    assert isinstance(broken.value.__cause__, sa.UnseenOwnerError)
    assert await names(client, match="none") == set()
    assert (await client.bulk.pause(sa.Selection(author="acme", match="x"))).ok


async def test_only_the_fields_that_are_needed_are_listed(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A field that no condition asks for is not sent for."""
    await names(client)
    await names(client, tags="a", modified_before=timedelta(1), resource_group="g")
    plain, more = (
        {value for key, value in request.query if key == "expand"}
        for request in hub.requests
    )
    assert plain == {"runtime", "sdk", "private"}
    assert more - plain == {"tags", "lastModified", "resourceGroup"}
