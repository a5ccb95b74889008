"""Progress on stderr: live at a terminal; elsewhere a heartbeat.

Either says why nothing seems to happen: a wait for the quota is counted down, also while
answers of calls in flight still arrive.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from spaces_async.bulk.report import TROUBLES
from spaces_async.cli._errors import full_text
from spaces_async.cli._output import human_seconds
from spaces_async.cli._text import clean
from spaces_async.cli._waiting import QuotaHold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType

    from rich.console import RenderableType
    from rich.progress import Task

    from spaces_async.bulk import Outcome
    from spaces_async.cli._app import App
    from spaces_async.cli._rollout import RolloutView
    from spaces_async.models import SpaceStage

__all__ = ["Busy", "ProgressDisplay"]

_BAR_COLUMNS: Final = 24
_HEARTBEAT_SECONDS: Final = 30.0


class _MoreColumn(ProgressColumn):
    """Shows text that may come from the Hub, so it is never read as markup.

    It is made again for each frame, so that what is counted down goes on without an event.
    """

    def __init__(self, make: Callable[[], Text]) -> None:
        self._make = make
        super().__init__()

    def render(self, task: Task) -> Text:  # noqa: ARG002
        return self._make()


class _TwoLines(Progress):
    """A progress line, and a line below it where there is something to say."""

    def __init__(
        self, below: Callable[[], Text | None], *columns: ProgressColumn, **given: Any
    ) -> None:
        self._below = below
        super().__init__(*columns, **given)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is shown."""
        yield from super().get_renderables()
        if (below := self._below()) is not None:
            yield below


class _Display:
    """What shows that a command works. A context manager."""

    def __init__(self, app: App, *columns: ProgressColumn) -> None:
        self._app = app
        self._output = app.output
        self._hold = QuotaHold()
        self._progress = _TwoLines(
            self._below,
            SpinnerColumn(),
            *columns,
            _MoreColumn(self._more),
            console=self._output.err,
            disable=not self._output.live,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._app.on_wait = self._show_wait
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._app.on_wait = None
        if self._output.live:  # before rich 14.3 a disabled one ends with an empty line
            self._progress.stop()

    def _more(self) -> Text:
        return Text(self._why(), style="yellow")

    def _below(self) -> Text | None:
        """Return the second line; None if there is none."""
        return None

    def _why(self) -> str:
        """Return why it waits for the quota; "" if it does not."""
        return self._hold.text(self._app.now())

    def _show_wait(self, why: str, until: float) -> None:
        self._hold.begin(why, until)
        if not self._output.live:
            text = self._why()
            self._output.say(f"{text[:1].upper()}{text[1:]}")


class Busy(_Display):
    """Shows that something is read whose length is not known."""

    def __init__(self, app: App, text: str) -> None:
        super().__init__(app, TextColumn(f"{text} ...", markup=False))
        self._progress.add_task("", total=None)


class ProgressDisplay(_Display):
    """Shows how far a bulk has come.

    Attributes:
        rollout: What is shown of its waves; None without waves.
        waiting: Returns how many Spaces are waited for after their write; None without
            a wait.
    """

    def __init__(
        self,
        app: App,
        title: str,
        total: int,
        *,
        counted: Collection[str] | None = None,
    ) -> None:
        """Prepare it.

        Args:
            app: The run.
            title: What is done.
            total: How many Spaces it is done to.
            counted: These; others have outcomes as well, but nothing is done to them.
                None are all that have one.
        """
        self._counted = None if counted is None else frozenset(counted)
        # The first frame is made at once.
        self.rollout: RolloutView | None = None
        self.waiting: Callable[[], int] | None = None
        super().__init__(
            app,
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR_COLUMNS),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._title = title
        self._total = total
        self._finished = 0
        self._troubles = 0
        self._began = 0.0
        self._stages: dict[str, SpaceStage] = {}
        self._heartbeat: asyncio.TimerHandle | None = None
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        if not self._output.live and not self._output.quiet:
            self._plan_heartbeat()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        super().__exit__(kind, error, traceback)

    def add_outcome(self, outcome: Outcome[Any]) -> None:
        """Count a finished Space; with -v say why it failed, with the request's id."""
        self._app.finish_times[outcome.repo_id] = self._app.now()
        self._stages.pop(outcome.repo_id, None)
        if outcome.status in TROUBLES:
            self._troubles += 1
            if outcome.error is not None and self._app.verbose > 0:
                # The full text has the request id that the Hub's support asks for.
                start = f"{outcome.repo_id}: "
                why = full_text(outcome.error).removeprefix(start)
                self._output.say(f"{start}{outcome.status}: {why}")
        if self._counted is not None and outcome.repo_id not in self._counted:
            return
        self._finished += 1
        self._progress.update(self._task, advance=1)

    def set_stage(self, repo_id: str, stage: SpaceStage) -> None:
        """Show the stage of a Space that is waited for."""
        self._stages[repo_id] = stage

    def _counts(self) -> list[str]:
        # A copy, as the thread that draws may come in between.
        counts = Counter(self._stages.copy().values()).items()
        found = [clean(f"{count} {stage}") for stage, count in counts]
        if self.waiting is not None and (waiting := self.waiting()):
            found.append(f"waiting for {waiting}")
        return found

    def _more(self) -> Text:
        parts = [Text(count) for count in self._counts()]
        if self._troubles:
            parts.append(Text(f"{self._troubles} failed", style="red"))
        if why := self._why():
            parts.append(Text(why, style="yellow"))
        return Text(", ").join(parts)

    def _below(self) -> Text | None:
        rollout = self.rollout
        if rollout is None or not (state := rollout.state):
            return None
        line = Text(f"  {state}", no_wrap=True, overflow="ellipsis")
        if keys := rollout.help:
            line.append(f" | {keys}", "dim")
        return line

    def _why(self) -> str:
        return self._hold.text(self._app.now(), self._finished, self._total)

    # Where there is no terminal ------------------------------------------------------

    def _plan_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(_HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._output.say(self._state())
        self._plan_heartbeat()

    def _state(self) -> str:
        """Return how far it is, and why it waits, in a line."""
        elapsed = asyncio.get_running_loop().time() - self._began
        parts = [f"{self._title}: {self._finished} of {self._total} done"]
        if self._troubles:
            parts.append(f"{self._troubles} failed")
        if self.rollout is not None and (state := self.rollout.state):
            parts.append(f"{state[:1].lower()}{state[1:]}")
        parts += [*self._counts(), f"{human_seconds(elapsed)} so far"]
        # The counts are there already.
        why = self._hold.text(self._app.now())
        return f"{', '.join(parts)}{f'; {why}' if why else ''}"
