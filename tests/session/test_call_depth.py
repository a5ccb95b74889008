"""How deep a call goes: what a traceback, a profile or a debugger shows of the package."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub

PACKAGE = str(Path(sa.__file__).parent)

CALL = ["send", "_run", "run", "_attempt", "_send", "exchange", "_transfer"]
"""From the session to aiohttp, outermost first."""


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keep our part of the stack of each request, outermost first, where aiohttp starts."""
    seen: list[list[str]] = []
    original = aiohttp.ClientSession._request

    async def request(*args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        frames = [
            frame.f_code.co_name
            for frame, _ in traceback.walk_stack(inspect.currentframe())
            if frame.f_code.co_filename.startswith(PACKAGE)
        ]
        seen.append(frames[::-1])
        return await original(*args, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
    return seen


async def test_a_call_is_at_most_eight_frames_deep(
    hub: FakeHub, stacks: list[list[str]]
) -> None:
    """From the resource method to aiohttp, a successful call has 8 frames of ours."""
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        await client.lifecycle.restart("acme/demo")
    assert stacks == [["restart", *CALL]]
    assert len(stacks[0]) <= 8


async def test_a_stream_is_opened_as_a_call_is_made(
    hub: FakeHub, stacks: list[list[str]]
) -> None:
    """The opening of a stream takes the path of every other call."""
    async with (
        sa.SpacesClient(token=hub.token, endpoint=hub.url) as client,
        client.logs.stream_logs("acme/demo", follow=False) as lines,
    ):
        async for _ in lines:
            break
    assert [stack[-6:] for stack in stacks] == [CALL[1:]]


async def test_a_bulk_is_not_deeper_with_each_space(
    hub: FakeHub, stacks: list[list[str]]
) -> None:
    """A worker's call is as deep for its last Space as for its first: 15 frames at most."""
    ids = [f"acme/s{number}" for number in range(40)]
    for repo_id in ids:
        hub.add_space(repo_id)
    async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
        report = await client.bulk.restart(ids, concurrency=2)
    assert report.ok
    assert len(stacks) == len(ids)
    assert all(stack == stacks[0] for stack in stacks)
    assert stacks[0][-len(CALL) :] == CALL
    assert len(stacks[0]) <= 15
