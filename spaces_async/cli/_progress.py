"""Progress of a bulk on stderr: live at a terminal, a line per failure elsewhere."""

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
from spaces_async.cli._errors import full_text, reason
from spaces_async.cli._text import clean

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Task

    from spaces_async.bulk import Outcome
    from spaces_async.cli._app import App
    from spaces_async.models import SpaceStage

__all__ = ["ProgressDisplay"]

_BAR_COLUMNS: Final = 24


class _MoreColumn(ProgressColumn):
    """Shows text that may come from the Hub, so it is never read as markup."""

    def render(self, task: Task) -> Text:
        more: Text = task.fields["more"]
        return more


class ProgressDisplay:
    """Shows how far a bulk has come. A context manager."""

    def __init__(self, app: App, title: str, total: int) -> None:
        self._app = app
        self._output = app.output
        self._troubles = 0
        self._stages: dict[str, SpaceStage] = {}
        self._wait_text = ""
        self._wait_until = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR_COLUMNS),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _MoreColumn(),
            console=self._output.err,
            disable=not self._output.live,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total, more=Text())

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

    def add_outcome(self, outcome: Outcome[Any]) -> None:
        """Count a finished Space; say why it failed, where no table follows."""
        self._stages.pop(outcome.repo_id, None)
        if outcome.status in TROUBLES:
            self._troubles += 1
            verbose = self._app.verbose > 0
            if outcome.error is not None and (verbose or not self._output.live):
                # The full text has the request id that the Hub's support asks for.
                why = full_text(outcome.error) if verbose else reason(outcome.error)
                self._output.say(f"{outcome.repo_id}: {outcome.status}: {why}")
        self._update(advance=1)

    def set_stage(self, repo_id: str, stage: SpaceStage) -> None:
        """Show the stage of a Space that is waited for."""
        self._stages[repo_id] = stage
        self._update()

    def _update(self, advance: int = 0) -> None:
        counts = Counter(self._stages.values()).items()
        parts = [Text(clean(f"{count} {stage}")) for stage, count in counts]
        if self._troubles:
            parts.append(Text(f"{self._troubles} failed", style="red"))
        # Answers still arrive after a wait has begun, and must not hide why it is slow.
        if self._wait_until > asyncio.get_running_loop().time():
            parts.append(Text(self._wait_text, style="yellow"))
        more = Text(", ").join(parts)
        self._progress.update(self._task, advance=advance, more=more)

    def _show_wait(self, text: str, until: float) -> None:
        if self._output.live:
            self._wait_text, self._wait_until = text, until
            self._update()
        else:
            self._output.say(f"{text} ...")
