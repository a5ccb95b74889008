"""A plan: what a bulk would do, and that applying it does just that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.bulk._amount import Amount
from spaces_async.bulk._engine.planner import Pace, pace
from spaces_async.testing import FakeHub, ManualClock, Quota

ORG = sa.Selection(author="acme")


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """An org with a Space of each kind that a plan tells apart."""
    async with FakeHub(clock=clock, build_seconds=60.0, start_seconds=30.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/runs", hardware="t4-small", variables={"K": "old"})
        hub.add_space("acme/free", variables={"K": "new"})
        hub.add_space("acme/sleeps", stage="SLEEPING", hardware="t4-small")
        hub.add_space("acme/paused", stage="PAUSED", hardware="t4-small")
        hub.add_space("acme/page", sdk="static")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client in that time."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


def ids(changes: Any) -> list[str]:
    return sorted(change.repo_id for change in changes)


def in_cents(amount: Decimal | None) -> int | None:
    return None if amount is None else round(amount * 100)


def writes(hub: FakeHub) -> list[str]:
    return [f"{r.method} {r.path}" for r in hub.requests if r.method != "GET"]


async def test_a_plan_says_what_would_be_done(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Each Space with its state, its request and its price; nothing is sent."""
    plan = await client.bulk.plan(operations.pause(), ORG)
    assert ids(plan.changes) == ["acme/free", "acme/runs", "acme/sleeps"]
    assert ids(plan.unchanged) == ["acme/paused"]
    assert [(c.repo_id, c.reason) for c in plan.skipped] == [("acme/page", "static")]
    runs = next(c for c in plan.changes if c.repo_id == "acme/runs")
    assert runs.before == {"stage": "RUNNING"}
    assert runs.after == {"stage": "PAUSED"}
    assert [str(r) for r in runs.requests] == ["POST /api/spaces/acme/runs/pause"]
    assert runs.cost == plan.cost
    assert (plan.requests, plan.restarts, in_cents(plan.cost)) == (3, 0, -40)
    assert plan.summary() == (
        "pause: 3 to change, 1 unchanged, 1 skipped, 3 requests, saves $0.40/h"
    )
    assert "acme/runs  stage: RUNNING -> PAUSED" in str(plan)
    assert "acme/page  static" in str(plan)
    assert json.loads(json.dumps(plan.to_dict()))["cost_per_hour"] == str(plan.cost)
    assert "acme/runs" in plan._repr_html_()
    assert not writes(hub)


async def test_a_plan_for_one_space(client: sa.SpacesClient) -> None:
    """Its summary counts one request and one restart, and a stage may come again."""
    plan = await client.bulk.plan(operations.restart(), ["acme/free"])
    assert (
        plan.summary()
        == "restart: 1 to change, 1 request, 1 restart, no change in cost"
    )
    assert str(plan).splitlines()[1] == "  acme/free  stage: RUNNING again"


async def test_applying_does_just_that(client: sa.SpacesClient, hub: FakeHub) -> None:
    """One outcome for each Space of the plan, and a request for each change."""
    plan = await client.bulk.plan(operations.pause(), ORG)
    report = await plan.apply(concurrency=2)
    assert report.ok
    assert {o.repo_id: o.status for o in report} == {
        "acme/runs": S.DONE,
        "acme/free": S.DONE,
        "acme/sleeps": S.DONE,
        "acme/paused": S.UNCHANGED,
        "acme/page": S.SKIPPED,
    }
    assert len(writes(hub)) == plan.requests == 3


async def test_a_plan_can_be_streamed(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Each outcome comes as it finishes, and the report grows with them."""
    plan = await client.bulk.plan(operations.pause(), ORG)
    with pytest.raises(sa.ConfigurationError, match="leaves out"):
        plan.stream(only_changes=False)
    seen: list[str] = []
    async with plan.stream(concurrency=1) as outcomes:
        async for outcome in outcomes:
            seen.append(outcome.repo_id)
            assert outcomes.report.by_status
    assert len(seen) == len(set(seen)) == 5
    assert outcomes.report.ok
    assert len(writes(hub)) == plan.requests


async def test_some_can_be_left_out(client: sa.SpacesClient, hub: FakeHub) -> None:
    """They are skipped with the reason, count for no limit, and get no request."""

    def leave_out(change: sa.bulk.PlannedChange) -> str | None:
        return "paid" if change.cost else None

    plan = await client.bulk.plan(
        operations.pause(), ORG, max_targets=2, leave_out=leave_out
    )
    assert ids(plan.changes) == ["acme/free", "acme/sleeps"]
    assert {c.repo_id: c.reason for c in plan.skipped} == {
        "acme/runs": "paid",
        "acme/page": "static",
    }
    report = await plan.apply()
    assert {o.repo_id: o.reason for o in report.skipped} == {
        "acme/runs": "paid",
        "acme/page": "static",
    }
    assert len(writes(hub)) == 2


@pytest.mark.parametrize("seconds", [0, 61])
async def test_what_has_changed_since_is_left_out(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, seconds: float
) -> None:
    """After a minute the Spaces are listed anew; one that is different is skipped."""
    plan = await client.bulk.plan(operations.pause(), ORG)
    hub.set_stage("acme/runs", "SLEEPING")
    clock.advance(seconds)
    report = await plan.apply()
    runs = next(o for o in report if o.repo_id == "acme/runs")
    if seconds:
        assert (runs.status, runs.reason) == (S.SKIPPED, "drift")
        assert len(writes(hub)) == 2
    else:
        assert runs.status is S.DONE


async def test_variables_are_read(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Of several keys only those are written that are not so already."""
    operation = operations.add_variables({"K": "new", "L": "1"})
    plan = await client.bulk.plan(operation, ["acme/runs", "acme/free"])
    runs, free = plan.changes
    assert runs.before == {"variable K": "old", "variable L": None}
    assert runs.after == {"variable K": "new", "variable L": "1"}
    assert free.after == {"variable L": "1"}
    assert runs.restarts
    assert [request.body for request in free.requests] == [{"key": "L", "value": "1"}]
    assert (await plan.apply()).ok
    assert len(writes(hub)) == plan.requests == 3


async def test_no_secret_is_shown(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A plan for a secret says whether it is there, with stars for its value."""
    hub.space("acme/runs").set_config("secrets", "S", "before")
    plan = await client.bulk.plan(operations.add_secret("S", "hunter2"), ORG)
    by_id = {change.repo_id: change for change in plan.changes}
    assert by_id["acme/runs"].before == {"secret S": "set"}
    assert by_id["acme/free"].before == {"secret S": None}
    shown = f"{plan}{plan!r}{plan.to_dict()}{plan._repr_html_()}{plan.changes}"
    assert "hunter2" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("operation", "cost", "restarts"),
    [
        (operations.restart(), {"runs": 0, "sleeps": 40, "paused": 40}, 4),
        (
            operations.request_hardware("a10g-small"),
            {"runs": 60, "sleeps": 0, "paused": 0, "free": 100},
            2,
        ),
        (operations.set_replicas(3), {"runs": 80, "free": 0}, 0),
        (operations.delete(), {"runs": -40, "sleeps": 0}, 0),
        (operations.set_sleep_time(600), {"runs": 0, "free": 0}, 0),
    ],
    ids=["restart", "hardware", "replicas", "delete", "sleep time"],
)
async def test_what_it_would_cost(
    client: sa.SpacesClient, operation: Any, cost: dict[str, int], restarts: int
) -> None:
    """Only what runs costs anything: a paused Space on a GPU is free until it starts."""
    plan = await client.bulk.plan(operation, ORG)
    by_id = {change.repo_id: change.cost for change in plan.changes}
    for name, wanted in cost.items():
        assert in_cents(by_id[f"acme/{name}"]) == wanted, name
    assert plan.restarts == restarts


async def test_a_price_that_is_not_known_is_no_zero(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A flavor without a price makes the sum unknown, and the summary says so."""
    hub.add_space("acme/odd", hardware="t4-small").requested_hardware = "warp-drive"
    hub.set_stage("acme/odd", "RUNNING")
    space = hub.space("acme/odd")
    assert space.requested_hardware == "warp-drive"
    plan = await client.bulk.plan(operations.restart(), ["acme/odd", "acme/paused"])
    assert in_cents(plan.costs.known) == 40
    hub.set_stage("acme/odd", "PAUSED")
    plan = await client.bulk.plan(operations.restart(), ["acme/odd", "acme/paused"])
    assert plan.cost is None
    assert "costs $0.40/h more and 1 unknown" in plan.summary()


async def test_where_the_token_may_not_write(hub: FakeHub, clock: ManualClock) -> None:
    """A token that only reads, and Spaces of others: left out before anything is sent."""
    hub.add_token("hf_reads", role="read")
    hub.add_user("other")
    hub.add_space("other/demo")
    for token, reasons in (
        ("hf_reads", {"acme/runs": "no write access", "other/demo": "no write access"}),
        (hub.token, {"acme/runs": None, "other/demo": "no write access"}),
    ):
        async with sa.SpacesClient(
            token=token, endpoint=hub.url, clock=clock
        ) as client:
            plan = await client.bulk.plan(operations.pause(), list(reasons))
            every = (*plan.changes, *plan.skipped)
            assert {c.repo_id: c.reason for c in every} == reasons


async def test_what_only_a_paid_plan_has(clock: ManualClock) -> None:
    """What the Hub refuses to an owner without PRO or Team is left out, and only that."""
    async with FakeHub(clock=clock, require_pro=True) as hub:
        hub.add_org("free")
        hub.add_org("team", plan="team")
        hub.add_user("other")
        owners = ("tester", "free", "team")
        ids = [hub.add_space(f"{owner}/x", hardware="t4-small").id for owner in owners]
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            paid: list[tuple[sa.Operation[Any], str]] = [
                (operations.set_visibility("protected"), "protected"),
                (operations.set_dev_mode(True), "dev mode"),
                (operations.set_custom_domain("app.example.com"), "a custom domain"),
            ]
            for operation, what in paid:
                plan = await client.bulk.plan(operation, ids)
                assert [c.repo_id for c in plan.changes] == ["team/x"]
                reasons = {c.repo_id: c.reason for c in plan.skipped}
                why = f"{what} needs PRO or Team"
                assert reasons == {"tester/x": why, "free/x": why}
                # The Hub agrees with the plan.
                sent = await client.bulk.run(operation, ids)
                refused = {o.repo_id for o in sent.failed}
                assert refused == {"tester/x", "free/x"}
                assert all(
                    isinstance(o.error, sa.PaymentRequiredError) for o in sent.failed
                )
            free: list[sa.Operation[Any]] = [
                operations.set_visibility("private"),
                operations.set_dev_mode(False),
            ]
            for operation in free:
                plan = await client.bulk.plan(operation, ids)
                assert not plan.skipped


async def test_what_is_not_there(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A Space that is not found is told in the plan, and not by a failed write."""
    plan = await client.bulk.plan(operations.pause(), ["acme/runs", "acme/missing"])
    assert [(c.repo_id, c.reason) for c in plan.skipped] == [
        ("acme/missing", "not found")
    ]
    report = await plan.apply()
    assert [o.status for o in report] == [S.DONE, S.SKIPPED]


async def test_a_large_org_takes_one_listing(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """One call for each 500 Spaces, whether they are named or selected."""
    for number in range(600):
        hub.add_space(f"acme/n{number}")
    for targets in (ORG, [f"acme/n{number}" for number in range(600)]):
        hub.requests.clear()
        plan = await client.bulk.plan(operations.pause(), targets)
        assert len(plan.changes) >= 600
        assert hub.count("GET", "/api/spaces") == 2
        assert len(hub.requests) <= 4


async def test_a_share_takes_no_second_listing(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The listing that tells what the Spaces are also tells how many there are."""
    named = list(hub.spaces)
    plan = await client.bulk.plan(operations.pause(), named, max_targets="60%")
    assert len(plan.changes) == 3
    assert hub.count("GET", "/api/spaces") == 1


@pytest.mark.parametrize(
    ("limit", "fits"), [(3, True), (2, False), ("60%", True), ("40%", False)]
)
async def test_a_belt(client: sa.SpacesClient, limit: int | str, fits: bool) -> None:
    """A plan that would change more Spaces than allowed is refused."""
    plan = client.bulk.plan(operations.pause(), ORG, max_targets=limit)
    if fits:
        assert len((await plan).changes) == 3
    else:
        with pytest.raises(sa.ConfigurationError, match="would change 3 Spaces"):
            await plan


@pytest.mark.parametrize("limit", [0, -1, True, "0%", "101%", "a", "5", 2.5])
async def test_a_belt_that_makes_no_sense(client: sa.SpacesClient, limit: Any) -> None:
    """It is refused before anything is read."""
    with pytest.raises(sa.ConfigurationError, match="max_targets must be"):
        await client.bulk.plan(operations.pause(), ORG, max_targets=limit)


async def test_what_cannot_be_planned(client: sa.SpacesClient) -> None:
    """A function may do anything."""

    async def anything(client: sa.SpacesClient, repo_id: str) -> None:
        raise AssertionError

    with pytest.raises(sa.ConfigurationError, match="cannot be planned"):
        await client.bulk.plan(anything, ORG)  # type: ignore[arg-type]
    plan = await client.bulk.plan(operations.pause(), ORG)
    with pytest.raises(sa.ConfigurationError, match="needless by itself"):
        await plan.apply(only_changes=False)


async def test_the_quota_is_part_of_the_plan(clock: ManualClock) -> None:
    """Many writes of a small quota take several windows, and the plan says how long."""
    async with FakeHub(clock=clock, quota=Quota(100, 300.0)) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for number in range(200):
            hub.add_space(f"acme/s{number}")
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            assert client.rate_limit() == sa.RateLimit()
            plan = await client.bulk.plan(operations.pause(), ORG)
            limit = client.rate_limit()
            assert (limit.limit, limit.remaining) == (100, 97)
            assert plan.windows == 3
            assert plan.seconds == pytest.approx(601, abs=2)
            assert "3 quota windows, about 10 min" in plan.summary()


@pytest.mark.parametrize(
    ("requests", "left", "wanted"),
    [
        (450, None, Pace(1, 0.0)),
        (451, None, Pace(2, 300.0)),
        (1000, None, Pace(3, 600.0)),
        (60, 110, Pace(1, 0.0)),
        (61, 110, Pace(2, 100.0)),
        (60 + 450, 110, Pace(2, 100.0)),
        (60 + 451, 110, Pace(3, 400.0)),
        (1, 50, Pace(2, 100.0)),
        (0, 0, Pace(1, 0.0)),
    ],
)
def test_how_long_requests_take(requests: int, left: int | None, wanted: Pace) -> None:
    """500 calls in a window, of which a tenth is left to others."""
    ends_in = None if left is None else 100.0
    made = pace(requests, limit=500, left=left, ends_in=ends_in, reserve=0.1)
    assert made == wanted
    assert pace(1, limit=None, left=None, ends_in=None, reserve=0.1) == Pace()


@pytest.mark.parametrize(
    ("value", "total", "wanted"),
    [(3, 2, 3), ("20%", 10, 2), ("20%", 11, 3), ("20%", 1, 1), ("100%", 7, 7),
     ("0.5%", 200, 1), ("33.3%", 3, 1), ("5%", 0, 0)],
)  # fmt: skip
def test_a_share_is_rounded_up(value: Any, total: int, wanted: int) -> None:
    """A share is never less than it says; a number is itself."""
    amount = Amount.parse(value, "it")
    assert amount.of(total) == wanted
    assert str(amount) == str(value)
