"""The governor against a Hub that it cannot see into, whatever responses say (#42).

Requests and responses overtake each other, others use the same token, windows end while
requests are in flight, and some machines of the Hub do not know of the latest calls of
others.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from typing import Final

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from spaces_async._quota.governor import Governor, Permit
from spaces_async._wire.ratelimit import Quota
from spaces_async.testing import ManualClock

WINDOW: Final = 30.0
SLOWEST: Final = 0.9
"""Seconds that a call takes at most; if a probe takes 1 s, another one goes out."""
TURNS: Final = 12


@define
class Use:
    """What was used of one true window.

    Attributes:
        ours: Calls of ours that came in it.
        others: Calls of others.
        heard: The number of our newest request whose response was delivered.
        told: Calls of others that this response includes.
    """

    ours: int = 0
    others: int = 0
    heard: int = 0
    told: int = 0


@define
class Reply:
    """A response on its way back."""

    window: int
    number: int
    told: int
    quota: Quota
    refused: bool


@define(eq=False)
class Message:
    """A request in flight, from its permit until its response is delivered.

    Attributes:
        permit: The permit.
        sent: When it was issued.
        window: In which window that was.
        told: Calls of others in it that we had heard of then.
        reply: The response, once the Hub has made it.
    """

    permit: Permit
    sent: float
    window: int
    told: int
    reply: Reply | None = None


@define(eq=False)
class Hub:
    """The truth: fixed windows, some machines, and others who use the token.

    Attributes:
        quota: Calls in a window.
        phase: How far the first window has come already.
        ceil: Whether `t` is rounded up; else down.
        windows: What was used of each window.
    """

    quota: int
    phase: float
    ceil: bool
    windows: dict[int, Use] = field(factory=dict[int, Use])

    def window(self, now: float) -> int:
        return int((now + self.phase) // WINDOW)

    def use(self, now: float) -> Use:
        return self.windows.setdefault(self.window(now), Use())

    def respond(self, now: float, hidden: int) -> Reply:
        """Count a request; its response may leave out some calls of others."""
        use = self.use(now)
        refused = use.ours + use.others >= self.quota
        use.ours += 1
        told = max(0, use.others - hidden)
        left = WINDOW - (now + self.phase) % WINDOW
        reset = math.ceil(left) if self.ceil else math.floor(left)
        remaining = 0 if refused else max(0, self.quota - use.ours - told)
        quota = Quota("api", remaining, float(reset), self.quota, WINDOW)
        return Reply(self.window(now), use.ours, told, quota, refused)

    def delivered(self, reply: Reply) -> None:
        use = self.windows[reply.window]
        if reply.number >= use.heard:
            use.heard, use.told = reply.number, reply.told


class Machine(RuleBasedStateMachine):
    """Callers, the network and the Hub take turns as hypothesis likes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(debug=False)
        self.clock = ManualClock()
        self.waiting: set[asyncio.Task[None]] = set()
        self.under_way: list[Message] = []
        self.most_hidden = 0
        self.hub = Hub(1, 0.0, ceil=True)
        self.governor = Governor(self.clock)

    @initialize(
        quota=st.integers(1, 12),
        phase=st.floats(0, WINDOW - 0.01),
        ceil=st.booleans(),
        most_hidden=st.integers(0, 2),
        seed=st.integers(0, 3),
    )
    def begin(
        self, *, quota: int, phase: float, ceil: bool, most_hidden: int, seed: int
    ) -> None:
        self.hub = Hub(quota, phase, ceil)
        self.most_hidden = most_hidden
        rng = random.Random(seed)  # noqa: S311  (it has to repeat)
        self.governor = Governor(self.clock, rng=rng)

    def settle(self) -> None:
        """Let every call go on that can."""

        async def turns() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.runner.run(turns())

    async def call(self) -> None:
        permit = await self.governor.acquire("restart")
        now = self.clock.monotonic()
        window, told = self.hub.window(now), self.hub.use(now).told
        self.under_way.append(Message(permit, now, window, told))

    @rule(count=st.integers(1, 15))
    def want(self, count: int) -> None:
        room = 2 * self.hub.quota + 3 - len(self.waiting)

        async def start() -> None:
            for _ in range(min(count, room)):
                self.waiting.add(asyncio.create_task(self.call()))

        self.runner.run(start())
        self.settle()

    @rule(which=st.integers(0, 50))
    def give_up(self, which: int) -> None:
        """A waiting call is cancelled; it must not take a place with it."""
        waiting = [task for task in self.waiting if not task.done()]
        if waiting:
            waiting[which % len(waiting)].cancel()
            self.settle()

    @rule(which=st.integers(0, 50), hidden=st.integers(0, 2))
    def arrive(self, which: int, hidden: int) -> None:
        """One of the requests in flight reaches the Hub."""
        coming = [m for m in self.under_way if m.reply is None]
        if coming:
            self.reach(coming[which % len(coming)], hidden)

    def reach(self, message: Message, hidden: int) -> None:
        now = self.clock.monotonic()
        message.reply = self.hub.respond(now, min(hidden, self.most_hidden))
        use = self.hub.use(now)
        known = message.told if message.window == self.hub.window(now) else 0
        most = self.hub.quota - known + self.most_hidden
        assert use.ours <= most, f"{use} of {self.hub.quota}"

    @rule(which=st.integers(0, 50))
    def deliver(self, which: int) -> None:
        """One of the responses arrives, in any order."""
        done = [m for m in self.under_way if m.reply is not None]
        if done:
            self.give(done[which % len(done)])

    def give(self, message: Message) -> None:
        reply = message.reply
        assert reply is not None
        self.under_way.remove(message)
        self.hub.delivered(reply)
        if reply.refused:
            self.governor.refused(message.permit, reply.quota, wait=None)
        else:
            self.governor.observe(message.permit, reply.quota, good=True)
        self.governor.release(message.permit)
        self.settle()

    @rule(count=st.integers(1, 3))
    def foreign(self, count: int) -> None:
        """Others use the token, as far as there is something left for them."""
        use = self.hub.use(self.clock.monotonic())
        use.others += min(count, max(0, self.hub.quota - use.ours - use.others))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0, WINDOW / 2, WINDOW]))
    def later(self, seconds: float) -> None:
        """Time goes by; calls that would take too long come to their end before."""
        end = self.clock.monotonic() + seconds
        while (now := self.clock.monotonic()) < end:
            late = [m for m in self.under_way if m.sent + SLOWEST <= now]
            for message in late:
                if message.reply is None:
                    self.reach(message, self.most_hidden)
                self.give(message)
            # Timer by timer, so that each call that is woken sends at its time.
            soonest = [m.sent + SLOWEST for m in self.under_way]
            soonest += [due for due, _, _ in self.clock._sleepers[:1]]
            self.clock.advance(max(1e-6, min([*soonest, end]) - now))
            self.settle()

    @invariant()
    def no_call_failed(self) -> None:
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.discard(task)
            if not task.cancelled():
                task.result()

    def teardown(self) -> None:
        """No call is stuck: without other programs, all of them end in good time."""
        try:
            windows = 3 + (len(self.waiting) + len(self.under_way)) / self.hub.quota
            end = self.clock.monotonic() + windows * (WINDOW + 3.0)
            while self.waiting and self.clock.monotonic() < end:
                self.later(1.0)
                self.no_call_failed()
            assert not self.waiting, f"{len(self.waiting)} are stuck"
        finally:
            for task in self.waiting:
                task.cancel()
            self.settle()
            with contextlib.suppress(asyncio.CancelledError):
                self.runner.close()


def test_whatever_the_responses_say() -> None:
    """No window is overdrawn by more than the calls that no response could include.

    With K programs that have one request in flight each, these are at most the K - 1
    calls of the others. Alone, not one request too many is sent. No call is stuck.
    """
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=80, stateful_step_count=40, deadline=None),
    )
