"""How to test a service that uses the package: with FakeHub, a Hub in the test.

The fixture `fake_hub` is there as soon as the package is installed. It is a real
server on loopback with a Hub's answers, quota and failures, so what is tested is the
whole way down to the socket. Neither a token nor a network is needed.

    pip install pytest pytest-asyncio
    pytest test_your_service.py

In a checkout of the package, `make test` runs it with all the others.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from spaces_async import (
    ClientSettings,
    PermissionDeniedError,
    RetryPolicy,
    Selection,
    SpaceFailedError,
    SpaceNotFoundError,
    SpacesClient,
    SpaceStage,
)
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota

pytestmark = pytest.mark.asyncio  # not needed with asyncio_mode = "auto"


# The service: in a program of yours it is imported from there. -----------------------


async def wake(client: SpacesClient, repo_id: str) -> str:
    """Restart a Space, wait until it runs, and return where it answers."""
    restarted = await client.lifecycle.restart(repo_id)
    runtime = await client.lifecycle.wait_until(
        repo_id, after=restarted, timeout=1800.0
    )
    return runtime.domains[0].domain


async def repair(client: SpacesClient, org: str) -> list[str]:
    """Restart an org's failed Spaces and return those that could not be."""
    failed = Selection(author=org, stages={"RUNTIME_ERROR", "BUILD_ERROR"})
    report = await client.bulk.restart(failed)
    return [outcome.repo_id for outcome in report if not outcome.ok]


# Its tests ---------------------------------------------------------------------------


@pytest_asyncio.fixture
async def client(fake_hub: FakeHub) -> AsyncIterator[SpacesClient]:
    """Give a client of the Hub in the fixture `fake_hub`, with short waits."""
    settings = ClientSettings(retry=RetryPolicy(wait_initial=0.01))
    async with SpacesClient(
        endpoint=fake_hub.url, token=fake_hub.token, settings=settings
    ) as client:
        yield client


async def test_only_what_failed_is_restarted(
    fake_hub: FakeHub, client: SpacesClient
) -> None:
    """Fill the Hub, let the service work, look at the Spaces and at the requests."""
    fake_hub.add_space("acme/good")
    broken = fake_hub.add_space("acme/broken", stage="RUNTIME_ERROR")
    hopeless = fake_hub.add_space("acme/hopeless", stage="BUILD_ERROR")
    fake_hub.faults("POST /restart", Fault.status(403), repo_id=hopeless.id)

    assert await repair(client, "acme") == [hopeless.id]

    assert broken.restarts == 1
    assert sorted(r.path for r in fake_hub.requests if r.method == "POST") == [
        "/api/spaces/acme/broken/restart",
        "/api/spaces/acme/hopeless/restart",
    ]
    assert {request.token for request in fake_hub.requests} == {fake_hub.token}


async def test_an_outage_is_survived(fake_hub: FakeHub, client: SpacesClient) -> None:
    """Script a fault: the first restart is answered 503, the second one works."""
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    outage = fake_hub.faults("POST /restart", Fault.status(503), times=1)

    await client.lifecycle.restart(space.id)

    assert outage.hits == 1
    assert fake_hub.count("POST", "/restart") == 2
    assert space.restarts == 1


async def test_a_lost_answer_restarts_nothing_twice(
    fake_hub: FakeHub, client: SpacesClient
) -> None:
    """The Hub restarts the Space and the connection breaks before its answer."""
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    fake_hub.faults("POST /restart", Fault.reset(acted=True))

    runtime = await client.lifecycle.restart(space.id)

    assert runtime.stage is SpaceStage.BUILDING
    assert space.restarts == 1


async def test_a_missing_space(client: SpacesClient) -> None:
    """What is not there is a 404, with the Hub's request id for the log."""
    with pytest.raises(SpaceNotFoundError) as caught:
        await wake(client, "acme/nothing")
    assert caught.value.status == 404
    assert caught.value.request_id


async def test_a_user_without_rights(fake_hub: FakeHub, client: SpacesClient) -> None:
    """Add users, with tokens of any role."""
    fake_hub.add_user("guest", token="hf_guest", role="read")
    space = fake_hub.add_space("acme/demo", stage="PAUSED")
    with pytest.raises(PermissionDeniedError):
        await wake(client.with_token("hf_guest"), space.id)
    assert space.restarts == 0


async def test_hours_pass_in_no_time() -> None:
    """Give one clock to Hub and client: the build takes 20 minutes of its time."""
    clock = ManualClock(auto=True)
    async with (
        FakeHub(clock=clock, build_seconds=1200.0) as hub,
        SpacesClient(endpoint=hub.url, token=hub.token, clock=clock) as client,
    ):
        hub.add_space("acme/demo", stage="SLEEPING")
        assert await wake(client, "acme/demo") == "acme-demo.hf.space"
        assert clock.monotonic() > 1200

        # And one that fails again, as in real life.
        hub.add_space("acme/broken", stage="RUNTIME_ERROR", fails_with="BUILD_ERROR")
        with pytest.raises(SpaceFailedError, match="BUILD_ERROR"):
            await wake(client, "acme/broken")


async def test_the_quota_is_kept() -> None:
    """12 Spaces, 5 calls in 5 minutes: it takes its time, and no call is refused."""
    clock = ManualClock(auto=True)
    async with (
        FakeHub(clock=clock, quota=Quota(limit=5, window=300.0)) as hub,
        SpacesClient(endpoint=hub.url, token=hub.token, clock=clock) as client,
    ):
        for number in range(12):
            hub.add_space(f"acme/demo-{number}", stage="RUNTIME_ERROR")
        assert await repair(client, "acme") == []
        assert {request.status for request in hub.requests} == {200}
        assert clock.monotonic() > 600
