"""The HTML of `--report`: one file that needs nothing else, no script and no network."""

from __future__ import annotations

import html
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from spaces_async.bulk.report import TROUBLES, OutcomeStatus
from spaces_async.cli._causes import causes, detail, success_lines, word
from spaces_async.cli._html_page import document, escaped, folded, table, tiles
from spaces_async.cli._report_waves import short_seconds, wave_rows, wave_titles
from spaces_async.cli._text import one_line
from spaces_async.cli._times import when

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spaces_async.bulk import BulkReport, Outcome, Wave
    from spaces_async.cli._causes import Cause
    from spaces_async.cli._report_file import Finished

__all__ = ["page"]

_COLOURS: Final[Mapping[OutcomeStatus, str]] = {
    OutcomeStatus.DONE: "#2e8b57",
    OutcomeStatus.UNCHANGED: "#8a9ba8",
    OutcomeStatus.SKIPPED: "#b0bac2",
    OutcomeStatus.FAILED: "#c9302c",
    OutcomeStatus.UNKNOWN: "#d98e04",
    OutcomeStatus.NOT_ATTEMPTED: "#6f42c1",
}
_CHART_WIDTH: Final = 860
_LABEL_WIDTH: Final = 220
_LABEL_CHARACTERS: Final = 32
_BAR_HEIGHT: Final = 14
_SHOWN_BARS: Final = 40
"""Where there are more, the chart shows those that ended badly, and the slowest."""
_OPEN_BARS: Final = 20
"""Where there are more, the chart is folded: it is for who looks for one Space."""
_NAMED_SPACES: Final = 10
"""Ids of a cause that are not folded."""
_BINS: Final = 60
_BINS_HEIGHT: Final = 120
_BINS_TOP: Final = 18.0
_WIDE_BAND: Final = 40
"""A narrower one has only the number of its wave."""
_MOST_TICKS: Final = 6
_TICK_STEPS: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14400, 28800, 43200, 86400),
)
"""Seconds between two ticks: what people count in."""
_LABEL_MARGIN: Final = 24


def page(finished: Finished) -> str:
    """Return the whole page."""
    report = finished.report
    parts = [
        _totals(finished),
        *(f"<p>{escaped(line)}</p>" for _, line in success_lines(report)),
    ]
    if report.waves:
        parts.append(_waves(report))
    found = causes(report)
    if found:
        parts.append("<h2>What is not done, and why</h2>")
        parts += [_cause(cause) for cause in found]
    if _shown(finished):
        parts += [
            "<h2>Timeline</h2>",
            _legend(report),
            _histogram(finished),
            _bars(finished),
        ]
    parts.append(_outcomes(finished))
    ended = when(finished.ended, finished.ended).removesuffix(" (now)")
    head = f"{finished.title}: {'done' if report.ok else 'not all done'}"
    return document(head, f"{finished.summary}; ended {ended}", parts)


def _totals(finished: Finished) -> str:
    counts = finished.report.counts.items()
    return tiles(
        (str(count), word(status), _COLOURS[status])
        for status, count in counts
        if count
    )


def _waves(report: BulkReport[Any]) -> str:
    """Return a table of the waves."""
    rows, titles = wave_rows(report), wave_titles(report)
    shown = table(
        titles,
        [row.cells for row in rows],
        numbers=range(len(titles) - 1),
        classes=[_class(row.wave) for row in rows],
    )
    return f"<h2>Waves</h2>\n{shown}"


def _class(wave: Wave) -> str:
    if wave.began is None:
        return "dim"
    return "bad" if wave.halted else ""


def _cause(cause: Cause) -> str:
    lines = [f"<h3>{escaped(cause.title)}</h3>", _ids(cause)]
    if cause.status in TROUBLES:
        lines += [f'<p class="dim">{escaped(hint)}</p>' for hint in cause.hints]
        if command := cause.command:
            lines.append(f"<p>To see why: <code>{escaped(command)}</code></p>")
    if tail := cause.log_tail:
        text = "\n".join(html.escape(one_line(line)) for line in tail[1])
        lines.append(
            f"<p>The end of the log of {escaped(tail[0])}:</p><pre>{text}</pre>"
        )
    colour = _COLOURS[cause.status]
    inner = "".join(lines)
    return f'<div class="cause" style="border-left-color:{colour}">{inner}</div>'


def _ids(cause: Cause) -> str:
    """Return the ids of a cause: the first ones, and the others folded."""
    ids = [outcome.repo_id for outcome in cause.outcomes]
    shown, more = ids[:_NAMED_SPACES], ids[_NAMED_SPACES:]
    if len(more) == 1:
        shown, more = ids, []
    text = f"<p>{escaped(', '.join(shown))}</p>"
    if not more:
        return text
    rest = f"<p>{escaped(', '.join(more))}</p>"
    return f"{text}{folded(f'and {len(more)} more', rest)}"


# The timeline ------------------------------------------------------------------------


class _Scale:
    """Where an instant stands in a chart."""

    def __init__(self, finished: Finished) -> None:
        spans = [finished.spans[outcome.repo_id] for outcome in _shown(finished)]
        self.first = max(begin for begin, _ in spans)
        self.last = min(end for _, end in spans)
        self.seconds = max(self.first - self.last, 0.001)

    def share(self, seconds_before_end: float) -> float:
        """Return the place of an instant, from 0 to 1."""
        share = (self.first - seconds_before_end) / self.seconds
        return min(1.0, max(0.0, share))

    def axis(self, left: float, width: float, y: float) -> str:
        """Return the ticks below a chart."""
        ticks: list[str] = []
        step = _tick_step(self.seconds)
        for number in range(int(self.seconds / step) + 1):
            x = left + width * number * step / self.seconds
            anchor = "start" if not number else "middle"
            if x > left + width - _LABEL_MARGIN:
                anchor = "end"
            ticks.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"'
                f' stroke="currentColor"/><text x="{x:.1f}" y="{y + 16}"'
                f' text-anchor="{anchor}">{short_seconds(number * step)}</text>'
            )
        return "".join(ticks)


def _tick_step(seconds: float) -> float:
    """Return how far apart the ticks of an axis are: a round time."""
    for step in _TICK_STEPS:
        if seconds <= step * _MOST_TICKS:
            return step
    days = seconds / _TICK_STEPS[-1] / _MOST_TICKS
    return _TICK_STEPS[-1] * math.ceil(days)


def _shown(finished: Finished) -> list[Outcome[Any]]:
    """Return the outcomes that a chart shows: of Spaces that something was done about."""
    return [
        outcome
        for outcome in finished.report
        if outcome.repo_id in finished.spans
        and outcome.status is not OutcomeStatus.NOT_ATTEMPTED
    ]


def _legend(report: BulkReport[Any]) -> str:
    """Return what the colours of the charts say."""
    marks = [
        f'<span><i style="background:{_COLOURS[status]}"></i>{word(status)}</span>'
        for status, count in report.counts.items()
        if count and status is not OutcomeStatus.NOT_ATTEMPTED
    ]
    return f'<p class="dim legend">How many Spaces ended when: {"".join(marks)}</p>'


def _bands(finished: Finished, scale: _Scale, left: float, width: float) -> str:
    """Return the times of the waves, behind a chart."""
    report = finished.report
    bands: list[str] = []
    for wave in report.waves:
        if wave.began is None or wave.ended is None:
            continue
        begin = left + width * scale.share(report.elapsed - wave.began)
        end = left + width * scale.share(report.elapsed - wave.ended)
        name = f"wave {wave.number}" if end - begin > _WIDE_BAND else str(wave.number)
        bands.append(
            f'<rect x="{begin:.1f}" y="0" width="{max(1.0, end - begin):.1f}"'
            f' height="{_BINS_TOP + _BINS_HEIGHT:.0f}" fill="currentColor"'
            ' opacity="0.08"><title>'
            f"wave {wave.number}</title></rect>"
            f'<text x="{(begin + end) / 2:.1f}" y="11" text-anchor="middle">{name}</text>'
        )
    return "".join(bands)


def _histogram(finished: Finished) -> str:
    """Return how many Spaces ended when, by how they ended."""
    scale = _Scale(finished)
    bins: list[Counter[OutcomeStatus]] = [Counter() for _ in range(_BINS)]
    for outcome in _shown(finished):
        _, end = finished.spans[outcome.repo_id]
        place = min(_BINS - 1, int(scale.share(end) * _BINS))
        bins[place][outcome.status] += 1
    most = max(1, *(counts.total() for counts in bins))
    left, top = 40.0, _BINS_TOP
    width = _CHART_WIDTH - left
    bars: list[str] = []
    for place, counts in enumerate(bins):
        y = top + _BINS_HEIGHT
        for status in _COLOURS:
            if not (count := counts[status]):
                continue
            height = _BINS_HEIGHT * count / most
            y -= height
            bars.append(
                f'<rect x="{left + width * place / _BINS:.1f}" y="{y:.1f}"'
                f' width="{width / _BINS - 1:.1f}" height="{height:.1f}"'
                f' fill="{_COLOURS[status]}"><title>{count} {word(status)}</title></rect>'
            )
    labels = (
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end">{most}</text>'
        f'<text x="{left - 4}" y="{top + _BINS_HEIGHT}" text-anchor="end">0</text>'
    )
    bands = _bands(finished, scale, left, width)
    body = bands + "".join(bars) + labels + scale.axis(left, width, top + _BINS_HEIGHT)
    height = top + _BINS_HEIGHT + 22
    return _svg("How many Spaces ended when", height, body)


def _bars(finished: Finished) -> str:
    """Return a bar for each Space, from its turn to its end."""
    scale = _Scale(finished)
    shown = _shown(finished)
    left_out = len(shown) - _SHOWN_BARS
    if left_out > 0:
        shown = sorted(shown, key=lambda o: (o.ok, -o.elapsed))[:_SHOWN_BARS]
    shown.sort(key=lambda o: (-finished.spans[o.repo_id][0], o.repo_id))
    width = _CHART_WIDTH - _LABEL_WIDTH
    rows: list[str] = []
    for number, outcome in enumerate(shown):
        begin, end = map(scale.share, finished.spans[outcome.repo_id])
        y = number * (_BAR_HEIGHT + 4)
        length = max(2.0, (end - begin) * width)
        x = min(_LABEL_WIDTH + begin * width, _CHART_WIDTH - length)
        tip = f"{outcome.repo_id}: {word(outcome.status)}, {short_seconds(outcome.elapsed)}"
        rows.append(
            f'<text x="{_LABEL_WIDTH - 8}" y="{y + 11}" text-anchor="end">'
            f"{escaped(_cut(outcome.repo_id))}</text>"
            f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="{_BAR_HEIGHT}"'
            f' rx="2" fill="{_COLOURS[outcome.status]}"><title>{escaped(tip)}</title></rect>'
        )
    bottom = len(shown) * (_BAR_HEIGHT + 4)
    body = "".join(rows) + scale.axis(_LABEL_WIDTH, width, bottom)
    chart = _svg("From the turn of each Space to its end", bottom + 22, body)
    if left_out > 0:
        title = f"The {_SHOWN_BARS} Spaces that ended badly or took longest, one by one"
    else:
        title = "Each Space, from its turn to its end"
    return folded(title, chart, is_open=len(shown) <= _OPEN_BARS)


def _svg(label: str, height: float, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH} {height:.0f}" role="img"'
        f' aria-label="{label}" font-size="11" font-family="sans-serif"'
        f' xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _outcomes(finished: Finished) -> str:
    """Return all Spaces, what is not done first; folded."""
    report = finished.report
    outcomes: Sequence[Outcome[Any]] = sorted(report.outcomes, key=lambda o: o.ok)
    waves = ["wave"] if report.waves else []
    rows = [
        (
            *(o.repo_id, word(o.status)),
            *([str(o.wave or "")] if waves else []),
            *(detail(o, report.operation), short_seconds(o.elapsed)),
        )
        for o in outcomes
    ]
    titles = ["Space", "outcome", *waves, "detail", "took"]
    shown = table(titles, rows, numbers=[2, 4] if waves else [3])
    return folded(f"All {len(rows)} Spaces", shown)


def _cut(text: str) -> str:
    if len(text) <= _LABEL_CHARACTERS:
        return text
    return f"{text[: _LABEL_CHARACTERS - 1]}…"
