"""A bulk in waves at a terminal: how far it is, and the keys that steer it."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from spaces_async.bulk import Healthy
from spaces_async.bulk._amount import Amount
from spaces_async.bulk._waves import boundaries
from spaces_async.cli._keys import keys_read
from spaces_async.cli._output import human_seconds, plural
from spaces_async.cli._wording import goal_word

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from spaces_async.bulk import BulkStream, Wave
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._output import Output

__all__ = ["RolloutView", "pacing_text", "say_pacing", "wave_sizes", "wave_text"]

_NAMED_CANARIES: Final = 3
_PROMOTE: Final = "p"
_HOLD: Final = "h"
_ABORT: Final = "a"


def wave_text(
    waves: Sequence[Wave], elapsed: float, pause: float, *, held: bool, well: str
) -> str:
    """Return how far the waves are: "Wave 2 of 4: 3 of 40 healthy". Pure.

    Args:
        waves: All of them.
        elapsed: Seconds since the bulk began.
        pause: Seconds between two waves.
        held: Whether no further wave begins.
        well: What a Space is that has got where it should: "healthy".
    """
    begun = [wave for wave in waves if wave.began is not None]
    if not begun:
        return f"{len(waves)} waves"
    wave = begun[-1]
    text = f"Wave {wave.number} of {len(waves)}: {wave.healthy} of {wave.size} {well}"
    if wave.troubled:
        text += f", {wave.troubled} failed"
    if wave.number == len(waves):
        return text
    if held:
        return f"{text}, held" if _has_ended(wave) else f"{text}, held after it"
    if _has_ended(wave) and wave.ended is not None:
        left = wave.ended + pause - elapsed
        # Rounded up: at the end of the time that it names it is over.
        text += f", next in {human_seconds(-(-left // 1))}" if left > 0 else ""
    return text


def _has_ended(wave: Wave) -> bool:
    return wave.finished == wave.size


def pacing_text(
    arguments: BulkArguments, name: str, repo_ids: Sequence[str] | None = None
) -> str:
    """Return how a bulk goes on: "In waves of 1, 100%; each must be healthy." Pure.

    It is "" for one without waves and health.

    Args:
        arguments: The options.
        name: The operation.
        repo_ids: The Spaces that are sent to, in this order: then it has the sizes of
            the waves, and the canary. None, if they are not known yet.
    """
    if not arguments.health:
        return ""
    pace: list[str] = []
    if arguments.waves is not None:
        waves = ", ".join(map(str, arguments.waves))
        pace.append(
            f"in waves of {waves}"
            if repo_ids is None
            else _waves_of(arguments.waves, repo_ids)
        )
        if arguments.pause_between:
            pace.append(f"{human_seconds(arguments.pause_between)} between them")
    if arguments.max_unavailable is not None:
        pace.append(f"at most {arguments.max_unavailable} on their way at a time")
    health = [f"each must be {goal_word(name)}"]
    healthy = arguments.rollout().get("healthy")
    if isinstance(healthy, Healthy):
        if healthy.probe is not None:
            health.append(f" and answer at {healthy.probe}")
        if healthy.for_seconds:
            health.append(f", for {human_seconds(healthy.for_seconds)}")
    if arguments.wait and not pace and len(health) == 1:
        return ""  # The option says just that.
    text = "; ".join(filter(None, (", ".join(pace), "".join(health))))
    return f"{text[0].upper()}{text[1:]}."


def wave_sizes(waves: Sequence[int | str], total: int) -> list[int]:
    """Return how many Spaces are in each wave.

    Args:
        waves: As they were given.
        total: How many Spaces are sent to.
    """
    ends = boundaries([Amount.parse(wave, "waves") for wave in waves], total)
    return [end - before for before, end in pairwise((0, *ends))]


def _waves_of(waves: Sequence[int | str], repo_ids: Sequence[str]) -> str:
    """Return the sizes of the waves: "in 3 waves: 1 (acme/demo), then 4, then 20"."""
    total = len(repo_ids)
    sizes = wave_sizes(waves, total)
    if len(sizes) < 2:  # noqa: PLR2004
        return f"in one wave of all {total}"
    first = ", ".join(repo_ids[: min(sizes[0], _NAMED_CANARIES)])
    more = sizes[0] - _NAMED_CANARIES
    first += f" and {more} more" if more > 0 else ""
    rest = "".join(f", then {size}" for size in sizes[1:])
    return f"in {len(sizes)} waves: {sizes[0]} ({first}){rest}"


def say_pacing(
    output: Output, arguments: BulkArguments, name: str, left: Sequence[str]
) -> None:
    """Say how a run that goes on proceeds, and how to send to all at once.

    Args:
        output: Where to.
        arguments: The options.
        name: The operation.
        left: The Spaces that are left.
    """
    text = pacing_text(arguments, name)
    has_waves = arguments.waves is not None and len(arguments.waves) > 1
    if has_waves and len(left) > 1:
        text += (
            f" The waves start over for the {plural(len(left))} left; add --waves 100% to"
            " send to all at once."
        )
    if text:
        output.say(text)


class RolloutView:
    """What is shown of the waves, and what a key does to them."""

    def __init__(self, app: App, stream: BulkStream[Any], pause: float) -> None:
        """Prepare it.

        Args:
            app: The run.
            stream: The bulk, which begins about now.
            pause: Seconds between two waves.
        """
        self._app = app
        self._stream = stream
        self._pause = pause
        self._began = app.now()
        self._has_keys = False

    @contextmanager
    def keys(self) -> Generator[None]:
        """Act on keys, where stdin is a terminal."""
        with keys_read(self._app.output, self.press) as reads:
            self._has_keys = reads
            try:
                yield
            finally:
                self._has_keys = False

    def press(self, key: str) -> None:
        """Act on a key; unknown ones do nothing."""
        stream = self._stream
        if key == _PROMOTE:
            stream.promote()
        elif key == _HOLD:
            stream.hold()
        elif key == _ABORT:
            stream.abort()

    @property
    def state(self) -> str:
        """How far the waves are; "" before they are known."""
        waves = self._stream.report.waves
        if not waves:
            return ""
        elapsed = self._app.now() - self._began
        return wave_text(
            waves,
            elapsed,
            self._pause,
            held=self._stream.held,
            well=goal_word(self._stream.report.operation),
        )

    @property
    def help(self) -> str:
        """Which keys there are now; "" if there are none."""
        if not self._has_keys:
            return ""
        report = self._stream.report
        if report.stopped_by is not None:
            return "ending: waiting for what is in flight"
        abort, waves = f"{_ABORT}: abort", report.waves
        if not waves or waves[-1].began is not None:
            return abort
        if self._stream.held:
            return f"{_PROMOTE}: go on, {abort}"
        return f"{_PROMOTE}: next wave now, {_HOLD}: hold, {abort}"
