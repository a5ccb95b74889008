"""Each write in a bulk: an outage, what is so already, a journal that goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support import virtual
from tests.support.writes_table import (
    IN_BULK,
    ORG,
    Row,
    add_spaces,
    one_per_write,
    put,
    rows,
)

MANY: Final = Quota(10**6, 300.0)
LONG: Final = 10**6
"""Seconds: what a Space begins in a test it does not end there."""

Scene = Callable[[FakeHub, sa.SpacesClient], Any]


def play(
    monkeypatch: pytest.MonkeyPatch,
    ids: Iterable[str],
    scene: Scene,
    *,
    latency: float = 0.0,
    measured: bool = True,
) -> None:
    """Run a scene with an org of Spaces, in virtual time."""

    async def run() -> None:
        clock = virtual.VirtualClock()
        hub = FakeHub(
            clock=clock,
            quota=MANY,
            build_seconds=LONG,
            hardware_seconds=LONG,
            config_restarts=False,
            latency=(latency, latency),
        )
        async with hub:
            add_spaces(hub, ids)
            client = sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=clock)
            async with client, asyncio.timeout(5000):
                await scene(hub, client)

    virtual.play(monkeypatch, run, measured=measured)


# An outage -----------------------------------------------------------------------

SPACES: Final = 200
CONCURRENCY: Final = 16
OUTAGE_SECONDS: Final = 60.0
MOST_IF_LISTED: Final = 1.15
MOST_IF_READ: Final = 1.25
HALF_TOLD: Final = {"set_visibility-private", "add_secret", "add_secrets"}
"""Private or protected is not told, nor whose write of a secret it was."""
IDS: Final = [f"acme/s{number}" for number in range(SPACES)]


@pytest.mark.parametrize("kind", ["refused", "lost", "acted"])
@rows(one_per_write(IN_BULK), only=lambda row: row.idempotent)
def test_an_outage_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, row: Row, kind: str
) -> None:
    """After a minute without the Hub all Spaces are done, with few more requests.

    Whether the writes in flight were refused, lost on their way, or acted on with the
    responses lost. What one listing tells costs less than a read for each Space.
    """

    async def outage(hub: FakeHub) -> None:
        while row.sent_to(hub) < SPACES * len(row.bodies) // 2:
            await asyncio.sleep(0.01)
        handles = []
        if kind == "acted":
            acted = Fault.disconnect(acted=True)
            handles.append(hub.faults(f"{row.method} *", acted, times=None))
        fault = Fault.status(503) if kind == "refused" else Fault.disconnect()
        handles.append(hub.faults("*", fault, times=None))
        await asyncio.sleep(OUTAGE_SECONDS)
        for handle in handles:
            handle.remove()

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        row.prepare(hub, *IDS)
        trouble = asyncio.create_task(outage(hub))
        report = await row.bulk(client, IDS, concurrency=CONCURRENCY)
        await trouble
        assert len(report.succeeded) == SPACES, report.summary()
        assert report.elapsed > OUTAGE_SECONDS
        row.check_done(hub, *IDS)

        if (
            kind == "acted"
            and row.evidence_from != "nothing"
            and row.id not in HALF_TOLD
        ):
            assert row.sent_to(hub) == SPACES * len(row.bodies), "nothing is done twice"
        most = MOST_IF_READ if row.evidence_from == "read" else MOST_IF_LISTED
        assert len(hub.requests) <= most * SPACES * row.requests

    play(monkeypatch, IDS, scene, latency=0.2, measured=False)


# So already ----------------------------------------------------------------------

FEW: Final = [f"acme/s{number}" for number in range(10)]
OFTEN: Final = FEW[::2]
"""Those that are as they are to be before the bulk begins."""
REST: Final = FEW[1::2]


def half_done(row: Row, hub: FakeHub) -> None:
    row.prepare(hub, *FEW)
    row.finish(hub, *OFTEN)


def statuses(report: sa.BulkReport[Any]) -> dict[str, S]:
    return {outcome.repo_id: outcome.status for outcome in report}


@pytest.mark.parametrize("chosen", ["selection", "ids"])
@rows(IN_BULK)
def test_what_is_so_already_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, row: Row, chosen: str
) -> None:
    """It is unchanged, with the state for a value; no state is read more than once.

    Of a `Selection` by itself, of ids if that is asked for. What a listing tells is
    read with one call for all, else with one call for each Space.
    """
    if row.after is None and chosen == "selection":
        return  # What is gone is not listed.

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        half_done(row, hub)
        if chosen == "ids":
            report = await row.bulk(client, FEW, only_changes=True, concurrency=4)
        else:
            report = await row.bulk(client, sa.Selection(author=ORG), concurrency=4)
        assert report.ok, report.summary()
        if not row.already:
            assert len(report.succeeded) == len(FEW)
            assert row.sent_to(hub) == len(FEW) * len(row.bodies)
            return
        assert {o.repo_id for o in report.unchanged} == set(OFTEN)
        assert {o.repo_id for o in report.succeeded} == set(REST)
        for outcome in report.unchanged:
            assert (outcome.reason, outcome.error) == ("already so", None)
            assert isinstance(outcome.value, row.returns)
        row.check_done(hub, *FEW)
        assert row.sent_to(hub) == len(REST) * len(row.bodies)
        gets = hub.count("GET")
        if row.evidence_from == "listing":
            assert gets == 1
        else:
            edits = len(REST) if row.name in {"add_volumes", "remove_volumes"} else 0
            assert gets <= len(FEW) + edits + (chosen == "selection")

    play(monkeypatch, FEW, scene)


@rows(IN_BULK, only=lambda row: row.after is not None)
def test_ids_are_sent_as_they_are_given(
    monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    """Without `only_changes` nothing is read first; a write does no harm twice.

    A write that the Hub refuses then, and one that is made from the state, read it.
    """

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        half_done(row, hub)
        report = await row.bulk(client, FEW)
        assert report.ok, report.summary()
        row.check_done(hub, *FEW)
        assert hub.count("GET") == row.reads * len(FEW)
        unchanged = len(OFTEN) if row.reads else 0
        assert len(report.unchanged) == unchanged
        assert row.sent_to(hub) == (len(FEW) - unchanged) * len(row.bodies)

    play(monkeypatch, FEW, scene)


def test_an_old_listing_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute the owner is listed anew, in one call for 500 Spaces.

    Meanwhile some were paused and some restarted: what the first listing showed would
    be wrong for both. No Space is read alone.
    """
    others = [f"acme/x{number}" for number in range(520)]

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        selection = sa.Selection(author=ORG, match="s?")
        order = [info.id async for info in selection.resolve(client)]
        hub.requests.clear()
        first, paused, restarted = order[:4], order[4:7], order[7:]
        hub.faults("POST /pause", Fault.delay(20.0), times=None)
        for repo_id in restarted:
            hub.set_stage(repo_id, "PAUSED")

        async def meanwhile() -> None:
            await asyncio.sleep(50)
            for repo_id in paused:
                hub.set_stage(repo_id, "PAUSED")
            for repo_id in restarted:
                hub.set_stage(repo_id, "RUNNING")

        change = asyncio.create_task(meanwhile())
        report = await client.bulk.pause(selection, concurrency=1)
        await change
        assert {o.repo_id for o in report.unchanged} == set(paused)
        assert {o.repo_id for o in report.succeeded} == {*first, *restarted}
        assert hub.count("GET", "/api/spaces") == hub.count("GET") == 4

    play(monkeypatch, [*FEW, *others], scene, measured=False)


@pytest.mark.parametrize(("count", "listings"), [(3, 0), (4, 1)])
def test_few_ids_are_not_worth_a_listing(
    monkeypatch: pytest.MonkeyPatch, count: int, listings: int
) -> None:
    """A listing for three Spaces costs more than it saves: their write is sent."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for repo_id in FEW:
            hub.set_stage(repo_id, "PAUSED")
        report = await client.bulk.pause(FEW[:count], only_changes=True)
        assert report.ok
        assert hub.count("GET") == listings
        assert len(report.unchanged) == count * listings
        assert hub.count("POST", "/pause") == count * (1 - listings)

    play(monkeypatch, FEW, scene)


@pytest.mark.parametrize("status", [403, 500])
def test_a_state_that_cannot_be_read_does_not_decide(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """If the look before fails, the write is sent, and finds out what is wrong."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("GET /variables", Fault.status(status), times=1)
        put(hub.space(FEW[0]), {"variables": {"K": "v"}})
        report = await client.bulk.add_variable(
            FEW, key="K", value="v", only_changes=True, concurrency=1
        )
        assert report.ok, report.summary()
        assert len(report.unchanged) == (status == 500)
        assert hub.count("POST", "/variables") == len(FEW) - len(report.unchanged)

    play(monkeypatch, FEW, scene)


@pytest.mark.parametrize("wanted", ["private", "protected"])
def test_private_and_protected_look_the_same(
    monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """A listing says only that a Space is not public, so the write is sent."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for repo_id in FEW:
            hub.space(repo_id).visibility = "protected"
        selection = sa.Selection(author=ORG)
        report = await client.bulk.set_visibility(selection, visibility=wanted)
        assert len(report.succeeded) == len(FEW)
        assert {hub.space(repo_id).visibility for repo_id in FEW} == {wanted}

    play(monkeypatch, FEW, scene)


# Static Spaces --------------------------------------------------------------------

STATIC: Final = "acme/static"


@rows(IN_BULK, only=lambda row: row.after is not None)
def test_static_spaces_of_a_selection(
    monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    """Where a container is needed they are skipped, unsent; all else goes to them."""
    assert row.make().in_container is row.in_container

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.add_space(STATIC, sdk="static")
        row.prepare(hub, *FEW)
        if not row.in_container:
            put(hub.space(STATIC), row.before)
        report = await row.bulk(client, sa.Selection(author=ORG))
        assert report.ok, report.summary()
        outcome = next(o for o in report if o.repo_id == STATIC)
        if row.in_container:
            assert report.skipped == [outcome]
            assert (outcome.reason, outcome.error) == ("static", None)
            assert not any(STATIC in r.path for r in hub.requests)
        else:
            assert outcome.status is S.DONE
            assert not report.skipped

    play(monkeypatch, FEW, scene)


@rows(one_per_write(IN_BULK), only=lambda row: row.in_container)
def test_static_spaces_by_their_ids(monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    """An id is sent as it is given, and the Hub's 400 says that it is static.

    Where the state is read first, a Space without volumes needs no write.
    """

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.add_space(STATIC, sdk="static")
        row.prepare(hub, *FEW)
        report = await row.bulk(client, [STATIC, FEW[0]])
        assert report.ok, report.summary()
        outcome = report.outcomes[0]
        if row.name in {"delete_volumes", "remove_volumes"}:
            assert outcome.status is S.UNCHANGED
            return
        assert (outcome.status, outcome.reason) == (S.SKIPPED, "static")
        assert isinstance(outcome.error, sa.BadRequestError)
        assert row.sent_to(hub) == 2 * len(row.bodies)

    play(monkeypatch, FEW, scene)


def test_another_400_is_no_static_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Space that is refused for another reason has failed."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("POST /pause", Fault.status(400, message="no"), repo_id=FEW[0])
        report = await client.bulk.pause(FEW)
        assert [o.repo_id for o in report.failed] == [FEW[0]]
        assert not report.skipped

    play(monkeypatch, FEW, scene)


# The report -----------------------------------------------------------------------


def test_the_report_tells_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Done, unchanged, skipped, failed: each has its list, its count and its reason."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.add_space(STATIC, sdk="static")
        for repo_id in OFTEN:
            hub.set_stage(repo_id, "PAUSED")
        report = await client.bulk.pause(sa.Selection(author=ORG))
        assert report.ok
        report.raise_for_failures()
        assert {o.repo_id for o in report.succeeded} == set(REST)
        assert {o.repo_id for o in report.unchanged} == set(OFTEN)
        assert {o.repo_id for o in report.skipped} == {STATIC}
        assert report.summary() == "pause: 5 done, 5 unchanged, 1 skipped"
        data = json.loads(json.dumps(report.to_dict()))
        assert data["counts"] == {
            "done": 5,
            "unchanged": 5,
            "skipped": 1,
            "failed": 0,
            "unknown": 0,
            "not_attempted": 0,
        }
        told = {o["repo_id"]: (o["status"], o["reason"]) for o in data["outcomes"]}
        assert told[OFTEN[0]] == ("unchanged", "already so")
        assert told[REST[0]] == ("done", None)
        assert told[STATIC] == ("skipped", "static")
        stages = {o["repo_id"]: o["stage"] for o in data["outcomes"]}
        assert stages[OFTEN[0]] == stages[REST[0]] == "PAUSED"
        assert stages[STATIC] is None

        hub.faults("POST /pause", Fault.status(403), repo_id=REST[0])
        mixed = await client.bulk.pause([REST[0], STATIC])
        assert not mixed.ok
        with pytest.raises(sa.BulkError, match="1 skipped, 1 failed") as caught:
            mixed.raise_for_failures()
        assert len(caught.value.exceptions) == 1

    play(monkeypatch, FEW, scene)


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        (Fault.status(403), {"fail_fast": True}, "fail_fast"),
        (Fault.status(403), {"max_failures": 2}, "max_failures"),
        (Fault.status(401), {}, "authentication"),
        (Fault.hang(), {"deadline": 5}, "deadline"),
        (Fault.action_limit(retry_after=3600), {"deadline": 5}, "deadline"),
        (Fault.status(503), {"max_outage": 20}, "outage"),
    ],
    ids=["fail_fast", "max_failures", "401", "deadline", "429", "outage"],
)
def test_why_a_space_was_not_attempted(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, options: Any, reason: str
) -> None:
    """Its reason is that of the bulk's end, whether or not its turn had come."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("*", fault, times=None)
        report = await client.bulk.pause(FEW, concurrency=2, **options)
        assert report.stopped_by == reason
        assert report.not_attempted
        assert {o.reason for o in report.not_attempted} == {reason}
        assert not report.ok

    play(monkeypatch, FEW, scene)
