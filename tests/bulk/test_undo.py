"""Undo brings back what a bulk has changed; retry tries again what failed."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Fault, ManualClock
from tests.support.writes_table import IN_BULK, Row, put, rows, seen

IDS: Final = [f"acme/s{number}" for number in range(8)]
ORG: Final = sa.Selection(author="acme")
STAGES: Final = ("RUNNING", "SLEEPING", "PAUSED", "RUNTIME_ERROR")


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """An org of Spaces that build in no time."""
    async with FakeHub(clock=clock, build_seconds=1.0, start_seconds=1.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id, hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client in that time."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The journal."""
    return tmp_path / "night.jsonl"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def cut(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines))


def stages(hub: FakeHub) -> list[str]:
    return [str(hub.space(repo_id).stage) for repo_id in IDS]


async def test_a_night(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, path: Path
) -> None:
    """What ran runs again in the morning; what slept or was paused stays as it is."""
    before = [*STAGES, *STAGES]
    for repo_id, stage in zip(IDS, before, strict=True):
        hub.set_stage(repo_id, stage)
    assert (await client.bulk.pause(ORG, journal=path)).ok
    assert set(stages(hub)) == {"PAUSED"}
    plan = await client.bulk.plan_undo(path)
    assert sorted(c.repo_id for c in plan.changes) == [IDS[0], IDS[4]]
    reasons = {c.repo_id: c.reason for c in plan.skipped}
    assert reasons[IDS[1]] == "cannot be put to sleep again"
    assert reasons[IDS[3]] == "cannot be brought back to RUNTIME_ERROR"
    assert IDS[2] not in reasons, "it was paused before, so nothing was sent"
    report = await client.bulk.undo(path)
    assert report.ok
    assert report.operation == "undo pause"
    clock.advance(10)
    assert [i for i, s in zip(IDS, stages(hub), strict=True) if s == "RUNNING"] == [
        IDS[0],
        IDS[4],
    ]


async def test_what_is_not_known_is_named(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A Space that is paused shows no sleep time, so that cannot be set again."""
    hub.set_stage(IDS[0], "PAUSED")
    report = await client.bulk.request_hardware(
        IDS[:1], flavor="a10g-small", sleep_time=600, journal=path
    )
    assert report.ok
    plan = await client.bulk.plan_undo(path)
    assert [c.reason for c in plan.skipped] == ["the sleep time before is not known"]


INVERTIBLE: Final = [row for row in IN_BULK if row.invertible]


@rows(INVERTIBLE)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_state_comes_back(  # noqa: PLR0917  (fixtures)
    client: sa.SpacesClient,
    hub: FakeHub,
    clock: ManualClock,
    path: Path,
    row: Row,
    seed: int,
) -> None:
    """After a run and its undo a random fleet is as it was, or the undo says why not."""
    rng = random.Random(seed)  # noqa: S311  (no secret)
    for repo_id in IDS:
        row.prepare(hub, repo_id)
        space = hub.space(repo_id)
        put(space, random_state(rng))
        if (
            rng.random() < 0.3
            and row.after is not None
            and row.name != "delete_volumes"
        ):
            put(space, row.after)
    before = {repo_id: seen(hub.space(repo_id)) for repo_id in IDS}
    report = await row.bulk(client, ORG, journal=path)
    assert report.ok, report.summary()
    clock.advance(100)
    plan = await client.bulk.plan_undo(path)
    report = await plan.apply()
    assert report.ok, report.summary()
    clock.advance(100)
    left = {c.repo_id for c in plan.skipped}
    for repo_id in IDS:
        now = seen(hub.space(repo_id))
        if repo_id not in left:
            assert now == before[repo_id], repo_id


def random_state(rng: random.Random) -> dict[str, Any]:
    return {
        "stage": rng.choice(["RUNNING", "RUNNING", "PAUSED"]),
        "hardware": rng.choice(["t4-small", "cpu-upgrade", "a10g-small"]),
        "sleep_time": rng.choice([600, 3600, None]),
        "replicas": rng.choice([1, 2, 3]),
        "dev_mode": rng.random() < 0.5,
        "visibility": rng.choice(["public", "private"]),
        "variables": rng.choice([{}, {"K": "v0"}, {"L": "w"}, {"K": "a", "L": "b"}]),
    }


async def test_what_others_have_changed_is_left(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, path: Path
) -> None:
    """Drift is judged by the field that the run has set, and by no other."""
    await client.bulk.set_sleep_time(IDS, seconds=600, journal=path)
    hub.space(IDS[0]).set_sleep_time(1800)
    hub.space(IDS[1]).set_config("variables", "K", "by somebody")
    report = await client.bulk.undo(path)
    by_id = {o.repo_id: (o.status, o.reason) for o in report}
    assert by_id.pop(IDS[0]) == (S.SKIPPED, "drift")
    assert set(by_id.values()) == {(S.DONE, None)}
    assert hub.space(IDS[0]).sleep_time == 1800
    assert hub.space(IDS[1]).variables["K"].value == "by somebody"


async def test_of_several_keys_one_was_changed(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """The other keys are brought back; a new variable is deleted again."""
    hub.space(IDS[0]).set_config("variables", "K", "old")
    await client.bulk.add_variables(
        IDS[:2], variables={"K": "1", "L": "2"}, journal=path
    )
    hub.space(IDS[0]).set_config("variables", "L", "by somebody")
    report = await client.bulk.undo(path)
    assert report.ok
    values = {k: v.value for k, v in hub.space(IDS[0]).variables.items()}
    assert values == {"K": "old", "L": "by somebody"}
    assert not hub.space(IDS[1]).variables


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (operations.restart(), "a restart cannot be undone"),
        (operations.add_secret("K", "v"), "the value of a secret before"),
        (operations.delete(), "a deleted Space is gone"),
        (operations.set_visibility("public"), "set visibility cannot be undone"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_what_cannot_be_undone(
    client: sa.SpacesClient, hub: FakeHub, path: Path, operation: Any, reason: str
) -> None:
    """Where there is no inverse the plan says why, and nothing is sent."""
    hub.space(IDS[0]).visibility = "private"
    await client.bulk.run(operation, IDS[:1], journal=path)
    sent = len(hub.requests)
    plan = await client.bulk.plan_undo(path)
    assert not plan.changes
    assert reason in str(plan.skipped[0].reason)
    report = await plan.apply()
    assert [o.status for o in report] == [S.SKIPPED]
    assert all(r.method == "GET" for r in hub.requests[sent:])


async def test_only_what_the_run_has_changed(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A Space that failed, or was never reached, is not touched."""
    hub.faults("POST /pause", Fault.status(403), repo_id=IDS[1], times=None)
    await client.bulk.pause(IDS, journal=path, max_failures=1, concurrency=1)
    assert stages(hub)[0] == "PAUSED"
    hub.clear_faults()
    for repo_id in IDS[1:]:
        hub.set_stage(repo_id, "PAUSED")
    report = await client.bulk.undo(path)
    assert [o.repo_id for o in report] == [IDS[0]]


async def test_a_run_whose_responses_were_lost(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A Space in doubt is undone if it shows what the run was about, else left."""
    off = client.with_options(retry=sa.RetryPolicy.off())
    hub.faults("POST /sleeptime", Fault.reset(acted=True), repo_id=IDS[0])
    hub.faults("POST /sleeptime", Fault.reset(acted=False), repo_id=IDS[1])
    report = await off.bulk.set_sleep_time(IDS[:2], seconds=600, journal=path)
    assert len(report.unknown) == 2
    before = hub.space(IDS[1]).sleep_time
    report = await client.bulk.undo(path)
    assert [o.status for o in report] == [S.DONE, S.SKIPPED]
    assert hub.space(IDS[0]).sleep_time == before


async def test_without_the_state_before(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """`record_before=False` reads nothing, and then nothing can be brought back."""
    await client.bulk.pause(IDS[:1], journal=path, record_before=False)
    assert hub.count("GET") == 0
    plan = await client.bulk.plan_undo(path)
    assert [c.reason for c in plan.skipped] == ["the state before was not recorded"]


async def test_an_undo_has_a_journal_of_its_own(
    client: sa.SpacesClient, hub: FakeHub, path: Path, clock: ManualClock
) -> None:
    """It is resumed and undone like any other run."""
    await client.bulk.set_sleep_time(IDS, seconds=600, journal=path)
    morning = path.with_name("morning.jsonl")
    hub.faults("POST /sleeptime", Fault.status(403), repo_id=IDS[3], times=1)
    plan = await client.bulk.plan_undo(path)
    report = await plan.apply(journal=morning)
    assert [o.repo_id for o in report.failed] == [IDS[3]]
    assert (await client.bulk.resume(morning)).ok
    assert {hub.space(i).sleep_time for i in IDS} != {600}
    report = await client.bulk.undo(morning)
    assert report.operation == "undo undo set_sleep_time"
    assert {hub.space(i).sleep_time for i in IDS} == {600}


async def test_a_function_cannot_be_undone(client: sa.SpacesClient, path: Path) -> None:
    """It may have done anything."""

    async def anything(client: sa.SpacesClient, repo_id: str) -> None:
        await client.lifecycle.get_runtime(repo_id)

    await client.bulk.run(anything, IDS[:1], journal=path)
    with pytest.raises(sa.ConfigurationError, match="function of yours"):
        await client.bulk.plan_undo(path)


async def test_an_undo_is_for_the_hub_of_the_run(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, path: Path
) -> None:
    """The same ids on another Hub are other Spaces: nothing is sent there."""
    assert (await client.bulk.pause(IDS, journal=path)).ok
    async with FakeHub(clock=clock) as other:
        for repo_id in IDS:
            other.add_space(repo_id, stage="PAUSED", hardware="t4-small")
        async with sa.SpacesClient(
            token=other.token, endpoint=other.url, clock=clock
        ) as stranger:
            for undo in (stranger.bulk.undo, stranger.bulk.plan_undo):
                with pytest.raises(sa.ConfigurationError, match=hub.url):
                    await undo(path)
        assert other.requests == []


async def test_the_state_before_is_kept_once(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A repeat of the write does not put what the write did in its place."""
    hub.space(IDS[0]).set_sleep_time(3600)
    hub.faults(
        "POST /sleeptime", Fault.status(502, acted=True), times=2, repo_id=IDS[0]
    )
    await client.bulk.set_sleep_time(IDS[:1], seconds=600, journal=path)
    await client.bulk.resume(path)
    kept = [json.loads(line).get("before") for line in lines_of(path)]
    assert [entry["set_sleep_time"]["gcTimeout"] for entry in kept if entry] == [3600]


async def test_the_stage_before_settles_a_restart(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, path: Path
) -> None:
    """PAUSED before and RUNNING after a crash: the restart was done, and is not sent."""
    hub.set_stage(IDS[0], "PAUSED")
    await client.bulk.restart(IDS[:1], journal=path)
    # As if the process had died before the outcome was written.
    lines = lines_of(path)
    last = next(n for n, line in enumerate(lines) if b'"type":"intent"' in line)
    cut(path, lines[: last + 1])
    clock.advance(3600)
    assert hub.space(IDS[0]).stage == "RUNNING"
    report = await client.bulk.resume(path)
    assert [o.status for o in report] == [S.DONE]
    assert hub.space(IDS[0]).restarts == 1


# Retry ----------------------------------------------------------------------------------


@pytest.mark.parametrize("from_journal", [False, True])
async def test_what_failed_is_tried_again(
    client: sa.SpacesClient, hub: FakeHub, path: Path, *, from_journal: bool
) -> None:
    """Only that: neither what is done nor what was not attempted."""
    for repo_id in IDS[1:3]:
        hub.faults("POST /pause", Fault.status(403), repo_id=repo_id, times=1)
    report = await client.bulk.pause(IDS, journal=path, max_failures=2, concurrency=1)
    assert len(report.not_attempted) == 5
    again = await client.bulk.retry_failed(path if from_journal else report)
    assert {o.repo_id: o.status for o in again} == dict.fromkeys(IDS[1:3], S.DONE)
    assert hub.count("POST", "/pause") == 5
    # The rest of the job is still there to be resumed.
    if from_journal:
        report = await client.bulk.resume(path)
        assert report.ok
        assert len(report) == 8


@pytest.mark.parametrize("repeatable", [True, False])
async def test_what_is_in_doubt_and_must_not_be_repeated(
    client: sa.SpacesClient, hub: FakeHub, *, repeatable: bool
) -> None:
    """An unknown pause is tried again, an unknown factory reboot is not."""
    off = client.with_options(retry=sa.RetryPolicy.off())
    hub.faults("POST *", Fault.reset(acted=True))
    bulk = off.bulk.pause if repeatable else off.bulk.restart
    report: Any = await bulk(IDS[:1])
    assert report.unknown
    again = await client.bulk.retry_failed(report)
    assert len(again) == repeatable


async def test_a_report_that_does_not_say(client: sa.SpacesClient) -> None:
    """Without the outcomes, or without a bulk, nothing can be tried again."""
    report: Any = await client.bulk.pause(IDS[:1], keep="none")
    with pytest.raises(sa.ConfigurationError, match="keep='failures'"):
        await client.bulk.retry_failed(report)
    with pytest.raises(sa.ConfigurationError, match="of no bulk"):
        await client.bulk.retry_failed(sa.BulkReport("pause"))


# Waves ----------------------------------------------------------------------------


async def refuse(_client: sa.SpacesClient, _repo_id: str) -> bool:
    """A health check that no Space passes."""
    return False


async def test_what_did_not_get_well_is_brought_back(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """It failed, but its write was done: also after a second try the first value is."""
    await client.config.add_variable(IDS[0], "MODEL", "old")
    bulk: Any = client.bulk
    options = {"waves": [1], "healthy": refuse, "journal": path}
    report = await bulk.add_variable(IDS, key="MODEL", value="new", **options)
    assert [(o.repo_id, o.reason) for o in report.failed] == [(IDS[0], "unhealthy")]
    again = await client.bulk.retry_failed(path, waves=[1], healthy=refuse)
    assert [o.reason for o in again.failed] == ["unhealthy"]
    assert hub.space(IDS[0]).variables["MODEL"].value == "new"
    undone = await client.bulk.undo(path)
    assert [o.repo_id for o in undone.succeeded] == [IDS[0]]
    assert hub.space(IDS[0]).variables["MODEL"].value == "old"
    assert all("MODEL" not in hub.space(repo_id).variables for repo_id in IDS[1:])


async def test_the_journal_of_waves_over_a_selection(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """It names all Spaces before the first is sent, so that `resume` does the rest."""
    by_name = sa.Selection(author="acme", match="s*")
    order = [info.id async for info in by_name.resolve(client)]
    hub.space(order[0]).fails_with = "RUNTIME_ERROR"
    halted = await client.bulk.restart(by_name, waves=[1, "100%"], journal=path)
    assert halted.stopped_by == "unhealthy"
    kinds = [json.loads(line)["type"] for line in lines_of(path)]
    assert kinds[:4] == ["header", "targets", "complete", "intent"]
    assert json.loads(lines_of(path)[1])["ids"] == order
    hub.space(order[0]).fails_with = None
    resumed = await client.bulk.resume(path)
    assert resumed.ok
    assert len(resumed.succeeded) == len(IDS)
    counts = {repo_id: hub.space(repo_id).restarts for repo_id in order}
    assert counts == dict.fromkeys(order, 1) | {order[0]: 2}
