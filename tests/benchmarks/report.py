"""The figures as text, as Markdown, and as pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.harness import ROOT, Costs, Results, Row, Series, Shares

PAGE: Final = ROOT / "docs" / "performance.md"
_CLOCKS: Final = ("CPU", "wall")
_IN_SHORT: Final = (
    (
        "One call takes {calls.get_runtime} times the CPU time of bare aiohttp that makes the"
        " same record, and {calls.get_runtime.huggingface_hub} times that of"
        " `huggingface_hub`."
    ),
    (
        "A bulk of 2,000 restarts is {bulk.threads.16} times as fast as `huggingface_hub` in 16"
        " threads, {bulk.threads.64} times with 64, and {bulk.threads.256} times with 256 and a"
        " latency of 50 ms."
    ),
    (
        "With a journal a bulk takes {bulk.journal} times as long, without the state before"
        " {bulk.journal.sent} times. As a run in Redis it takes {bulk.store} times as long."
    ),
    (
        "A listing with 7 fields takes {decoding.listing} times the CPU time of"
        " `huggingface_hub`. One with only 3 fields takes {decoding.listing.selection} times."
    ),
    (
        "Sixteen hosts that share a quota on Redis take {hosts.16.even} times as long as the best"
        " schedule, and each call takes {hosts.16.even.cpu} µs more."
    ),
    "The import takes {start.import} times as long as `from huggingface_hub import HfApi`.",
)
"""What somebody in a hurry wants to know; in braces the keys of the figures."""

_KEY: Final = re.compile(r"\{(.+?)\}")
_PART: Final = "<!-- {name}: written by make bench -->\n{text}<!-- end of {name} -->"
_FOUND: Final = r"<!-- {name}: .*?<!-- end of {name} -->"

Lines = list[Sequence[str]]
"""A table: the heading, then the rows."""


def for_terminal(machine: dict[str, Any], results: Results) -> str:
    """Return everything as plain text."""
    tables = {
        summary(results): goals(results.rows),
        "Beside others, without a goal": others(results.rows),
        "What a unit of work takes, µs": costs(results.costs),
        "How cost grows (linear is a slope below that of n log n)": growth(
            results.growth
        ),
        "Where the CPU time goes, µs": shares(results.shares),
    }
    parts = [describe(machine), in_short(results.rows)]
    parts = [part.replace("`", "") for part in parts if part]
    parts += [
        f"{title}\n{_aligned(lines)}" for title, lines in tables.items() if lines[1:]
    ]
    return "\n".join(parts)


def write_page(folder: Path, machine: dict[str, Any], results: Results) -> list[Path]:
    """Write the page with these figures into a folder, and its pictures beside it.

    Returns:
        The files. Without matplotlib there are no pictures.
    """
    text = PAGE.read_text("utf-8")
    parts = {
        "machine": f"{describe(machine)}",
        "short": f"\n{in_short(results.rows)}\n",
        "goals": f"{summary(results)}.\n{_markdown(goals(results.rows))}",
        "others": _markdown(others(results.rows)),
        "costs": _markdown(costs(results.costs)),
        "growth": _markdown(growth(results.growth)),
        "shares": _markdown(shares(results.shares)),
    }
    for name, part in parts.items():
        text = _replaced(text, name, part)
    page = folder / PAGE.name
    page.write_text(text, "utf-8")
    return [page, *draw(folder / "images", results)]


def _replaced(text: str, name: str, part: str) -> str:
    """Return the page with one generated part written anew."""
    found = list(re.finditer(_FOUND.format(name=name), text, re.DOTALL))
    if len(found) != 1:
        raise ValueError(f"{PAGE.name} has {len(found)} parts named {name}, not one")
    start, end = found[0].span()
    return text[:start] + _PART.format(name=name, text=part) + text[end:]


def describe(machine: dict[str, Any]) -> str:
    """Say what the figures were measured on."""
    versions = ", ".join(
        f"{name} {number}" if number else f"no {name}"
        for name, number in machine["versions"].items()
    )
    return (
        f"{machine['date']}, commit `{machine['commit']}`: {machine['cpu']},"
        f" {machine['cores']} cores, load {machine['load'][0]} before and"
        f" {machine['load'][-1]} after;"
        f" {machine['system']}, {machine['python']}; {versions}.\n"
    )


def summary(results: Results) -> str:
    """Say how many goals are met."""
    judged = [row.is_met for row in results.rows if row.goal is not None]
    return f"{sum(map(bool, judged))} of {len(judged)} goals are met"


def in_short(rows: Iterable[Row]) -> str:
    """Return the most telling figures as sentences, where all of one were measured."""
    figures = {row.key: f"{row.figures[row.goal_clock].median:.3g}" for row in rows}
    told = [each for each in _IN_SHORT if figures.keys() >= {*_KEY.findall(each)}]
    return "".join(
        f"- {_KEY.sub(lambda found: figures[found[1]], each)}\n" for each in told
    )


def goals(rows: Iterable[Row]) -> Lines:
    """Return the rows that have a goal."""
    lines: Lines = [("what", "unit", "figure", "goal", "met", "note")]
    lines += [
        (
            row.what,
            row.unit,
            _by_each_clock(row),
            str(row.goal),
            "yes" if row.is_met else "no",
            row.note,
        )
        for row in rows
        if row.goal is not None
    ]
    return lines


def others(rows: Iterable[Row]) -> Lines:
    """Return the rows that have none."""
    lines: Lines = [("what", "unit", "figure", "note")]
    lines += [
        (row.what, row.unit, _by_each_clock(row), row.note)
        for row in rows
        if row.goal is None
    ]
    return lines


def _by_each_clock(row: Row) -> str:
    first = f"{row.figures[row.goal_clock]} {row.goal_clock}"
    others = [clock for clock in row.figures if clock != row.goal_clock]
    return ", ".join([first, *(f"{row.figures[o].median:.2f} {o}" for o in others)])


def costs(all_costs: Iterable[Costs]) -> Lines:
    """Return what each contestant takes."""
    lines: Lines = [("work", "by", "CPU, µs", "wall, µs")]
    for one in all_costs:
        lines += [
            (one.what, name, *(str(figures[clock]) for clock in _CLOCKS))
            for name, figures in one.contestants.items()
        ]
    return lines


def growth(all_series: Iterable[Series]) -> Lines:
    """Return the values at each size, and the slopes."""
    series = list(all_series)
    sizes = sorted({size for one in series for size, _ in one.points})
    lines: Lines = [("what", *(f"{size:,}" for size in sizes), "slope", "linear")]
    for one in series:
        values = dict(one.points)
        cells = (_value(values.get(size), one.unit) for size in sizes)
        slope = f"{one.slope:.2f}" if one.slope else "flat"
        lines.append((one.what, *cells, slope, "yes" if one.is_met else "no"))
    return lines


def shares(all_shares: Sequence[Shares]) -> Lines:
    """Return who takes how much of each work."""
    rooms = list(dict.fromkeys(room for one in all_shares for room in one.rooms))
    lines: Lines = [("work", "by", *rooms, "all")]
    for one in all_shares:
        taken = [*(one.rooms.get(room, 0.0) for room in rooms), sum(one.rooms.values())]
        lines.append((one.what, one.contestant, *(f"{value:.1f}" for value in taken)))
    return lines


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "MiB":
        return f"{value:.1f} MiB"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def _aligned(lines: Lines) -> str:
    plain = [[cell.replace("`", "") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in plain
    ]
    return "".join(f"{line.rstrip()}\n" for line in shown)


def _markdown(lines: Lines) -> str:
    head, *rest = lines
    rule = ["---"] * len(head)
    return (
        "\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in chain([head, rule], rest))
        + "\n"
    )


def draw(folder: Path, results: Results) -> list[Path]:
    """Draw the goals and the growth as SVG files, the same for the same figures."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  (only `make bench` installs it)
    except ImportError:
        return []
    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "spaces_async",
            "svg.fonttype": "none",
            "font.size": 9,
            "font.family": "sans-serif",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    folder.mkdir(exist_ok=True)
    figures = {
        "performance-goals.svg": _draw_goals(results.rows),
        "performance-growth.svg": _draw_growth(results.growth),
    }
    made: list[Path] = []
    for name, figure in figures.items():
        if figure is not None:
            made.append(folder / name)
            figure.savefig(made[-1], metadata={"Date": None}, facecolor="white")
    return made


def _draw_goals(rows: Iterable[Row]) -> Any:
    """Draw how far each figure is from its goal; 1 is the goal, less is better."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    shares: list[tuple[str, float]] = []
    for row in rows:
        if row.goal is not None:
            value = row.figures[row.goal_clock].median
            share = value / row.goal.bound
            shares.append((row.key, share if row.goal.kind == "at most" else 1 / share))
    if not shares:
        return None
    figure, axes = plt.subplots(
        figsize=(8, 0.6 + 0.26 * len(shares)), layout="constrained"
    )
    names, values = zip(*reversed(shares), strict=True)
    colours = ["#2a7f62" if value <= 1 else "#c0562f" for value in values]
    axes.barh(names, values, color=colours, height=0.65)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("multiple of the goal (the line): shorter is better")
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (value, place), (3, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    return figure


def _draw_growth(all_series: Sequence[Series]) -> Any:
    """Draw cost over the number of Spaces, with a line of what is linear."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    if not all_series:
        return None
    figure, panels = plt.subplots(1, 2, figsize=(9, 5), layout="constrained")
    for axes, unit, label in zip(
        panels,
        ("CPU s", "MiB"),
        ("CPU seconds", "MiB more than 10 Spaces take"),
        strict=True,
    ):
        shown = [series for series in all_series if series.unit == unit]
        for series in shown:
            sizes, values = zip(*_shown_points(series), strict=True)
            slope = f"{series.slope:.2f}" if series.slope else "flat"
            axes.plot(
                sizes, values, marker="o", markersize=3, linewidth=1.2,
                label=f"{series.what.replace('`', '')} ({slope})",
            )  # fmt: skip
        if unit == "CPU s" and shown:
            ends = [shown[0].points[0][0], max(size for size, _ in shown[0].points)]
            axes.plot(
                ends, [end * 1e-4 for end in ends], color="grey", linestyle=":",
                label="linear: 100 µs each",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xlabel("Spaces")
        axes.set_ylabel(label)
        if shown:
            axes.legend(
                fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1)
            )
    return figure


def _shown_points(series: Series) -> list[tuple[int, float]]:
    """Return the points of a line; those of memory without what a program takes anyway."""
    if series.unit != "MiB":
        return series.points
    start = series.points[0][1]
    return [(size, max(value - start, 0.1)) for size, value in series.points[1:]]
