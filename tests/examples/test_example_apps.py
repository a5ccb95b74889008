"""The web services of `examples/`, on real sockets: both keep the same promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import uvicorn
from aiohttp import web
from attrs import frozen

from spaces_async.testing import FakeHub, Fault, ManualClock
from tests.support.programs import load_example

AUTH = "Authorization"
TOKEN = "hf_test_token"


@asynccontextmanager
async def serve_fastapi(endpoint: str, **options: Any) -> AsyncIterator[str]:
    """Run the FastAPI example under uvicorn."""
    app = load_example("fastapi_app").create_app(endpoint, **options)
    config = uvicorn.Config(app, port=0, lifespan="on", ws="none", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started and not task.done():
                await asyncio.sleep(0)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def serve_aiohttp(
    endpoint: str, *, handler_cancellation: bool = True, **options: Any
) -> AsyncIterator[str]:
    """Run the aiohttp example as its `__main__` does."""
    app = load_example("aiohttp_app").create_app(endpoint, **options)
    runner = web.AppRunner(app, handler_cancellation=handler_cancellation)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(params=[serve_fastapi, serve_aiohttp], ids=["fastapi", "aiohttp"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Start one of the two services."""
    started: Serve = request.param
    return started


@frozen
class Answer:
    """A whole answer of the service."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Caller:
    """Somebody with a token who calls the service."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(
        self, method: str, path: str, *, token: str | None = TOKEN
    ) -> Answer:
        headers = {} if token is None else {AUTH: f"Bearer {token}"}
        async with self.session.request(method, path, headers=headers) as response:
            return Answer(response.status, response.headers, await response.text())

    def open(self, path: str, token: str = TOKEN) -> Any:
        return self.session.post(path, headers={AUTH: f"Bearer {token}"})


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(url) as session:
        yield Caller(session)


@pytest_asyncio.fixture
async def caller(serve: Serve, fake_hub: FakeHub) -> AsyncIterator[Caller]:
    async with serve(fake_hub.url) as url, calling(url) as caller:
        yield caller


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Read one server-sent event."""
    block = (await response.content.readuntil(b"\n\n")).decode()
    name, data = block.rstrip("\n").split("\n")
    assert name.startswith("event: ")
    assert data.startswith("data: ")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def add_failed(hub: FakeHub, count: int) -> None:
    for number in range(count):
        hub.add_space(f"acme/s{number:03d}", stage="RUNTIME_ERROR")


# One Space ---------------------------------------------------------------------------


async def test_a_space_is_shown_and_restarted(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """A read and a restart answer with the runtime as the Hub has it."""
    space = fake_hub.add_space("acme/demo", stage="PAUSED", hardware="t4-small")
    shown = await caller("GET", "/spaces/acme/demo")
    assert shown.status == 200
    assert shown.json["repo_id"] == "acme/demo"
    assert shown.json["stage"] == "PAUSED"
    restarted = await caller("POST", "/spaces/acme/demo/restart")
    assert restarted.status == 200
    assert restarted.json["stage"] == "BUILDING"
    assert space.restarts == 1


async def test_each_caller_acts_as_themselves(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """Two callers at once: the Hub sees each one's token, and rights differ."""
    fake_hub.add_user("guest", token="hf_guest")
    fake_hub.add_space("acme/demo")
    mine, theirs = [
        asyncio.create_task(caller("POST", "/spaces/acme/demo/restart", token=token))
        for token in (fake_hub.token, "hf_guest")
    ]
    assert (await mine).status == 200
    assert (await theirs).status == 403
    assert {request.token for request in fake_hub.requests} == {
        fake_hub.token,
        "hf_guest",
    }


async def test_one_client_serves_all_requests(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """Callers one after the other share a connection to the Hub."""
    fake_hub.add_space("acme/demo")
    fake_hub.add_user("guest", token="hf_guest")
    for token in (fake_hub.token, "hf_guest", fake_hub.token):
        answer = await caller("GET", "/spaces/acme/demo", token=token)
        assert answer.status == 200
    assert fake_hub.connections == 1


async def test_a_request_without_a_token_goes_nowhere(
    fake_hub: FakeHub,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused with 401, even where the service's environment has a token."""
    monkeypatch.setenv("HF_TOKEN", fake_hub.token)
    fake_hub.add_space("acme/demo")
    async with serve(fake_hub.url) as url, calling(url) as caller:
        answer = await caller("POST", "/spaces/acme/demo/restart", token=None)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        basic = {AUTH: "Basic aGY6eA=="}
        async with caller.session.get("/spaces/acme/demo", headers=basic) as other:
            assert other.status == 401
    assert fake_hub.requests == []


@pytest.mark.parametrize("path", ["/spaces/acme/demo", "/orgs/acme/restart"])
@pytest.mark.parametrize("token", ["hf_se cret", "hf_sécret", "hf_" + "secret" * 900])
async def test_a_malformed_token_is_not_echoed(
    fake_hub: FakeHub,
    caller: Caller,
    caplog: pytest.LogCaptureFixture,
    token: str,
    path: str,
) -> None:
    """It is refused before anything is sent; no part of it is answered or logged."""
    method = "POST" if path.startswith("/orgs") else "GET"
    answer = await caller(method, path, token=token)
    assert answer.status in {400, 401}
    assert fake_hub.requests == []
    everything = f"{answer.text} {answer.headers} {caplog.text}"
    assert "cret" not in everything


# Errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault.status(400, message="No."), 400, "BadRequestError"),
        (Fault.status(401, message="No."), 401, "AuthenticationError"),
        (Fault.status(402, message="No."), 402, "PaymentRequiredError"),
        (Fault.status(403, message="No."), 403, "PermissionDeniedError"),
        (Fault.status(404, message="No."), 404, "SpaceNotFoundError"),
        (Fault.status(409, message="No."), 409, "ConflictError"),
        (Fault.status(500, message="No."), 502, "HubServerError"),
        (Fault.status(504, message="No."), 502, "HubServerError"),
    ],
)
async def test_errors_of_the_hub_have_their_status(
    fake_hub: FakeHub, caller: Caller, fault: Fault, status: int, kind: str
) -> None:
    """The body has the Hub's message and request id, and never the token."""
    fake_hub.add_space("acme/demo", stage="PAUSED")
    fake_hub.faults("POST /restart", fault, times=None)
    answer = await caller("POST", "/spaces/acme/demo/restart")
    assert (answer.status, answer.json["error"]) == (status, kind)
    assert "No." in answer.json["message"]
    assert answer.json["request_id"]
    assert answer.json["request_id"] in answer.json["message"]
    assert fake_hub.token not in f"{answer.text} {answer.headers}"


async def test_a_space_that_is_not_there(caller: Caller) -> None:
    """A 404 of the Hub is a 404 of the service."""
    answer = await caller("GET", "/spaces/acme/nothing")
    assert (answer.status, answer.json["error"]) == (404, "SpaceNotFoundError")


async def test_a_bad_id_is_the_callers_fault(fake_hub: FakeHub, caller: Caller) -> None:
    """What cannot be an id is a 400, and the Hub is not asked."""
    for method, path in (
        ("GET", "/spaces/acme/-%20-"),
        ("POST", "/orgs/a..b%20c/restart"),
    ):
        answer = await caller(method, path)
        assert (answer.status, answer.json["error"]) == (400, "ConfigurationError")
    assert fake_hub.requests == []


async def test_a_used_up_quota_is_429_with_retry_after(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """The caller learns at once when to come again, instead of being kept waiting."""
    fake_hub.add_space("acme/demo")
    fake_hub.spend(1000)
    for _ in range(2):
        for method, path in (
            ("GET", "/spaces/acme/demo"),
            ("POST", "/orgs/acme/restart"),
        ):
            answer = await caller(method, path)
            assert (answer.status, answer.json["error"]) == (429, "RateLimitError")
            assert 290 <= int(answer.headers["Retry-After"]) <= 310
    # The first answer has told all about it: nothing more was sent.
    assert len(fake_hub.requests) == 1


async def test_a_hub_that_is_down_is_502(fake_hub: FakeHub, serve: Serve) -> None:
    """No connection to the Hub is the gateway's problem, and told within the limit."""
    async with serve(fake_hub.url, time_limit=1.0) as url, calling(url) as caller:
        await fake_hub.aclose()
        answer = await caller("GET", "/spaces/acme/demo")
        assert (answer.status, answer.json["error"]) == (502, "ConnectionFailedError")
        assert not answer.json["outcome_unknown"]


async def test_a_hub_that_does_not_answer_is_504(
    fake_hub: FakeHub, serve: Serve
) -> None:
    """The time limit of a request ends it, and says that the outcome is unknown."""
    fake_hub.add_space("acme/demo")
    fake_hub.faults("*", Fault.hang(), times=None)
    async with serve(fake_hub.url, time_limit=1.5) as url, calling(url) as caller:
        read = await caller("GET", "/spaces/acme/demo")
        assert (read.status, read.json["error"]) == (504, "RequestTimeoutError")
        assert not read.json["outcome_unknown"]
        write = await caller("POST", "/spaces/acme/demo/restart")
        assert write.status == 504
        assert write.json["outcome_unknown"]
        await until(lambda: fake_hub.in_flight == 0)


# A whole org -------------------------------------------------------------------------


async def test_an_org_is_restarted_and_its_outcomes_streamed(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """One event for each failed Space, good or bad, and the report as the last one."""
    add_failed(fake_hub, 5)
    fake_hub.add_space("acme/good")
    fake_hub.faults("POST /restart", Fault.status(403), repo_id="acme/s003")
    async with caller.open("/orgs/acme/restart?stage=failed") as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        events = [await next_event(response) for _ in range(6)]
        assert await response.content.read() == b""
    assert [name for name, _ in events] == ["outcome"] * 5 + ["report"]
    outcomes = {data["repo_id"]: data for _, data in events[:-1]}
    assert set(outcomes) == {f"acme/s{number:03d}" for number in range(5)}
    assert outcomes["acme/s003"]["status"] == "failed"
    assert outcomes["acme/s003"]["error_type"] == "PermissionDeniedError"
    assert outcomes["acme/s000"]["status"] == "done"
    report = events[-1][1]
    assert (report["operation"], report["stopped_by"]) == ("restart", None)
    assert (report["counts"]["done"], report["counts"]["failed"]) == (4, 1)
    assert fake_hub.space("acme/good").restarts == 0


async def test_outcomes_come_as_they_finish(fake_hub: FakeHub, caller: Caller) -> None:
    """The first ones are there while the Hub still works on the others."""
    add_failed(fake_hub, 3)
    fake_hub.faults("POST /restart", Fault.hang(), repo_id="acme/s000")
    async with caller.open("/orgs/acme/restart") as response:
        first = {(await next_event(response))[1]["repo_id"] for _ in range(2)}
        assert first == {"acme/s001", "acme/s002"}
        assert fake_hub.in_flight == 1


@pytest.mark.parametrize(
    ("stage", "repo_id"),
    [("paused", "acme/paused"), ("sleeping", "acme/sleeping")],
)
async def test_the_stage_is_a_choice(
    fake_hub: FakeHub, caller: Caller, stage: str, repo_id: str
) -> None:
    """Only Spaces in the stage that was asked for are restarted."""
    add_failed(fake_hub, 1)
    fake_hub.add_space("acme/paused", stage="PAUSED")
    fake_hub.add_space("acme/sleeping", stage="SLEEPING")
    answer = await caller("POST", f"/orgs/acme/restart?stage={stage}")
    assert answer.text.count("event: outcome") == 1
    restarted = [i for i, space in fake_hub.spaces.items() if space.restarts]
    assert restarted == [repo_id]


async def test_an_unknown_stage_is_refused(fake_hub: FakeHub, caller: Caller) -> None:
    """A typo selects nothing and is told; the Hub is not asked."""
    answer = await caller("POST", "/orgs/acme/restart?stage=faild")
    assert answer.status in {400, 422}
    assert "failed" in answer.text
    assert fake_hub.requests == []


async def test_a_listing_that_fails_has_a_status(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """What goes wrong before the first outcome is no stream but an error."""
    answer = await caller("POST", "/orgs/acme/restart", token="hf_wrong")
    assert (answer.status, answer.json["error"]) == (401, "AuthenticationError")
    assert "hf_wrong" not in answer.text
    assert fake_hub.count("POST") == 0


async def test_a_bulk_has_a_time_limit(fake_hub: FakeHub, serve: Serve) -> None:
    """At its end the stream ends in good order, with what became of every Space."""
    add_failed(fake_hub, 40)
    fake_hub.faults("POST /restart", Fault.hang(), after=2, times=None)
    async with serve(fake_hub.url, bulk_time_limit=1.5) as url, calling(url) as caller:
        answer = await caller("POST", "/orgs/acme/restart")
        assert answer.text.count("event: outcome") == 40
        name, _, data = answer.text.rstrip().rpartition("\n\n")[2].partition("\n")
        assert name == "event: report"
        report = json.loads(data.removeprefix("data: "))
        assert report["stopped_by"] == "deadline"
        assert report["counts"]["done"] == 2
        assert report["counts"]["not_attempted"] >= 20
        await until(lambda: fake_hub.in_flight == 0)


async def test_a_caller_who_goes_away_stops_the_bulk(
    fake_hub: FakeHub, caller: Caller
) -> None:
    """After a disconnect no call to the Hub goes on and no other one starts."""
    add_failed(fake_hub, 300)
    fake_hub.faults("POST /restart", Fault.hang(), after=5, times=None)
    async with caller.open("/orgs/acme/restart?stage=failed") as response:
        for _ in range(3):
            name, data = await next_event(response)
            assert (name, data["status"]) == ("outcome", "done")
        await until(lambda: fake_hub.count("POST") == 21)
        response.close()
    # Calls that hang end only when somebody ends them: here, long before any limit.
    await until(lambda: fake_hub.in_flight == 0)
    fake_hub.clear_faults()
    # Whoever were still at work would now get through, before this call's answer.
    assert (await caller("GET", "/spaces/acme/s299")).status == 200
    assert fake_hub.count("POST") == 21
    assert sum(space.restarts for space in fake_hub.spaces.values()) == 5


async def test_aiohttp_without_handler_cancellation_stops_with_the_next_outcome() -> (
    None
):
    """Where a server does not cancel handlers, the write to nobody ends the bulk."""
    clock = ManualClock()
    async with FakeHub(clock=clock) as hub:
        add_failed(hub, 300)
        hub.faults("POST /restart", Fault.delay(1.0), after=3, times=None)
        async with (
            serve_aiohttp(hub.url, handler_cancellation=False) as url,
            calling(url) as caller,
        ):
            async with caller.open("/orgs/acme/restart") as response:
                await next_event(response)
                await until(lambda: hub.count("POST") == 19)
                response.close()
            clock.advance(1.0)
            await until(lambda: hub.in_flight == 0)
            assert (await caller("GET", "/spaces/acme/s299")).status == 200
            assert hub.count("POST") <= 19 + 16


async def test_a_shutdown_leaves_nothing(fake_hub: FakeHub, serve: Serve) -> None:
    """When the service ends, its connections to the Hub are closed."""
    fake_hub.add_space("acme/demo")
    async with serve(fake_hub.url) as url, calling(url) as caller:
        assert (await caller("GET", "/spaces/acme/demo")).status == 200
        assert fake_hub.connections == 1
    await until(lambda: fake_hub.connections == 0)


async def test_the_environment_says_where_the_hub_is(
    fake_hub: FakeHub, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument, `HF_ENDPOINT` is taken, as the docstrings promise."""
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url)
    fake_hub.add_space("acme/demo")
    async with serve(None) as url, calling(url) as caller:
        assert (await caller("GET", "/spaces/acme/demo")).status == 200
