"""pytest plugin: the fixture `fake_hub`.

Once the package is installed, every pytest run loads this plugin, so it imports nothing
heavy before a test asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from spaces_async.testing.hub import FakeHub

__all__ = ["fake_hub"]

_fixture: Callable[[Callable[[], AsyncIterator[FakeHub]]], Any]
try:
    # In strict mode, pytest-asyncio runs only async fixtures that it has marked itself;
    # without it, anyio's plugin runs a plain one.
    import pytest_asyncio
except ImportError:  # pragma: no cover
    _fixture = pytest.fixture
else:
    _fixture = pytest_asyncio.fixture


async def _fake_hub() -> AsyncIterator[FakeHub]:
    """A running FakeHub that is closed after the test."""
    from spaces_async.testing.hub import FakeHub  # noqa: PLC0415 - see above

    async with FakeHub() as hub:
        yield hub


fake_hub = _fixture(_fake_hub)
