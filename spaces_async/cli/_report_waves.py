"""The waves of a report as rows, and which one halted the rest and why. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from spaces_async.bulk import Wave
from spaces_async.bulk.report import TROUBLES
from spaces_async.cli._causes import detail
from spaces_async.cli._output import human_seconds
from spaces_async.cli._wording import goal_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.bulk import BulkReport

__all__ = ["WaveRow", "halt_text", "short_seconds", "wave_rows", "wave_titles"]

_FEW_SECONDS: Final = 10


@frozen
class WaveRow:
    """A wave, as a row of a table.

    Attributes:
        wave: The wave.
        result: What came of it, such as "healthy" or "halted the rest: BUILD_ERROR".
    """

    wave: Wave
    result: str

    @property
    def cells(self) -> Sequence[str]:
        """The cells below `wave_titles`."""
        wave = self.wave
        if wave.began is None:
            return (str(wave.number), str(wave.size), "", "", "", "", self.result)
        spaces = str(wave.size)
        if wave.started < wave.size:
            spaces = f"{wave.started} of {wave.size}"
        took = "" if wave.ended is None else short_seconds(wave.ended - wave.began)
        return (
            *(str(wave.number), spaces, str(wave.healthy), str(wave.troubled)),
            *(_began(wave.began), took, self.result),
        )


def wave_titles(report: BulkReport[Any]) -> Sequence[str]:
    """Return the titles of the columns of `wave_rows`."""
    well = goal_word(report.operation)
    return ("wave", "Spaces", well, "failed", "began", "took", "result")


def wave_rows(report: BulkReport[Any]) -> list[WaveRow]:
    """Return a row for each wave; none for a bulk without waves."""
    well = goal_word(report.operation)
    causes: dict[int, Counter[str]] = {}
    for outcome in report:
        if outcome.wave is not None and outcome.status in TROUBLES:
            text = detail(outcome, report.operation).replace(outcome.repo_id, "ID")
            causes.setdefault(outcome.wave, Counter())[text] += 1
    return [
        WaveRow(wave, _result(wave, causes.get(wave.number, Counter()), well))
        for wave in report.waves
    ]


def _result(wave: Wave, causes: Counter[str], well: str) -> str:
    if wave.began is None:
        return "not begun"
    why = "; ".join(
        text if len(causes) == 1 else f"{count} {text}"
        for text, count in causes.most_common()
        if text
    )
    if wave.halted:
        return f"halted the rest: {why}" if why else "halted the rest"
    if wave.troubled:
        return why or f"not {well}"
    if wave.healthy == wave.size:
        return well
    return "ended early"


def halt_text(report: BulkReport[Any]) -> str | None:
    """Return which wave halted the rest, in a sentence; None if none did."""
    for wave in report.waves:
        if wave.halted:
            return (
                f"Wave {wave.number} of {len(report.waves)} halted the rest:"
                f" {wave.troubled} of {wave.size} not {goal_word(report.operation)}"
            )
    return None


def _began(seconds: float) -> str:
    return f"after {short_seconds(seconds)}" if seconds >= 1 else "at once"


def short_seconds(seconds: float) -> str:
    """Return a duration: "0.4s", "2m 10s"."""
    few = 0 < seconds < _FEW_SECONDS
    return f"{seconds:.1f}s" if few else human_seconds(seconds)
