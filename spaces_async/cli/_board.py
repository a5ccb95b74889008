"""Progress of a bulk on stderr: live on a terminal, a line per failure elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from spaces_async.bulk import Outcome, OutcomeStatus
from spaces_async.cli._errors import reason
from spaces_async.cli._output import clean

if TYPE_CHECKING:
    from types import TracebackType

    from spaces_async.cli._app import App
    from spaces_async.models import SpaceStage

__all__ = ["Board"]

_TROUBLES: Final = (OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN)


class Board:
    """Shows how far a bulk has come. A context manager."""

    def __init__(self, app: App, title: str, total: int) -> None:
        self._app = app
        self._output = app.output
        self._title = title
        self._total = total
        self._troubled = 0
        self._stages: dict[str, SpaceStage] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[more]}"),
            console=self._output.err,
            disable=not self._output.live,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total, more="")

    def __enter__(self) -> Self:
        self._app.on_wait = self._waits
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

    def outcome(self, outcome: Outcome[Any]) -> None:
        """Take note of a Space that is done with."""
        self._stages.pop(outcome.repo_id, None)
        if outcome.status in _TROUBLES:
            self._troubled += 1
            verbose = self._app.verbose > 0
            if outcome.error is not None and (verbose or not self._output.live):
                # The long form has the request id that the Hub's support asks for.
                why = clean(str(outcome.error)) if verbose else reason(outcome.error)
                self._output.say(f"{outcome.repo_id}: {outcome.status}: {why}")
        self._update(advance=1)

    def stage(self, repo_id: str, stage: SpaceStage) -> None:
        """Take note of the stage of a Space that is waited for."""
        self._stages[repo_id] = stage
        self._update()

    def _update(self, advance: int = 0) -> None:
        parts = [f"{count} {s}" for s, count in Counter(self._stages.values()).items()]
        if self._troubled:
            parts.append(f"[red]{self._troubled} failed[/red]")
        self._progress.update(self._task, advance=advance, more=", ".join(parts))

    def _waits(self, text: str) -> None:
        if self._output.live:
            self._progress.update(self._task, more=f"[yellow]{text}[/yellow]")
        else:
            self._output.say(f"{text} ...")
