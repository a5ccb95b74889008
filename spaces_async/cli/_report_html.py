"""The HTML of `--report`: one file that needs nothing else, no script and no network."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from spaces_async.bulk.report import TROUBLES, OutcomeStatus
from spaces_async.cli._causes import causes, detail, success_lines, word
from spaces_async.cli._output import human_seconds
from spaces_async.cli._text import clean, one_line
from spaces_async.cli._times import when

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
_SHOWN_BARS: Final = 60
"""Where there are more, the chart shows those that ended badly, and the slowest."""
_BINS: Final = 60
_BINS_HEIGHT: Final = 120
_TICKS: Final = 5

_STYLE: Final = """
:root{color-scheme:light dark;--line:#d0d7de;--dim:#59636e;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--line:#3d444d;--dim:#9198a1;--card:#151b23}}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .6rem}
.dim{color:var(--dim)}.totals{display:flex;flex-wrap:wrap;gap:.7rem;margin:1.2rem 0}
.total{background:var(--card);border:1px solid var(--line);border-left:.4rem solid;
border-radius:.4rem;padding:.5rem 1rem;min-width:5.5rem}
.total b{display:block;font-size:1.6rem;line-height:1.2}.total span{color:var(--dim)}
.cause{background:var(--card);border:1px solid var(--line);border-left:.4rem solid;
border-radius:.4rem;padding:.6rem 1rem;margin:.7rem 0;overflow-wrap:anywhere}
.cause h3{font-size:1rem;margin:0}.cause p{margin:.35rem 0}
pre{overflow-x:auto;border:1px solid var(--line);border-radius:.3rem;padding:.5rem;
font-size:.85rem}code{font-size:.9em}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}td.n{text-align:right;white-space:nowrap}
svg{display:block;width:100%;height:auto}svg text{fill:currentColor;font:11px sans-serif}
summary{cursor:pointer;font-weight:600;margin:.5rem 0}
"""


def page(finished: Finished) -> str:
    """Return the whole page."""
    report = finished.report
    parts = [
        _head(finished),
        _totals(finished),
        "".join(f"<p>{_text(line)}</p>" for _, line in success_lines(report)),
    ]
    found = causes(report)
    if found:
        parts.append("<h2>What is not done, and why</h2>")
        parts += [_cause(cause) for cause in found]
    if finished.spans:
        parts += ["<h2>Timeline</h2>", _histogram(finished), _bars(finished)]
    parts.append(_outcomes(finished))
    return "\n".join([*parts, "</body></html>\n"])


def _head(finished: Finished) -> str:
    report = finished.report
    name = _text(f"{finished.title}: {'done' if report.ok else 'not all done'}")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{name}</h1>\n"
        f'<p class="dim">{_text(finished.summary)}; ended'
        f" {_text(when(finished.ended, finished.ended).removesuffix(' (now)'))}</p>"
    )


def _totals(finished: Finished) -> str:
    tiles = [
        f'<div class="total" style="border-left-color:{_COLOURS[status]}">'
        f"<b>{count}</b><span>{word(status)}</span></div>"
        for status, count in finished.report.counts.items()
        if count
    ]
    return f'<div class="totals">{"".join(tiles)}</div>'


def _cause(cause: Cause) -> str:
    lines = [f"<h3>{_text(cause.title)}</h3>", f"<p>{_text(cause.names)}</p>"]
    if cause.status in TROUBLES:
        lines += [f'<p class="dim">{_text(hint)}</p>' for hint in cause.hints]
        if command := cause.command:
            lines.append(f"<p>To see why: <code>{_text(command)}</code></p>")
    if tail := cause.log_tail:
        text = "\n".join(html.escape(one_line(line)) for line in tail[1])
        lines.append(f"<p>The end of the log of {_text(tail[0])}:</p><pre>{text}</pre>")
    colour = _COLOURS[cause.status]
    inner = "".join(lines)
    return f'<div class="cause" style="border-left-color:{colour}">{inner}</div>'


# The timeline ------------------------------------------------------------------------


class _Scale:
    """Where an instant stands in a chart."""

    def __init__(self, finished: Finished) -> None:
        spans = finished.spans.values()
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
        for number in range(_TICKS + 1):
            x = left + width * number / _TICKS
            anchor = "end" if number == _TICKS else "start" if not number else "middle"
            label = _seconds(self.seconds * number / _TICKS)
            ticks.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"'
                f' stroke="currentColor"/><text x="{x:.1f}" y="{y + 16}"'
                f' text-anchor="{anchor}">{label}</text>'
            )
        return "".join(ticks)


def _seconds(seconds: float) -> str:
    few = 10
    return f"{seconds:.1f}s" if 0 < seconds < few else human_seconds(seconds)


def _histogram(finished: Finished) -> str:
    """Return how many Spaces ended when, by how they ended."""
    scale = _Scale(finished)
    bins: list[Counter[OutcomeStatus]] = [Counter() for _ in range(_BINS)]
    for outcome in finished.report:
        span = finished.spans.get(outcome.repo_id)
        if span is not None:
            place = min(_BINS - 1, int(scale.share(span[1]) * _BINS))
            bins[place][outcome.status] += 1
    most = max(1, *(counts.total() for counts in bins))
    left, top = 40.0, 12.0
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
    body = "".join(bars) + labels + scale.axis(left, width, top + _BINS_HEIGHT)
    height = top + _BINS_HEIGHT + 22
    return _svg("How many Spaces ended when", height, body)


def _bars(finished: Finished) -> str:
    """Return a bar for each Space, from its turn to its end."""
    scale = _Scale(finished)
    shown = [o for o in finished.report if o.repo_id in finished.spans]
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
        tip = f"{outcome.repo_id}: {word(outcome.status)}, {_seconds(outcome.elapsed)}"
        rows.append(
            f'<text x="{_LABEL_WIDTH - 8}" y="{y + 11}" text-anchor="end">'
            f"{_text(_cut(outcome.repo_id))}</text>"
            f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="{_BAR_HEIGHT}"'
            f' rx="2" fill="{_COLOURS[outcome.status]}"><title>{_text(tip)}</title></rect>'
        )
    bottom = len(shown) * (_BAR_HEIGHT + 4)
    body = "".join(rows) + scale.axis(_LABEL_WIDTH, width, bottom)
    note = ""
    if left_out > 0:
        note = (
            f'<p class="dim">The {_SHOWN_BARS} that ended badly or took longest;'
            f" {left_out} more are in the table.</p>"
        )
    return note + _svg("From the turn of each Space to its end", bottom + 22, body)


def _svg(label: str, height: float, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH} {height:.0f}" role="img"'
        f' aria-label="{label}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _outcomes(finished: Finished) -> str:
    rows: Sequence[Any] = finished.report.outcomes
    lines = [
        f"<tr><td>{_text(o.repo_id)}</td><td>{word(o.status)}</td>"
        f'<td>{_text(detail(o))}</td><td class="n">{_seconds(o.elapsed)}</td></tr>'
        for o in rows
    ]
    head = "<tr><th>Space</th><th>outcome</th><th>detail</th><th>took</th></tr>"
    return (
        f"<details><summary>All {len(rows)} Spaces</summary>"
        f"<table>{head}{''.join(lines)}</table></details>"
    )


def _cut(text: str) -> str:
    if len(text) <= _LABEL_CHARACTERS:
        return text
    return f"{text[: _LABEL_CHARACTERS - 1]}…"


def _text(text: str) -> str:
    return html.escape(clean(text))
