"""A Hub under a manual clock, and plain HTTP clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from spaces_async.testing import FakeHub, ManualClock


@frozen
class Answer:
    status: int
    headers: Any
    text: str
    json: Any


class Api:
    """A client that knows nothing: what it sees is what is on the wire."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        token: str | None = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, path, json=json, data=data, headers=sent, allow_redirects=False
        ) as response:
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            try:
                value = await response.json() if is_json else None
            except ValueError:
                value = None
            return Answer(response.status, response.headers, text, value)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    async with FakeHub(clock=clock) as hub:
        yield hub


@pytest.fixture
async def anonymous(hub: FakeHub) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession(hub.url) as session:
        yield Api(session)


@pytest.fixture
async def api(hub: FakeHub) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(hub.url, headers=headers) as session:
        yield Api(session)


@pytest.fixture
def until() -> Any:
    """Let the loop turn until something is so."""

    async def turn(condition: Any) -> None:
        while not condition():
            await asyncio.sleep(0)

    return turn
