"""A mocked Hub, and clients of it that try once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from spaces_async import ClientSettings, RetryPolicy, SpacesClient
from spaces_async.testing import ManualClock
from tests.support.hub_mock import HUB, TOKEN, HubMock

_ONCE = ClientSettings(retry=RetryPolicy.off())


@pytest.fixture
def mock() -> Iterator[HubMock]:
    """The Hub: nothing reaches the network."""
    with HubMock() as mock:
        yield mock


@pytest.fixture
async def client(mock: HubMock) -> AsyncIterator[SpacesClient]:
    """A client that sends each call once."""
    async with SpacesClient(token=TOKEN, endpoint=HUB, settings=_ONCE) as client:
        yield client


@pytest.fixture
async def anonymous(mock: HubMock) -> AsyncIterator[SpacesClient]:
    """The same without a token."""
    async with SpacesClient(token=False, endpoint=HUB, settings=_ONCE) as client:
        yield client


@pytest.fixture
async def timed(mock: HubMock, clock: ManualClock) -> AsyncIterator[SpacesClient]:
    """A client that sends each call once, under the jumping clock."""
    async with SpacesClient(
        token=TOKEN, endpoint=HUB, settings=_ONCE, clock=clock
    ) as client:
        yield client


@pytest.fixture
async def persistent(mock: HubMock, clock: ManualClock) -> AsyncIterator[SpacesClient]:
    """A client that tries again, under the jumping clock."""
    async with SpacesClient(token=TOKEN, endpoint=HUB, clock=clock) as client:
        yield client
