"""The package runs in uvloop, which the extra `speed` installs."""

from __future__ import annotations

import asyncio

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub

uvloop = pytest.importorskip("uvloop", reason="it has no wheels for all Pythons")


def test_a_bulk_in_uvloop() -> None:
    """Client and FakeHub need nothing that only asyncio's own event loop has."""

    async def main() -> None:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        async with FakeHub() as hub:
            hub.add_org("acme", members={"tester": "write"})
            for number in range(20):
                hub.add_space(f"acme/s{number}", stage="RUNTIME_ERROR")
            async with sa.SpacesClient(token=hub.token, endpoint=hub.url) as client:
                broken = sa.Selection(author="acme", stages={"RUNTIME_ERROR"})
                report = await client.bulk.restart(broken, concurrency=8)
                assert len(report.outcomes) == 20
                assert report.ok
                lines = client.logs.stream_logs("acme/s0", kind="build", tail=1)
                async with lines as stream:
                    assert (await anext(stream)).text

    with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
