"""The bill of FakeHub: minutes in running stages on a flavor with a price."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async.testing import FakeHub, Fault, ManualClock
from spaces_async.testing._billing import _period_id, usage
from spaces_async.testing._wire import Call, ReceivedRequest
from spaces_async.testing.accounts import Identity

ORG = "/api/organizations/acme/billing/usage"
OWN = "/api/settings/billing/usage"
T4 = 6667


async def lines(api: Any, path: str = ORG) -> list[dict[str, Any]]:
    answer = await api("GET", path)
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json["usage"]["Spaces"]
    return found


async def test_a_line_of_the_bill(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """Each use of a flavor is a line with all the fields of the schema."""
    space = hub.add_space("acme/demo", hardware="t4-small")
    clock.advance(90)
    space.pause()
    clock.advance(600)
    answer = await api("GET", ORG)
    assert answer.json == {
        "usage": {
            "Endpoints": [],
            "Spaces": [
                {
                    "entityId": space.oid,
                    "label": "acme/demo",
                    "product": "spaces/t4-small/minutes",
                    "productPrettyName": "Nvidia T4 - small",
                    "quantity": 1.5,
                    "unitLabel": "minute",
                    "unitCostMicroUSD": T4,
                    "totalCostMicroUSD": 1.5 * T4,
                    "startedAt": "2026-01-01T00:00:00.000Z",
                    "stoppedAt": "2026-01-01T00:01:30.000Z",
                    "freeGrant": False,
                    "active": False,
                }
            ],
        },
        "period": {
            "_id": answer.json["period"]["_id"],
            "entityId": answer.json["period"]["entityId"],
            "entityType": "org",
            "entityName": "acme",
            "periodStart": "2026-01-01T00:00:00.000Z",
            "periodEnd": "2026-02-01T00:00:00.000Z",
        },
    }


async def test_builds_starts_and_failures_cost_nothing(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A restart is free until the app runs; while an old version runs on, it bills."""
    space = hub.add_space("acme/demo", hardware="t4-small", stage="PAUSED")
    clock.advance(1000)
    space.restart()
    clock.advance(2 + 1 + 60)  # build, start, run
    space.commit("0" * 40)
    clock.advance(2 + 1)  # the old version runs meanwhile
    space.fails_with = "RUNTIME_ERROR"
    space.restart()
    clock.advance(1000)
    assert space.stage == "RUNTIME_ERROR"
    found = await lines(api)
    assert [row["quantity"] for row in found] == [1.05]
    assert not found[0]["active"]


async def test_changes_of_what_is_used_are_lines(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """Another flavor, more replicas and another owner each begin a line."""
    space = hub.add_space("acme/demo", hardware="t4-small")
    hub.add_org("beta")
    clock.advance(60)
    await api("POST", "/api/spaces/acme/demo/replicas", {"replicas": 3})
    clock.advance(60)
    await api("POST", "/api/spaces/acme/demo/hardware", {"flavor": "cpu-upgrade"})
    clock.advance(1 + 1 + 60)  # it moves, starts, runs
    body = {"fromRepo": "acme/demo", "toRepo": "beta/demo", "type": "space"}
    assert (await api("POST", "/api/repos/move", body)).status == 200
    clock.advance(60)
    shown = [(r["product"].split("/")[1], r["quantity"]) for r in await lines(api)]
    # For a second it still ran on the old flavor.
    assert shown == [("t4-small", 1), ("t4-small", 3.05), ("cpu-upgrade", 3)]
    moved = await lines(api, ORG.replace("acme", "beta"))
    assert [(row["label"], row["quantity"]) for row in moved] == [("beta/demo", 3)]
    assert [row["active"] for row in moved] == [True]
    assert space.replicas == 3


async def test_what_is_free_and_what_is_gone(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """Free flavors and static Spaces are not billed; a deleted one stays billed."""
    hub.add_space("acme/free")
    hub.add_space("acme/site", sdk="static", hardware="t4-small")
    hub.add_space("acme/unpriced", hardware="h200x8")
    hub.add_space("acme/grant", hardware="t4-small", free_grant=True)
    hub.add_space("acme/gone", hardware="t4-small")
    hub.add_space("acme/idle", hardware="t4-small", stage="SLEEPING")
    clock.advance(60)
    body = {"name": "gone", "organization": "acme", "type": "space"}
    assert (await api("DELETE", "/api/repos/delete", body)).status == 200
    clock.advance(60)
    found = {row["label"]: row for row in await lines(api)}
    assert set(found) == {"acme/grant", "acme/gone"}
    assert found["acme/grant"]["freeGrant"]
    assert found["acme/gone"]["quantity"] == 1


async def test_sleep_stops_the_bill_when_it_began(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A bill that is read later counts to the second at which the Space fell asleep."""
    hub.add_space("acme/demo", hardware="t4-small", sleep_time=3600)
    clock.advance(86400)
    assert [row["quantity"] for row in await lines(api)] == [60]


async def test_periods_are_months(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """A use over the end of a month is on both bills, each with its part."""
    hub.add_space("acme/demo", hardware="t4-small")
    clock.advance(30 * 86400)
    january = (await api("GET", ORG)).json["period"]["_id"]
    clock.advance(2 * 86400)
    current = (await api("GET", ORG)).json
    assert current["period"]["periodStart"] == "2026-02-01T00:00:00.000Z"
    assert current["usage"]["Spaces"][0]["quantity"] == 1440
    before = (await api("GET", f"{ORG}?periodId={january}")).json
    assert before["period"]["periodEnd"] == "2026-02-01T00:00:00.000Z"
    assert before["usage"]["Spaces"][0]["quantity"] == 31 * 1440
    unknown = await api("GET", f"{ORG}?periodId={'0' * 24}")
    assert (unknown.status, unknown.json["error"]) == (404, "Billing period not found")
    assert (await api("GET", f"{ORG}?periodId=x")).status == 400


async def test_december_is_followed_by_january() -> None:
    """The period ends in the next year."""
    clock = ManualClock(datetime(2026, 12, 31, tzinfo=UTC))
    async with FakeHub(clock=clock) as hub:
        hub.add_space("acme/demo", hardware="t4-small")
        clock.advance(2 * 86400)
        assert [row["quantity"] for row in bill(hub)] == [1440]


async def test_use_before_the_hub_was_started(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A test may put a past on the bill; a month has only its own part of it."""
    hub.add_space("acme/demo")
    hub.add_use("acme/demo", 90, flavor="l4x1")
    answer = await api("GET", ORG)
    assert answer.json["usage"]["Spaces"] == []  # it is the start of January
    december = _period_id("acme", (2025, 12))
    before = await lines(api, f"{ORG}?periodId={december}")
    assert [row["quantity"] for row in before] == [90]
    clock.advance(86400)
    hub.add_use("acme/demo", 90, flavor="l4x1")
    (row,) = await lines(api)
    assert (row["quantity"], row["active"]) == (90, False)
    for minutes, flavor in ((0, "l4x1"), (90, "cpu-basic"), (90, "l4x9")):
        with pytest.raises(ValueError, match=r"minutes|flavor"):
            hub.add_use("acme/demo", minutes, flavor=flavor)
    with pytest.raises(KeyError):
        hub.add_use("acme/none", 90, flavor="l4x1")


async def test_who_may_read_the_bill(
    hub: FakeHub, api: Any, anonymous: Any, clock: ManualClock
) -> None:
    """Admins of the org may, members and outsiders get 403, strangers 401."""
    hub.add_space("acme/demo", hardware="t4-small")
    hub.add_user("alice", token="hf_alice")
    hub.add_user("bob", token="hf_bob")
    hub.add_org("acme", {"tester": "admin", "alice": "write"})
    hub.add_token("hf_none", role="none")
    hub.add_token("hf_read", role="read")

    async def status(token: str | None, path: str = ORG) -> int:
        answer = await anonymous("GET", path, token=token)
        assert answer.status == 200 or answer.json["error"]
        return int(answer.status)

    assert await status(hub.token) == 200
    assert await status("hf_read") == 200
    assert await status("hf_alice") == 403
    assert await status("hf_bob") == 403
    assert await status("hf_none") == 403
    assert await status(None) == 401
    assert await status("hf_bad") == 401
    assert await status(hub.token, ORG.replace("acme", "nobody")) == 404
    assert await status("hf_none", OWN) == 403
    assert await status(None, OWN) == 401


async def test_the_own_bill_is_of_the_own_spaces(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A user's bill has no line of the user's orgs."""
    hub.add_space("tester/mine", hardware="cpu-upgrade")
    hub.add_space("acme/demo", hardware="t4-small")
    clock.advance(60)
    answer = await api("GET", OWN)
    assert [row["label"] for row in answer.json["usage"]["Spaces"]] == ["tester/mine"]
    assert answer.json["period"]["entityType"] == "user"
    assert answer.json["period"]["entityName"] == "tester"


def bill(hub: FakeHub) -> list[dict[str, Any]]:
    world = hub._world
    token = world.accounts.tokens[hub.token]
    caller = Identity(user=world.accounts.users["tester"], token=token)
    request = ReceivedRequest("GET", ORG, [], {}, b"", None, hub.token, 0.0)
    reply = usage(world, Call(request, caller, hub.url, ORG, {"name": "acme"}))
    found: list[dict[str, Any]] = json.loads(reply.body)["usage"]["Spaces"]
    return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["restart", "pause", "hardware", "replicas", "visit", "look"]),
        st.integers(0, 90),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_bill_is_what_was_seen(steps: list[tuple[str, int]]) -> None:
    """Second by second, what ran is what is billed, whenever the bill is read."""
    clock = ManualClock()
    hub = FakeHub(clock=clock)
    hub._world.start_time()
    space = hub.add_space("acme/demo", hardware="t4-small", sleep_time=60)
    seconds: dict[str, int] = defaultdict(int)
    for number, (step, wait) in enumerate(steps):
        match step:
            case "restart":
                space.restart()
            case "pause":
                space.pause()
            case "hardware":
                space.request_hardware(["t4-small", "cpu-basic", "l4x1"][number % 3])
            case "replicas":
                space.replicas = 1 + number % 3
            case "visit":
                space.visit()
            case _:
                bill(hub)
        for _ in range(wait):
            if space.stage.is_running and space.hardware != "cpu-basic":
                assert isinstance(space.replicas, int)
                seconds[str(space.hardware)] += space.replicas
            clock.advance(1)
    billed: dict[str, float] = defaultdict(float)
    for row in bill(hub):
        billed[row["product"].split("/")[1]] += row["quantity"] * 60
    assert {k: round(v, 2) for k, v in billed.items() if v} == {
        k: v for k, v in seconds.items() if v
    }


async def test_metrics_of_replicas(hub: FakeHub, api: Any) -> None:
    """Each replica measures the load that the test asked for."""
    hub.add_space("acme/demo", hardware="t4-small", replicas=2, load={"tx_bps": 7})
    async with api.session.get("/api/spaces/acme/demo/metrics") as response:
        text = (await response.content.readuntil(b"\n\n")) + (
            await response.content.readuntil(b"\n\n")
        )
    assert text.count(b'"tx_bps": 7') == 2
    assert text.count(b'-1"') == 1


@pytest.mark.parametrize("path", [ORG, OWN])
def test_faults_know_the_endpoints(path: str) -> None:
    """A fault can be put on either of the two."""
    FakeHub().faults(f"GET {path}", Fault.status(403))
