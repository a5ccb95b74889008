"""The places for requests in flight: who gets one, and when."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._core.connections import Places

STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "bulk", "end", "cancel"]), st.integers(0, 9)),
    max_size=40,
)


class Crowd:
    """Calls that take a place, hold it, and end or are cancelled."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.came: list[tuple[asyncio.Task[None], bool]] = []
        self.holding: list[asyncio.Task[None]] = []
        self.order: dict[bool, list[int]] = {False: [], True: []}

    async def call(self, number: int, background: bool) -> None:
        await self.places.take(background=background)
        task = asyncio.current_task()
        assert task is not None
        self.holding.append(task)
        self.order[background].append(number)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.holding.remove(task)
            self.places.give_back(background=background)

    def come(self, background: bool) -> None:
        task = asyncio.ensure_future(self.call(len(self.came), background))
        self.came.append((task, background))

    @property
    def waiting(self) -> list[bool]:
        """The kinds of the calls that have no place yet."""
        return [
            background
            for task, background in self.came
            if not task.done() and task not in self.holding
        ]


@given(total=st.integers(1, 4), reserve=st.sampled_from([0.0, 0.25, 0.5]), steps=STEPS)
def test_no_call_waits_that_could_have_a_place(
    total: int, reserve: float, steps: list[tuple[str, int]]
) -> None:
    """However calls come, end and are cancelled: all places are used, in order, no more."""

    async def scene() -> None:
        places = Places(total, reserve=reserve)
        most_of_bulk = max(1, total - math.ceil(reserve * total))
        crowd = Crowd(places)
        for what, number in steps:
            if what in {"call", "bulk"}:
                crowd.come(what == "bulk")
            else:
                running = [task for task, _ in crowd.came if not task.done()]
                chosen = crowd.holding if what == "end" else running
                if chosen:
                    chosen[number % len(chosen)].cancel()
            if number % 2:
                # Else several things happen at the same instant.
                await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        kinds = dict(crowd.came)
        bulk = sum(kinds[task] for task in crowd.holding)
        assert places.in_use == len(crowd.holding) <= total
        assert bulk <= most_of_bulk
        if places.in_use < total:
            assert not any(not kind for kind in crowd.waiting)
            assert not (any(crowd.waiting) and bulk < most_of_bulk)
        assert all(order == sorted(order) for order in crowd.order.values())
        for task, _ in crowd.came:
            task.cancel()
        if crowd.came:
            await asyncio.wait([task for task, _ in crowd.came])
        assert places.in_use == 0
        assert places.try_take(background=True)

    asyncio.run(scene())


async def test_with_one_place_both_kinds_take_turns() -> None:
    """Bulk work that came first goes first, even before a call of another kind."""
    places = Places(1, reserve=0.5)
    crowd = Crowd(places)
    for background in (False, True, False, True):
        crowd.come(background)
        await asyncio.sleep(0)
    got: list[bool] = []
    kinds = dict(crowd.came)
    while crowd.holding:
        got.append(kinds[crowd.holding[0]])
        crowd.holding[0].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
    assert got == [False, True, False, True]
    with pytest.raises(asyncio.CancelledError):
        await crowd.came[0][0]
