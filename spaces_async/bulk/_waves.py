"""How a bulk proceeds in waves: which Space may be started, and when it halts. Pure.

An entry of `waves` says how many Spaces in all have been started by the end of that wave:
a number, or a share of all that is rounded up. The next wave begins when each Space of
the wave has ended, its health included, and none of them badly.

Worked example: 11 Spaces in waves of [1, 5, "20%", "100%"]. "20%" are 3, which adds
nothing to the 5 before, so it is passed over: 1, then 4 more, then the other 6. If the
first one is not healthy, the other 10 are not attempted. With `max_failures=3` the waves
go on as long as fewer than 3 have failed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from spaces_async import _validate
from spaces_async.bulk._amount import Amount
from spaces_async.bulk.report import Wave
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Pacing", "Rollout", "boundaries"]

_ALL: Final = Amount.parse("100%", "waves")
_COMPARED: Final = 10**9
"""Of so many Spaces, any two shares that can be written are different numbers."""


@frozen(kw_only=True)
class Pacing:
    """How a bulk is asked to proceed.

    Attributes:
        waves: By the end of each wave so many Spaces have been started.
        max_unavailable: Spaces that may be on their way to health at the same time;
            None is no limit.
        pause_between: Seconds between the end of a wave and the next one.
        max_failures: After so many failures nothing more is started; None is no limit,
            but with waves the first failure halts.
    """

    waves: tuple[Amount, ...] = ()
    max_unavailable: Amount | None = None
    pause_between: float = 0.0
    max_failures: Amount | None = None

    @classmethod
    def make(
        cls,
        *,
        waves: Iterable[int | str] | None = None,
        max_unavailable: int | str | None = None,
        pause_between: float = 0.0,
        max_failures: int | str | None = None,
    ) -> Pacing:
        """Check what was passed.

        Raises:
            ConfigurationError: Something of it makes no sense.
        """
        if isinstance(waves, int | str):
            raise ConfigurationError(
                f"waves must be a list, such as [1, 5, '20%', '100%'], not {waves!r}"
            )
        amounts = (
            () if waves is None else tuple(Amount.parse(w, "waves") for w in waves)
        )
        if waves is not None and not amounts:
            raise ConfigurationError("waves is empty: name at least one")
        _require_rise(amounts)
        _validate.seconds(pause_between, "pause_between")
        if pause_between and len(amounts) < 1:
            raise ConfigurationError(
                "pause_between is the pause between waves: add waves"
            )
        return cls(
            waves=amounts,
            max_unavailable=(
                None
                if max_unavailable is None
                else Amount.parse(max_unavailable, "max_unavailable")
            ),
            pause_between=float(pause_between),
            max_failures=(
                None
                if max_failures is None
                else Amount.parse(max_failures, "max_failures")
            ),
        )

    @property
    def needs_total(self) -> bool:
        """Whether the targets have to be read to their end first."""
        failures = self.max_failures
        is_share = failures is not None and failures.share is not None
        return bool(self.waves) or self.max_unavailable is not None or is_share

    @property
    def most_failures(self) -> int | None:
        """`max_failures`, if it is a number; None if it is a share, or no limit."""
        return None if self.max_failures is None else self.max_failures.count


def _require_rise(waves: Sequence[Amount]) -> None:
    """Refuse waves of which one certainly adds nothing to those before.

    A number and a share are not compared: that needs the total.
    """
    for kind in ([a for a in waves if a.share is None], [a for a in waves if a.share]):
        for before, after in pairwise(kind):
            if after.of(_COMPARED) <= before.of(_COMPARED):
                raise ConfigurationError(
                    "each wave must be larger than the one before, as it counts all"
                    f" Spaces that have been started by its end: {after} comes after"
                    f" {before}"
                )


def boundaries(waves: Sequence[Amount], total: int) -> tuple[int, ...]:
    """Return how many Spaces have been started by the end of each wave.

    The last one is always `total`: no Space is left behind.
    """
    found: list[int] = []
    for amount in (*waves, _ALL):
        end = min(amount.of(total), total)
        if end > (found[-1] if found else 0):
            found.append(end)
    return tuple(found)


@define
class Rollout:
    """Where a bulk is in its waves.

    Attributes:
        total: How many Spaces something may be sent to.
        ends: How many have been started by the end of each wave.
        has_waves: Whether a wave that is not healthy halts the rest.
        max_unavailable: Spaces that may be on their way at the same time; None is no
            limit.
        max_failures: As in `Pacing`, as a number.
        pause_between: As in `Pacing`.
        wave: The index of the wave that runs now.
        started: Spaces that have been started.
        finished: Spaces that have ended.
        troubled: Spaces of these that failed, are unknown or are not healthy.
        held: Whether no further wave begins.
        begins: When the next wave may begin; None while one runs.
        origin: When the bulk began.
        waves: What is told of each wave; empty if `has_waves` is False.
    """

    total: int
    ends: tuple[int, ...]
    has_waves: bool
    max_unavailable: int | None
    max_failures: int | None
    pause_between: float
    wave: int = 0
    started: int = 0
    finished: int = 0
    troubled: int = 0
    held: bool = False
    begins: float | None = field(default=None)
    origin: float = 0.0
    waves: list[Wave] = field(factory=list[Wave])

    @classmethod
    def of(
        cls,
        pacing: Pacing,
        total: int,
        *,
        origin: float = 0.0,
        decided: int = 0,
    ) -> Rollout:
        """Begin with so many Spaces.

        Args:
            pacing: How to proceed.
            total: How many Spaces something may be sent to.
            origin: When the bulk began.
            decided: Further Spaces, to which nothing is sent. They are in no wave, for
                a canary that gets nothing is none; of shares that are limits they are
                part.
        """
        unavailable, failures = pacing.max_unavailable, pacing.max_failures
        targets = total + decided
        ends = boundaries(pacing.waves, total)
        sizes = [end - before for before, end in pairwise((0, *ends))]
        return cls(
            total,
            ends,
            bool(pacing.waves),
            None if unavailable is None else max(1, unavailable.of(targets)),
            None if failures is None else max(1, failures.of(targets)),
            pacing.pause_between,
            origin=origin,
            waves=[Wave(number, size) for number, size in enumerate(sizes, 1)]
            if pacing.waves
            else [],
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether each Space has been started."""
        return self.started >= self.total

    def may_start(self, now: float) -> bool:
        """Return whether one more Space may be started."""
        if self.begins is not None:
            if self.held or now < self.begins:
                return False
            self.begins, self.wave = None, self.wave + 1
        if self.started >= self.ends[self.wave]:
            return False
        under_way = self.started - self.finished
        return self.max_unavailable is None or under_way < self.max_unavailable

    def start(self, now: float) -> int | None:
        """Note that a Space is started, and return the number of its wave.

        None is a bulk without waves.
        """
        self.started += 1
        if not self.has_waves:
            return None
        wave = self.waves[self.wave]
        began = now - self.origin if wave.began is None else wave.began
        self.waves[self.wave] = evolve(
            wave, started=wave.started + 1, began=began, ended=None
        )
        return wave.number

    def finish(
        self, now: float, number: int | None, *, healthy: bool, troubled: bool
    ) -> None:
        """Note that a Space has ended.

        Args:
            now: The time.
            number: That of its wave; None without waves.
            healthy: Whether it ended well, as far as that was asked for.
            troubled: Whether it failed, is unknown or is not healthy.
        """
        self.finished += 1
        self.troubled += troubled
        if number is not None:
            wave = self.waves[number - 1]
            finished = wave.finished + 1
            self.waves[number - 1] = evolve(
                wave,
                finished=finished,
                healthy=wave.healthy + healthy,
                troubled=wave.troubled + troubled,
                ended=now - self.origin if finished == wave.started else None,
            )
        if self.finished == self.ends[self.wave] and self.wave + 1 < len(self.ends):
            self.begins = now + self.pause_between

    @property
    def halts(self) -> bool:
        """Whether a wave is not healthy, so that nothing more is started."""
        if not self.has_waves or not self.troubled:
            return False
        return self.max_failures is None or self.troubled >= self.max_failures

    def note_halt(self, number: int) -> None:
        """Note which wave ended the bulk."""
        self.waves[number - 1] = evolve(self.waves[number - 1], halted=True)

    def promote(self) -> None:
        """Let the next wave begin at once, and end a hold."""
        self.held = False
        if self.begins is not None:
            self.begins = float("-inf")
        elif self.wave + 1 < len(self.ends):
            # The wave that runs is not waited for.
            self.wave += 1
