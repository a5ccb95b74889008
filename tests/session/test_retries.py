"""What is tried again, how often, and what a lost answer leads to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async._operations import evidence, write
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota
from tests.support import virtual
from tests.support.writes_table import ROWS, Row, one_per_write, rows


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub whose builds take a minute of that time."""
    async with FakeHub(clock=clock, build_seconds=60.0, start_seconds=30.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        # On paid hardware: on cpu-basic the sleep time is fixed.
        hub.add_space("acme/demo", stage="RUNNING", hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client with the default retries."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


SINGLE = [
    row
    for row in (*one_per_write(ROWS), *(r for r in ROWS if r.id == "factory_reboot"))
    if row.call is not None and len(row.bodies) == 1
]


def never_repeated(row: Row) -> bool:
    return not row.idempotent and row.id != "restart"


async def invoke(row: Row, client: sa.SpacesClient, hub: FakeHub) -> Any:
    """Make the call of a row; a fault on its route is set already."""
    if row.in_bulk:
        row.prepare(hub, "acme/demo")
    name = "acme/new" if row.name == "create" else "acme/demo"
    return await row.invoke(client, name)


async def test_a_read_survives_trouble(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """502s, lost connections and cut answers of a read are tried again, more slowly."""
    for fault in (
        Fault.status(502),
        Fault.reset(),
        Fault.truncated(),
        Fault.disconnect(),
    ):
        hub.faults("GET /runtime", fault)
    runtime = await client.lifecycle.get_runtime("acme/demo")
    assert runtime.stage.is_running
    assert hub.count("GET", "/runtime") == 5
    assert len(clock.slept) == 4
    for number, slept in enumerate(clock.slept):
        assert 0 <= slept <= 0.5 * 2**number


async def test_attempts_are_bounded(client: sa.SpacesClient, hub: FakeHub) -> None:
    """After five attempts the error says how often and how long it was tried."""
    hub.faults("GET /runtime", Fault.status(500, message="boom"), times=None)
    with pytest.raises(sa.HubServerError, match="boom") as caught:
        await client.lifecycle.get_runtime("acme/demo")
    assert hub.count("GET", "/runtime") == 5
    assert caught.value.attempts == 5
    assert "5 attempts" in str(caught.value)
    assert any("waited" in note for note in caught.value.__notes__)


async def test_aiohttp_sends_nothing_on_its_own(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Every request that reaches the Hub is one that we count."""
    off = client.with_options(retry=sa.RetryPolicy.off())
    hub.faults("*", Fault.disconnect(), times=None)
    for call in (off.lifecycle.get_runtime, off.storage.delete_storage):
        before = len(hub.requests)
        with pytest.raises(sa.ConnectionLostError) as caught:
            await call("acme/demo")
        assert len(hub.requests) - before == 1
        assert caught.value.attempts == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 418])
async def test_definite_answers_are_not_repeated(
    client: sa.SpacesClient, hub: FakeHub, status: int
) -> None:
    """A refusal for good is told at once."""
    hub.faults("*", Fault.status(status), times=None)
    for call in (client.lifecycle.get_runtime, client.lifecycle.restart):
        with pytest.raises(sa.HubResponseError) as caught:
            await call("acme/demo")
        assert caught.value.attempts == 1
        assert not caught.value.outcome_unknown


@rows(SINGLE)
async def test_a_refusal_is_repeated_for_every_write(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock, row: Row
) -> None:
    """503 with Retry-After, 425 and 429 say that nothing happened: try again."""
    hub.faults(row.route, Fault.status(503, headers={"Retry-After": "7"}))
    hub.faults(row.route, Fault.status(425))
    hub.faults(row.route, Fault.rate_limit(retry_after=9))
    await invoke(row, client, hub)
    assert row.sent_to(hub) == 4
    assert sum(r.acted for r in hub.requests) == 1
    assert 7.0 in clock.slept
    assert clock.monotonic() >= 16.0


async def test_refusals_use_up_no_attempts(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """However often the Hub says "later", the call goes on until its time is up."""
    hub.faults(
        "POST /restart", Fault.status(503, headers={"Retry-After": "10"}), times=12
    )
    await client.lifecycle.restart("acme/demo")
    assert hub.count("POST", "/restart") == 13


async def test_the_total_bounds_refusals(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """No wait begins that cannot end before the call's total time."""
    hub.faults(
        "POST /restart", Fault.status(503, headers={"Retry-After": "40"}), times=None
    )
    quick = client.with_options(timeouts=sa.Timeouts(total=100.0))
    with pytest.raises(sa.HubServerError) as caught:
        await quick.lifecycle.restart("acme/demo")
    assert clock.monotonic() <= 100.0
    assert caught.value.attempts == 3
    assert not caught.value.outcome_unknown


async def test_a_retry_after_beyond_the_allowed_wait_is_told_at_once(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """A web request does not sleep through a maintenance window."""
    hub.faults(
        "GET /runtime", Fault.status(503, headers={"Retry-After": "500"}), times=None
    )
    with pytest.raises(sa.HubServerError):
        await client.lifecycle.get_runtime("acme/demo")
    assert clock.slept == []


async def test_an_http_date_is_understood(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """Retry-After as a date counts from the Date of the same answer."""
    headers = {
        "Retry-After": "Wed, 21 Oct 2015 07:28:20 GMT",
        "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
    }
    hub.faults("POST /restart", Fault.status(503, headers=headers))
    await client.lifecycle.restart("acme/demo")
    assert clock.slept == [20.0]


@rows(SINGLE)
@pytest.mark.parametrize("kind", ["reset", "disconnect", "502"])
async def test_a_write_that_was_acted_on_is_not_done_twice(
    client: sa.SpacesClient, hub: FakeHub, row: Row, kind: str
) -> None:
    """The Hub acted and its answer was lost: the state tells, nothing is repeated."""
    faults = {
        "reset": Fault.reset(acted=True),
        "disconnect": Fault.disconnect(acted=True),
        "502": Fault.status(502, acted=True),
    }
    hub.faults(row.route, faults[kind])
    result = await invoke(row, client, hub)
    assert isinstance(result, row.returns)
    assert row.sent_to(hub) == (2 if row.sent_again else 1)
    if "acme/demo" in hub.spaces:
        space = hub.space("acme/demo")
        done = (row.id == "restart", row.id == "factory_reboot")
        assert (space.restarts, space.factory_reboots) == done


@rows(SINGLE, only=lambda row: not never_repeated(row))
async def test_a_write_that_was_not_acted_on_is_done(
    client: sa.SpacesClient, hub: FakeHub, row: Row
) -> None:
    """The request got lost on its way: the state tells, and it is repeated."""
    hub.faults(row.route, Fault.reset(acted=False))
    await invoke(row, client, hub)
    assert row.sent_to(hub) == 2
    assert sum(r.acted for r in hub.requests) == 1


@rows(SINGLE, only=never_repeated)
async def test_what_is_never_repeated(
    client: sa.SpacesClient, hub: FakeHub, row: Row
) -> None:
    """A second rebuild or copy is worse than an open question: it is said openly."""
    hub.faults(row.route, Fault.reset(acted=False))
    with pytest.raises(sa.ConnectionLostError) as caught:
        await invoke(row, client, hub)
    assert caught.value.outcome_unknown
    assert row.sent_to(hub) == 1


async def test_a_restart_is_repeated_once_at_most(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Two lost restarts in a row end in an error, not in a third."""
    hub.faults("POST /restart", Fault.reset(), times=None)
    with pytest.raises(sa.ConnectionLostError) as caught:
        await client.lifecycle.restart("acme/demo")
    assert hub.count("POST", "/restart") == 2
    assert not caught.value.outcome_unknown, "both times the state showed: not done"


async def test_when_the_state_cannot_be_read_the_outcome_is_unknown(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A lost restart and a Hub that says nothing more: unknown, and not repeated."""
    hub.faults("POST /restart", Fault.reset(acted=True))
    hub.faults("GET /runtime", Fault.status(500), times=None)
    with pytest.raises(sa.ConnectionLostError, match="not known") as caught:
        await client.lifecycle.restart("acme/demo")
    assert caught.value.outcome_unknown
    assert hub.count("POST", "/restart") == 1


async def test_nothing_at_the_end_of_a_redirect_is_no_proof(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A lost deletion whose Space is elsewhere by now was not shown to be done."""
    hub.faults("DELETE /api/repos/delete", Fault.reset())
    hub.faults("GET /api/spaces/{id}", Fault.redirect("/api/spaces/acme/other"))
    with pytest.raises(sa.ConnectionLostError) as caught:
        await client.lifecycle.delete("acme/demo")
    assert caught.value.outcome_unknown
    assert hub.requests[-1].path == "/api/spaces/acme/other"


@rows(SINGLE)
@pytest.mark.parametrize("kind", ["truncated", "invalid", "empty"])
async def test_a_broken_answer_to_a_write(
    client: sa.SpacesClient, hub: FakeHub, row: Row, kind: str
) -> None:
    """The state tells whether the Hub acted; what is sent again costs nothing."""
    faults = {
        "truncated": Fault.truncated(),
        "invalid": Fault.invalid_json(),
        "empty": Fault.empty(),
    }
    hub.faults(row.route, faults[kind])
    result = await invoke(row, client, hub)
    assert row.sent_to(hub) in ({1, 2} if row.idempotent else {1})
    assert isinstance(result, row.returns)
    if kind == "truncated":
        assert row.sent_to(hub) == 1, "its beginning says that the Hub acted"


PAGE = "<html><title>Sign in</title>to the network</html>"


@rows(SINGLE)
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PAGE, "text/html; charset=utf-8"),
        ("OK", "text/html"),
        ("Welcome", "text/plain"),
        ('"OK"', "application/json"),
        ('{"error": "no such thing"}', "application/json"),
    ],
    ids=["page", "short page", "text", "string", "error"],
)
async def test_an_answer_that_is_not_the_hubs_does_not_pass_for_success(
    hub: FakeHub, row: Row, body: str, kind: str
) -> None:
    """A sign-in page with status 200 is no result: whether the Hub acted is unknown."""
    fault = Fault.status(200, body=body, headers={"Content-Type": kind})
    hub.faults(row.route, fault, times=None)
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off())
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        with pytest.raises(sa.UnexpectedResponseError) as caught:
            await invoke(row, client, hub)
    assert caught.value.outcome_unknown
    assert row.sent_to(hub) == 1


async def test_after_a_sign_in_page_the_state_tells(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A write that a network answered in place of the Hub is looked up and sent again."""
    fault = Fault.status(200, body=PAGE, headers={"Content-Type": "text/html"})
    for route in ("POST /secrets", "DELETE /secrets", "POST /restart", "POST /pause"):
        hub.faults(route, fault)
    await client.config.add_secret("acme/demo", "K", "value-1")
    assert hub.space("acme/demo").secrets["K"].value == "value-1"
    await client.config.delete_secret("acme/demo", "K")
    assert not hub.space("acme/demo").secrets
    await client.lifecycle.pause("acme/demo")
    assert hub.space("acme/demo").stage == "PAUSED"
    await client.lifecycle.restart("acme/demo")
    assert hub.space("acme/demo").restarts == 1


@pytest.mark.parametrize("body", ["", "{}", " \n", '{"private": true}'])
async def test_an_answer_without_content(
    client: sa.SpacesClient, hub: FakeHub, body: str
) -> None:
    """Where the Hub documents nothing, no body and any object are an answer of its."""
    fault = Fault.status(200, body=body, headers={"Content-Type": "application/json"})
    hub.faults("PUT /settings", fault)
    await client.config.set_visibility("acme/demo", "private")
    hub.faults("DELETE /secrets", Fault.status(204, body=""))
    await client.config.delete_secret("acme/demo", "K")
    assert len(hub.requests) == 2


async def test_off_means_one_attempt_and_no_look(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """With retries off a lost write is one request and an open outcome."""
    off = client.with_options(retry=sa.RetryPolicy.off())
    hub.faults("POST /pause", Fault.reset())
    with pytest.raises(sa.ConnectionLostError) as caught:
        await off.lifecycle.pause("acme/demo")
    assert caught.value.outcome_unknown
    assert [r.method for r in hub.requests] == ["POST"]


async def test_an_outage_is_not_multiplied(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The repeats of all calls together are bounded by a share of the calls."""
    hub.faults("GET /runtime", Fault.status(500), times=None)

    async def one() -> None:
        with pytest.raises(sa.HubServerError):
            await client.lifecycle.get_runtime("acme/demo")

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(one())
    assert 200 <= len(hub.requests) <= 200 * 1.2 + 12


async def test_a_lost_answer_and_a_refusal_leave_it_open(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """After a lost answer, a later refusal does not make the outcome known."""
    hub.faults("POST /sleeptime", Fault.reset(acted=True))
    hub.faults("POST /sleeptime", Fault.status(403))
    with pytest.raises(sa.PermissionDeniedError) as caught:
        await client.hardware.set_sleep_time("acme/demo", 600)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("stage", ["RUNNING", "PAUSED"])
async def test_a_late_look_is_no_proof_that_a_restart_did_not_happen(
    clock: ManualClock, stage: str
) -> None:
    """A look that waits for the quota may find the Space at rest again by then.

    Of one that runs the log tells whether it was restarted; one that is paused may have
    been restarted and paused since. It is not sent a second time.
    """
    quota = Quota(2, 300.0)
    async with FakeHub(clock=clock, quota=quota, build_seconds=60.0) as hub:
        space = hub.add_space("acme/demo", stage="RUNNING")
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            unhurried = client.with_options(timeouts=sa.Timeouts(total=None))
            await unhurried.lifecycle.get_runtime("acme/demo")
            hub.faults("POST /restart", Fault.reset(acted=True))
            call = asyncio.create_task(unhurried.lifecycle.restart("acme/demo"))
            while not space.restarts:
                await asyncio.sleep(0)
            if stage == "RUNNING":
                assert (await call).stage == "RUNNING"
            else:
                space.pause()
                with pytest.raises(sa.ConnectionLostError) as caught:
                    await call
                assert caught.value.outcome_unknown
        assert space.restarts == 1


@pytest.mark.parametrize("stage", ["RUNNING", "RUNTIME_ERROR"])
async def test_a_quick_restart_is_not_doubled(clock: ManualClock, stage: str) -> None:
    """A Space that runs, or has failed, again after three seconds is left alone."""
    async with FakeHub(clock=clock, build_seconds=2.0, start_seconds=1.0) as hub:
        space = hub.add_space("acme/demo", stage=stage)
        space.fails_with = None if stage == "RUNNING" else stage
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            hub.faults("GET /runtime", Fault.status(502))
            hub.faults("GET /runtime", Fault.delay(3.5), times=1)
            hub.faults("POST /restart", Fault.reset(acted=True))
            assert (await client.lifecycle.restart("acme/demo")).stage == stage
        assert space.restarts == 1


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_factory_reboot_of_a_paused_space_is_not_done(
    client: sa.SpacesClient, hub: FakeHub, *, in_bulk: bool
) -> None:
    """The Hub answers it with a success and changes nothing: the error says what to do."""
    hub.space("acme/demo").pause()
    if in_bulk:
        report = await client.bulk.restart(["acme/demo"], factory_reboot=True)
        (outcome,) = report.failed
        error = outcome.error
    else:
        with pytest.raises(sa.ConflictError) as caught:
            await client.lifecycle.restart("acme/demo", factory_reboot=True)
        error = caught.value
    assert isinstance(error, sa.ConflictError)
    assert "restart it first" in str(error)
    assert (error.status, error.attempts, error.outcome_unknown) == (409, 1, False)
    assert hub.space("acme/demo").factory_reboots == 0


@pytest.mark.parametrize("factory_reboot", [False, True])
@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_push_is_not_taken_for_a_restart(
    client: sa.SpacesClient, hub: FakeHub, *, in_bulk: bool, factory_reboot: bool
) -> None:
    """A Space whose old version is up while it builds was not seen to restart."""
    hub.space("acme/demo").commit("0" * 40)
    hub.faults("POST /restart", Fault.status(502), times=None)
    if in_bulk:
        report = await client.bulk.restart(["acme/demo"], factory_reboot=factory_reboot)
        assert [o.repo_id for o in report.unknown] == ["acme/demo"]
    else:
        with pytest.raises(sa.HubServerError) as caught:
            await client.lifecycle.restart("acme/demo", factory_reboot=factory_reboot)
        assert caught.value.outcome_unknown
    assert hub.count("POST", "/restart") == 1


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_paused_space_shows_no_restart(
    client: sa.SpacesClient, hub: FakeHub, *, in_bulk: bool
) -> None:
    """Where the success breaks off, a Space that is paused was not seen to restart."""
    hub.space("acme/demo").pause()
    hub.faults("POST /restart", Fault.truncated())
    if in_bulk:
        report = await client.bulk.restart(["acme/demo"], factory_reboot=True)
        assert [o.repo_id for o in report.unknown] == ["acme/demo"]
    else:
        with pytest.raises(sa.UnexpectedResponseError) as caught:
            await client.lifecycle.restart("acme/demo", factory_reboot=True)
        assert caught.value.outcome_unknown
    assert hub.count("POST", "/restart") == 1


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_restart_whose_response_is_late_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, in_bulk: bool
) -> None:
    """A Space that builds while the response is awaited was restarted; it is enough."""

    async def scene() -> None:
        # When the response is given up after 30 s, the Space is RUNNING again.
        clock = virtual.VirtualClock()
        async with FakeHub(clock=clock, build_seconds=10.0) as hub:
            hub.add_space("tester/demo")
            hub.faults("POST /restart", Fault.hang(acted=True))
            async with sa.SpacesClient(
                token=hub.token, endpoint=hub.url, clock=clock
            ) as client:
                if in_bulk:
                    report = await client.bulk.restart(["tester/demo"])
                    (runtime,) = [outcome.value for outcome in report.succeeded]
                else:
                    runtime = await client.lifecycle.restart("tester/demo")
            assert runtime is not None
            assert runtime.stage == "BUILDING"
            assert hub.space("tester/demo").restarts == 1
            assert hub.count("POST", "/restart") == 1
            assert hub.count("GET", "/runtime") == 1

    virtual.play(monkeypatch, scene, measured=True)


@pytest.mark.parametrize("fault", [None, Fault.status(404), Fault.hang()])
async def test_a_look_while_the_response_is_late_decides_nothing_else(
    monkeypatch: pytest.MonkeyPatch, fault: Fault | None
) -> None:
    """A Space that still runs, or a look that fails, leaves the response awaited."""
    monkeypatch.setattr(evidence, "_LATE_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(write, "_known", {})
    async with FakeHub(build_seconds=60.0) as hub:
        hub.add_space("tester/demo")
        async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
            # The first response tells the quota: a second call need not wait for it.
            await client.lifecycle.get_runtime("tester/demo")
            if fault is not None:
                hub.faults("GET /runtime", fault)
            hub.faults("POST /restart", Fault.delay(0.2))
            runtime = await client.lifecycle.restart("tester/demo")
        assert runtime.stage == "BUILDING"
        assert hub.count("GET", "/runtime") == 2
        assert hub.space("tester/demo").restarts == 1


@pytest.mark.parametrize("fault", [Fault.reset(acted=True), Fault.invalid_json()])
@pytest.mark.parametrize("repo_id", ["tester/new", "new"])
async def test_a_space_without_an_owner_is_looked_for_too(
    client: sa.SpacesClient, hub: FakeHub, fault: Fault, repo_id: str
) -> None:
    """After a lost or broken answer, under the name of whoever creates it."""
    hub.faults("POST /api/repos/create", fault)
    created = await client.lifecycle.create(repo_id, sdk="gradio")
    assert created.repo_id == "tester/new"
    assert hub.count("POST", "/api/repos/create") == 1


async def test_what_exists_is_told_with_its_url(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The Hub's 409 says where it is, so a bare name needs no look at whose it is."""
    hub.add_space("tester/there")
    found = await client.lifecycle.create("there", sdk="gradio", exist_ok=True)
    assert found.repo_id == "tester/there"
    assert found.url is not None
    assert found.url.endswith("/spaces/tester/there")
    assert [r.method for r in hub.requests] == ["POST"]


def unused_endpoint() -> str:
    """Return the endpoint of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_an_unreached_hub_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Each call warns once, after its second failed attempt to connect."""
    async with sa.SpacesClient(
        token="hf_x",
        endpoint=unused_endpoint(),
        clock=ManualClock(auto=True),
    ) as client:
        with pytest.raises(sa.ConnectionFailedError):
            await client.lifecycle.get_runtime("a/b")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "connection refused; the call is tried again for up to" in warnings[0]


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_page_that_breaks_off_is_no_success(
    client: sa.SpacesClient, hub: FakeHub, *, in_bulk: bool
) -> None:
    """The Hub sends no page for a write: the state is looked at, and it is sent again."""
    await client.config.add_secret("acme/demo", "K", "value")
    page = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n<a>"
    )
    fault = hub.faults("DELETE /secrets", Fault.raw(page))
    if in_bulk:
        assert (await client.bulk.delete_secret(["acme/demo"], key="K")).ok
    else:
        await client.config.delete_secret("acme/demo", "K")
    fault.assert_met()
    assert "K" not in hub.space("acme/demo").secrets


@pytest.mark.parametrize("name", ["get_runtime", "restart"])
async def test_a_hub_that_was_never_reached_is_given_up_soon(
    clock: ManualClock, name: str
) -> None:
    """A misspelt endpoint, or no network at all, is told after 15 s at most."""
    async with sa.SpacesClient(
        token=False, endpoint=unused_endpoint(), clock=clock
    ) as client:
        started = clock.monotonic()
        with pytest.raises(sa.ConnectionFailedError, match="refused") as caught:
            await getattr(client.lifecycle, name)("acme/demo")
        assert clock.monotonic() - started <= 15.0
        assert caught.value.attempts > 1
        assert not caught.value.outcome_unknown


async def test_a_hub_that_was_reached_before_is_waited_for(
    clock: ManualClock, hub: FakeHub, client: sa.SpacesClient
) -> None:
    """An outage is sat out up to the time limit of the call, also by other views."""
    await client.lifecycle.get_runtime("acme/demo")
    await hub.aclose()
    started = clock.monotonic()
    other = client.with_token("hf_another_token")
    with pytest.raises(sa.ConnectionFailedError):
        await other.lifecycle.get_runtime("acme/demo")
    assert clock.monotonic() - started > 500.0


@pytest.mark.parametrize("of_a_function", [False, True])
def test_a_bulk_waits_for_a_hub_that_was_never_reached(
    monkeypatch: pytest.MonkeyPatch, *, of_a_function: bool
) -> None:
    """A job that starts a minute before its network does is not lost."""

    async def restart(client: sa.SpacesClient, repo_id: str) -> None:
        await client.lifecycle.restart(repo_id)

    async def scene() -> None:
        clock = virtual.VirtualClock()
        async with FakeHub(clock=clock) as hub:
            hub.add_space("tester/demo")
            await hub.aclose()
            async with sa.SpacesClient(
                token=hub.token, endpoint=hub.url, clock=clock
            ) as client:
                does = restart if of_a_function else operations.restart()
                bulk = asyncio.create_task(client.bulk.run(does, ["tester/demo"]))
                await asyncio.sleep(60)
                await hub.start()
                report = await bulk
            assert report.ok
            assert hub.space("tester/demo").restarts == 1

    virtual.play(monkeypatch, scene, measured=True)


async def test_a_repeat_costs_the_retry_budget_once(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Ten at the start, and a fifth for each call: twelve calls in a row can be repeated."""
    for _ in range(12):
        hub.faults("GET /runtime", Fault.status(502), times=1)
        await client.lifecycle.get_runtime("acme/demo")
    hub.faults("GET /runtime", Fault.status(502), times=1)
    with pytest.raises(sa.HubServerError):
        await client.lifecycle.get_runtime("acme/demo")


async def test_each_token_has_its_own_retry_budget(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """One tenant's broken Space does not use up the retries of another one."""
    hub.add_user("bob", token="hf_bob_bob_bob")
    hub.add_space("bob/app")
    hub.faults("GET /runtime", Fault.status(500), times=None, repo_id="acme/demo")
    attempts = 0
    for _ in range(30):
        with pytest.raises(sa.HubServerError) as caught:
            await client.lifecycle.get_runtime("acme/demo")
        attempts = caught.value.attempts
    assert attempts == 1, "its budget is used up"
    bob = client.with_token("hf_bob_bob_bob")
    hub.faults("GET /runtime", Fault.status(502), times=2, repo_id="bob/app")
    await bob.lifecycle.get_runtime("bob/app")
