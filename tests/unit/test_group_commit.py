"""What becomes ready while an exchange is under way goes together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from spaces_async.bulk._store.group_commit import GroupCommit


class Exchanges:
    """Exchanges that last until the test ends them.

    Attributes:
        groups: The records of each.
    """

    def __init__(self, most: int = 100) -> None:
        self.groups: list[list[str]] = []
        self._ends: list[asyncio.Future[None]] = []
        self.commit: GroupCommit[str, str] = GroupCommit(self._exchange, most=most)

    async def _exchange(self, records: Sequence[str]) -> list[str]:
        self.groups.append(list(records))
        self._ends.append(asyncio.get_running_loop().create_future())
        await self._ends[-1]
        return [record.upper() for record in records]

    def ask(self, *records: str) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.commit.ask(record)) for record in records]

    async def end(self, error: Exception | None = None) -> None:
        """End the exchange that is under way."""
        if error is None:
            self._ends[-1].set_result(None)
        else:
            self._ends[-1].set_exception(error)
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_record_goes_at_once() -> None:
    """Nothing is waited for on purpose."""
    exchanges = Exchanges()
    (one,) = exchanges.ask("a")
    await turns()
    assert exchanges.groups == [["a"]]
    await exchanges.end()
    assert await one == "A"


async def test_what_becomes_ready_meanwhile_goes_together() -> None:
    """There is one exchange at a time, and each record gets its own answer."""
    exchanges = Exchanges(most=3)
    first = exchanges.ask("a")
    await turns()
    later = exchanges.ask("b", "c", "d", "e")
    await turns()
    assert exchanges.groups == [["a"]]
    await exchanges.end()
    assert exchanges.groups == [["a"], ["b", "c", "d"]]
    assert [task.done() for task in [*first, *later]] == [True, *[False] * 4]
    await exchanges.end()
    await exchanges.end()
    assert exchanges.groups[2:] == [["e"]]
    assert [await task for task in [*first, *later]] == ["A", "B", "C", "D", "E"]


async def test_a_cancelled_record_disturbs_no_other() -> None:
    """It does not go if it has not gone yet, and the others get their answers."""
    exchanges = Exchanges()
    a, b = exchanges.ask("a", "b")
    await turns()
    c, d = exchanges.ask("c", "d")
    await turns()
    for task in (a, c):
        task.cancel()
    await exchanges.end()
    assert exchanges.groups == [["a", "b"], ["d"]]
    await exchanges.end()
    assert (await b, await d) == ("B", "D")
    assert a.cancelled()
    assert c.cancelled()


async def test_a_failure_is_told_to_those_of_its_exchange() -> None:
    """The others go on with the next one."""
    exchanges = Exchanges()
    failed = exchanges.ask("a", "b")
    await turns()
    (other,) = exchanges.ask("c")
    await turns()
    await exchanges.end(ValueError("away"))
    for task in failed:
        with pytest.raises(ValueError, match="away"):
            await task
    await exchanges.end()
    assert await other == "C"


async def test_closing_waits_for_the_exchange() -> None:
    """Also where nobody waits for its answers any more."""
    exchanges = Exchanges()
    (one,) = exchanges.ask("a")
    await turns()
    one.cancel()
    closing = asyncio.create_task(exchanges.commit.aclose())
    await turns()
    assert not closing.done()
    await exchanges.end()
    assert closing.done()


async def test_one_that_is_cancelled_before_its_first_turn() -> None:
    """Who ends all tasks of a loop does not block what is asked later."""
    exchanges = Exchanges()
    (first,) = exchanges.ask("a")
    await asyncio.sleep(0)  # It has made the task that makes the exchange.
    for task in asyncio.all_tasks() - {asyncio.current_task(), first}:
        task.cancel()
    await turns()
    (second,) = exchanges.ask("b")
    await turns()
    await exchanges.end()
    assert await first == "A"
    assert await second == "B"


async def test_nobody_waits_for_an_exchange_that_will_not_come() -> None:
    """The end of the event loop cancels the exchange, and all who wait for the next."""
    exchanges = Exchanges()
    (one,) = exchanges.ask("a")
    await turns()
    (two,) = exchanges.ask("b")
    await turns()
    for task in asyncio.all_tasks() - {asyncio.current_task(), one, two}:
        task.cancel()
    await asyncio.wait((one, two))
    assert one.cancelled()
    assert two.cancelled()
    assert exchanges.groups == [["a"]]
