"""One call over a real socket: what goes out, what comes back, what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import re
import warnings
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async._core.shared import Account
from spaces_async._redacted import Token
from spaces_async._wire.ratelimit import Quota
from spaces_async.testing import FakeHub, Fault, ManualClock

USER_AGENT = re.compile(r"^spaces-async/\d\S* python/3\.\d+\.\d+\S* aiohttp/3\.\S+$")


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    """A client without retries."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off())
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        yield client


async def test_every_request_names_itself(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """User-Agent and a fresh request id go with each request."""
    for _ in range(3):
        await client.lifecycle.get_runtime("acme/demo")
    assert all(USER_AGENT.match(r.user_agent or "") for r in hub.requests)
    assert len({r.request_id for r in hub.requests}) == 3
    assert None not in {r.request_id for r in hub.requests}


async def test_the_user_agent_can_be_introduced(hub: FakeHub) -> None:
    """A service puts its own name first."""
    settings = sa.ClientSettings(user_agent="my-app/1.2")
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        await client.lifecycle.get_runtime("acme/demo")
    assert (hub.requests[0].user_agent or "").startswith("my-app/1.2 spaces-async/")


async def test_errors_carry_the_hubs_request_id(client: sa.SpacesClient) -> None:
    """The id to quote to the Hub's support is on the error."""
    with pytest.raises(sa.SpaceNotFoundError) as caught:
        await client.lifecycle.get_runtime("acme/missing")
    assert (caught.value.request_id or "").startswith("Root=")
    assert caught.value.code == "RepoNotFound"
    assert caught.value.attempts == 1
    assert caught.value.url.endswith("/api/spaces/acme/missing/runtime")


async def test_a_borrowed_session_is_used_and_left_open(hub: FakeHub) -> None:
    """A session that was passed in is used, and closing the client leaves it open."""
    async with aiohttp.ClientSession() as session:
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, session=session
        ) as client:
            assert (await client.lifecycle.get_runtime("acme/demo")).stage.is_running
        assert not session.closed
        with pytest.raises(sa.ClientClosedError):
            await client.lifecycle.get_runtime("acme/demo")


async def test_a_borrowed_session_brings_nothing_of_its_own(hub: FakeHub) -> None:
    """Its Authorization, cookies and raise_for_status do not mix with ours."""
    session = aiohttp.ClientSession(
        headers={"Authorization": "Bearer other"},
        cookies={"sid": "1"},
        raise_for_status=True,
    )
    async with (
        session,
        sa.SpacesClient(token=False, endpoint=hub.url, session=session) as anonymous,
    ):
        with pytest.raises(sa.AuthenticationError):
            await anonymous.lifecycle.get_runtime("acme/missing")
        tokens = [r.token for r in hub.requests]
        await anonymous.with_token(hub.token).lifecycle.get_runtime("acme/demo")
        tokens += [r.token for r in hub.requests[1:]]
        assert tokens == [None, hub.token]
        assert not [r for r in hub.requests if "Cookie" in r.headers]


async def test_a_borrowed_session_with_credentials_works(hub: FakeHub) -> None:
    """aiohttp refuses its auth together with a header of ours: we keep them apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("u", "p"))
    async with (
        session,
        sa.SpacesClient(token=hub.token, endpoint=hub.url, session=session) as client,
    ):
        await client.lifecycle.get_runtime("acme/demo")
    assert hub.requests[-1].token == hub.token


async def test_a_borrowed_session_that_was_closed_is_told(hub: FakeHub) -> None:
    """Whoever closes the session that they lent gets a clear error."""
    session = aiohttp.ClientSession()
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url, session=session)
    await session.close()
    with pytest.raises(sa.ClientClosedError, match="borrowed"):
        await client.lifecycle.get_runtime("acme/demo")


async def test_use_after_close(hub: FakeHub) -> None:
    """A closed client, and each view of it, says that it is closed."""
    client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
    view = client.with_options(timeouts=sa.Timeouts(total=5.0))
    await client.lifecycle.get_runtime("acme/demo")
    await client.aclose()
    await client.aclose()
    assert client.closed
    for closed in (client, view):
        with pytest.raises(sa.ClientClosedError):
            await closed.lifecycle.pause("acme/demo")
        with pytest.raises(sa.ClientClosedError):
            async for _ in closed.catalog.list_spaces(author="acme"):
                pass


def test_a_client_is_made_outside_of_a_loop() -> None:
    """Making a client opens nothing: a module may do it at import."""
    assert "huggingface.co" in repr(sa.SpacesClient(token=False))


async def test_a_silent_server_times_out(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A read that brings no byte ends at its time limit, and the error says which."""
    hub.faults("GET /runtime", Fault.hang())
    quick = client.with_options(timeouts=sa.Timeouts(read=0.05))
    with pytest.raises(sa.RequestTimeoutError) as caught:
        await quick.lifecycle.get_runtime("acme/demo")
    assert caught.value.phase == "read"
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    ("limits", "phase"),
    [({"attempt": 0.5}, "attempt"), ({"total": 0.5}, "total")],
)
async def test_the_other_time_limits(
    client: sa.SpacesClient, hub: FakeHub, limits: dict[str, float], phase: str
) -> None:
    """An attempt, and a call with all its attempts, have limits of their own."""
    hub.faults("POST /pause", Fault.hang())
    quick = client.with_options(timeouts=sa.Timeouts(**limits))
    with pytest.raises(sa.RequestTimeoutError) as caught:
        await quick.lifecycle.pause("acme/demo")
    assert caught.value.phase == phase
    assert caught.value.outcome_unknown
    assert "no complete response within 0.5 s" in str(caught.value)
    assert "all that was left" not in str(caught.value)


async def test_the_callers_own_deadline_ends_a_call(
    hub: FakeHub,
) -> None:
    """`asyncio.timeout` around a call that retries ends it at once."""
    hub.faults("GET /runtime", Fault.status(503), times=None)
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await client.lifecycle.get_runtime("acme/demo")
    assert not isinstance(caught.value, sa.SpacesError)


async def test_a_refused_connection_is_told_apart() -> None:
    """Nobody listens: nothing was sent, and the error says so."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off())
    async with sa.SpacesClient(
        token=False, endpoint="http://127.0.0.1:9", settings=settings
    ) as client:
        with pytest.raises(sa.ConnectionFailedError) as caught:
            await client.lifecycle.restart("acme/demo")
    assert not caught.value.outcome_unknown
    assert caught.value.request_id is None
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_write_to_a_renamed_space_goes_to_its_new_id(
    client: sa.SpacesClient, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """The redirect of a renamed or mis-cased id is followed with method and body."""
    caplog.set_level("INFO", logger="spaces_async")
    await client.lifecycle.move("acme/demo", "acme/new")
    for old in ("acme/demo", "ACME/New"):
        hub.requests.clear()
        await client.config.add_variable(old, "K", old)
        await client.config.add_secret(old, "S", "hush")
        runtime = await client.lifecycle.restart(old, factory_reboot=True)
        assert runtime.stage == "BUILDING"
        space = hub.space("acme/new")
        assert space.variables["K"].value == old
        assert space.secrets["S"].value == "hush"
        writes = [r for r in hub.requests if r.method != "GET"]
        assert [r.status for r in writes] == [307, 200] * 3
        assert writes[-1].query == [("factory", "true")]
    assert "acme/demo/variables: the Space is now acme/new" in caplog.text
    assert "hush" not in caplog.text


async def test_a_secret_does_not_follow_to_another_owner(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A redirect to another owner is followed without secrets only; the error says where."""
    hub.add_org("other", members={"tester": "write"})
    await client.lifecycle.move("acme/demo", "other/demo")
    hub.requests.clear()
    with pytest.raises(sa.RedirectRefusedError) as caught:
        await client.config.add_secret("acme/demo", "S", "hush")
    assert len(hub.requests) == 1
    assert caught.value.new_id == "other/demo"
    assert caught.value.outcome_unknown is False
    assert "the Space is now other/demo" in str(caught.value)
    await client.config.add_variable("acme/demo", "K", "v")
    assert hub.space("other/demo").variables["K"].value == "v"


async def test_one_redirect_of_a_write_is_followed(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Ids that redirect to each other do not make a write go round in circles."""
    hub.faults(
        "POST /pause", Fault.redirect("/api/spaces/acme/a/pause", status=308), times=1
    )
    hub.faults(
        "POST /pause", Fault.redirect("/api/spaces/acme/b/pause", status=308), times=1
    )
    with pytest.raises(sa.RedirectRefusedError) as caught:
        await client.lifecycle.pause("acme/demo")
    assert caught.value.new_id == "acme/b"
    assert len(hub.requests) == 2


async def test_no_other_redirect_of_a_write_is_followed(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A redirect that changes more than the id of the Space is refused."""
    async with FakeHub() as other:
        for target, status in (
            (f"{other.url}/api/spaces/acme/new/secrets", 307),
            (f"{hub.url}/api/whoami-v2", 307),
            ("/x", 307),
            ("/api/spaces/acme/new/secrets", 302),
            ("/api/spaces/acme/new/variables", 307),
            ("/api/spaces/acme/new/x/secrets", 307),
            ("/api/spaces/acme/demo/secrets", 307),
            ("/api/spaces/acme/%2e%2e/secrets", 307),
            ("/spaces/acme/new/secrets", 307),
        ):
            hub.requests.clear()
            hub.faults("POST /secrets", Fault.redirect(target, status=status))
            with pytest.raises(sa.RedirectRefusedError) as caught:
                await client.config.add_secret("acme/demo", "K", "hush")
            assert caught.value.location == target
            assert caught.value.new_id is None
            assert len(hub.requests) == 1
        assert not other.requests


async def test_a_read_follows_its_own_origin_only(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A renamed Space is followed; another origin never sees the token."""
    hub.faults(
        "GET /runtime", Fault.redirect("/api/spaces/acme/demo/runtime", status=307)
    )
    assert (await client.lifecycle.get_runtime("acme/old")).stage.is_running
    async with FakeHub() as other:
        for target in (other.url, "http://[", "file:///etc/passwd", ""):
            hub.faults("GET /runtime", Fault.redirect(target))
            with pytest.raises(sa.RedirectRefusedError):
                await client.lifecycle.get_runtime("acme/demo")
        assert not other.requests


async def test_a_redirect_loop_ends(client: sa.SpacesClient, hub: FakeHub) -> None:
    """After three redirects a read gives up."""
    hub.faults(
        "GET /runtime",
        Fault.redirect("/api/spaces/acme/demo/runtime"),
        times=None,
    )
    with pytest.raises(sa.RedirectRefusedError):
        await client.lifecycle.get_runtime("acme/demo")
    assert len(hub.requests) == 4


async def test_a_large_answer_is_refused(hub: FakeHub) -> None:
    """An answer over the cap is not read to its end."""
    settings = sa.ClientSettings(max_response_bytes=1024, retry=sa.RetryPolicy.off())
    big = b'{"stage":"RUNNING","x":"' + b"y" * 200_000 + b'"}'
    hub.faults("GET /runtime", Fault.status(200, body=big))
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        with pytest.raises(sa.ResponseTooLargeError, match="1024"):
            await client.lifecycle.get_runtime("acme/demo")
        assert (await client.lifecycle.get_runtime("acme/demo")).stage.is_running


@pytest.mark.parametrize(
    "fault",
    [Fault.invalid_json(), Fault.empty(), Fault.truncated(), Fault.html(status=200)],
)
async def test_a_broken_answer_is_no_crash(
    client: sa.SpacesClient, hub: FakeHub, fault: Fault
) -> None:
    """What is not the documented JSON is an error of ours, with what there was."""
    hub.faults("GET /runtime", fault)
    with pytest.raises((sa.UnexpectedResponseError, sa.ConnectionLostError)):
        await client.lifecycle.get_runtime("acme/demo")


async def test_a_browser_page_from_a_proxy_is_cut_to_a_line(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The HTML of a gateway becomes its title."""
    hub.faults("GET /runtime", Fault.html(status=502))
    with pytest.raises(sa.HubServerError) as caught:
        await client.lifecycle.get_runtime("acme/demo")
    assert caught.value.message == "502"
    assert "<" not in str(caught.value)


async def test_connections_are_limited_fairly(hub: FakeHub) -> None:
    """No more requests are under way than max_connections allows."""
    settings = sa.ClientSettings(max_connections=3)
    hub.faults("GET /runtime", Fault.delay(0.01), times=None)
    async with (
        sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(20):
            group.create_task(client.lifecycle.get_runtime("acme/demo"))
    assert hub.max_in_flight == 3


async def test_a_bulk_leaves_connections_to_other_calls(hub: FakeHub) -> None:
    """A web request does not queue behind a bulk that would use up all connections."""
    settings = sa.ClientSettings(max_connections=4, reserve=0.25)
    hub.faults("POST /restart", Fault.hang(), times=None)
    for number in range(8):
        hub.add_space(f"acme/s{number}")
    ids = [f"acme/s{number}" for number in range(8)]
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        await client.config.get_variables("acme/demo")  # learns the quota
        bulk = asyncio.create_task(client.bulk.restart(ids, concurrency=8))
        while hub.in_flight < 3:
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await client.lifecycle.get_runtime("acme/demo")
        assert hub.max_in_flight == 4
        bulk.cancel()
        await asyncio.wait([bulk])


@pytest.mark.parametrize("phase", ["total", "attempt"])
async def test_waiting_for_a_connection_counts_against_the_limits(
    hub: FakeHub, phase: str
) -> None:
    """A call that gets no connection in time was never sent, and says which limit."""
    settings = sa.ClientSettings(max_connections=1, retry=sa.RetryPolicy.off())
    hub.faults("GET /runtime", Fault.hang(), times=1)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        await client.config.get_variables("acme/demo")  # learns the quota
        first = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        quick = client.with_options(timeouts=sa.Timeouts(**{phase: 0.05}))
        with pytest.raises(sa.RequestTimeoutError, match="max_connections") as caught:
            await quick.lifecycle.pause("acme/demo")
        assert caught.value.phase == phase
        assert caught.value.attempts == 0
        assert not caught.value.outcome_unknown
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_waiting_behind_others_counts_against_the_total(hub: FakeHub) -> None:
    """A call is not held up longer by a connection that another call gets first."""
    settings = sa.ClientSettings(max_connections=1, retry=sa.RetryPolicy.off())
    hub.faults("GET /runtime", Fault.hang(), times=None)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        await client.config.get_variables("acme/demo")  # learns the quota
        first = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        second = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        quick = client.with_options(timeouts=sa.Timeouts(total=0.3))
        third = asyncio.create_task(quick.lifecycle.pause("acme/demo"))
        for _ in range(10):
            await asyncio.sleep(0)
        first.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(sa.RequestTimeoutError, match="max_connections"):
                await third
        assert not second.done()
        second.cancel()
        await asyncio.wait((first, second))


async def test_a_mirror_below_a_path_works(hub: FakeHub) -> None:
    """An endpoint may have a path: it comes before `/api`."""
    async with sa.SpacesClient(token=False, endpoint=hub.url + "/mirror") as client:
        with pytest.raises(sa.NotFoundError):
            await client.lifecycle.get_runtime("acme/demo")
    assert hub.requests[0].path == "/mirror/api/spaces/acme/demo/runtime"


async def test_proxies_of_the_environment(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is used, NO_PROXY respected, and trust_env=False ignores both."""
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("http_proxy", hub.url)
    off = sa.ClientSettings(trust_env=False, retry=sa.RetryPolicy.off())
    on = sa.ClientSettings(retry=sa.RetryPolicy.off())
    for settings, reaches in ((on, True), (off, False)):
        async with sa.SpacesClient(
            token=False, endpoint="http://hub.invalid", settings=settings
        ) as client:
            with contextlib.suppress(sa.SpacesError):
                await client.lifecycle.get_runtime("acme/demo")
        assert bool(hub.requests) is reaches
        hub.requests.clear()
    monkeypatch.setenv("NO_PROXY", "hub.invalid")
    monkeypatch.setenv("no_proxy", "hub.invalid")
    async with sa.SpacesClient(
        token=False, endpoint="http://hub.invalid", settings=on
    ) as client:
        with pytest.raises(sa.ConnectionFailedError):
            await client.lifecycle.get_runtime("acme/demo")
    assert not hub.requests


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy cannot be used: said at once, without its password."""
    monkeypatch.setenv("https_proxy", "socks5://user:hush@proxy.example:1080")
    with pytest.raises(sa.ConfigurationError, match="socks5") as caught:
        sa.SpacesClient(token=False)
    assert "hush" not in str(caught.value)


async def test_many_tokens_of_one_window_do_not_pile_up() -> None:
    """Their quota windows still run; only those that matter, and the last, are kept."""
    clock = ManualClock()
    async with sa.SpacesClient(
        token=False, endpoint="http://127.0.0.1:9", clock=clock
    ) as client:
        shared = client._session.shared

        async def call(name: str, left: int = 999) -> Account:
            account = shared.account(Token(f"hf_{name}"))
            permit = await account.governor.acquire("get_runtime")
            quota = Quota("api", left, 300.0, 1000, 300.0)
            account.governor.observe(permit, quota, good=True)
            account.governor.release(permit)
            return account

        busy = shared.account(Token("hf_busy"))
        permit = await busy.governor.acquire("get_runtime")
        used_up = await call("used_up", left=0)
        writer = await call("writer")
        writer.recent_writes.note(("acme/demo", "K"), clock.monotonic())
        often = await call("often")
        for number in range(10_000):
            await call(f"user_{number}")
            assert await call("often") is often
        assert len(shared.accounts) <= 2 * 2048 + 16
        assert shared.account(Token("hf_user_9999")) is await call("user_9999")
        for name, account in (("busy", busy), ("used_up", used_up), ("writer", writer)):
            assert shared.account(Token(f"hf_{name}")) is account
        busy.governor.release(permit)


async def test_many_tokens_do_not_pile_up(hub: FakeHub) -> None:
    """A backend that serves many users keeps the quotas of the active ones only."""
    clock = ManualClock()
    async with sa.SpacesClient(token=False, endpoint=hub.url, clock=clock) as client:
        for number in range(200):
            view = client.with_token(f"hf_user_{number}")
            with pytest.raises(sa.AuthenticationError):
                await view.lifecycle.get_runtime("acme/demo")
            clock.advance(400.0)
        kept = client._session._shared.accounts
    assert len(kept) <= 65


async def test_a_mirror_is_listed_and_written_to(hub: FakeHub) -> None:
    """Behind a mirror with a path of its own, all pages are read there, and only there."""
    prefix, outside = "/artifactory/hf", "https://huggingface.co"
    async with FakeHub(page_size=2, path_prefix=prefix, link_url=outside) as mirror:
        for number in range(5):
            mirror.add_space(f"acme/s{number}", stage="RUNNING")
        async with sa.SpacesClient(token=mirror.token, endpoint=mirror.url) as client:
            found = [info.id async for info in client.catalog.list_spaces()]
            await client.lifecycle.move("acme/s0", "acme/new")
            await client.config.add_variable("acme/s0", "K", "v")
        assert len(found) == 5
        assert mirror.space("acme/new").variables["K"].value == "v"
