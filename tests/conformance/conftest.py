"""Both clients in front of a server that records."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.recorder import Pair, recording


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    async with recording() as pair:
        yield pair
