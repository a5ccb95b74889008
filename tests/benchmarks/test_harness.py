"""The arithmetic of the benchmarks: a wrong table would say that all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import instructions, report
from tests.benchmarks.harness import (
    Costs,
    Figure,
    Goal,
    Results,
    Row,
    Sample,
    Series,
    Shares,
    Times,
    from_json,
    interleave,
    to_json,
)

MACHINE = {
    "date": "2026-01-01",
    "commit": "1234567",
    "cpu": "a CPU",
    "cores": 2,
    "load": [0.5, 1.5],
    "system": "Linux x86_64",
    "python": "CPython 3.11.7",
    "versions": {"aiohttp": "3.14.5", "orjson": None},
}


def a_row(median: float, goal: Goal | None = None, key: str = "a.row") -> Row:
    figures = {"CPU": Figure(median, median, median), "wall": Figure(9.0, 9.0, 9.0)}
    return Row(key, f"`{key}`", "times", "CPU", figures, goal)


def some_results() -> Results:
    return Results(
        rows=[a_row(1.5, Goal(1.15), "met.not"), a_row(0.5, key="without.goal")],
        costs=[Costs("a call", {"ours": {"CPU": Figure(1, 1, 1), "wall": Figure(2, 1, 3)}})],
        growth=[Series("calls", "CPU s", [(10, 0.1), (1000, 10.0)])],
        shares=[Shares("a call", "ours", {"a room": 1.5, "another": 0.25})],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(1.15), 1.15, True),
        (Goal(1.15), 1.16, False),
        (Goal(1.012), 1.01204, True),
        (Goal(1.012), 1.01206, False),
        (Goal(4.0, "at least"), 4.0, True),
        (Goal(4.0, "at least"), 3.9, False),
        (None, 1.0, None),
    ],
)
def test_a_goal_is_a_bound(goal: Goal | None, value: float, met: bool | None) -> None:
    """The bound itself is met; without a goal there is nothing to meet."""
    assert a_row(value, goal).is_met is met


def test_a_ratio_is_taken_in_each_round() -> None:
    """A round that was slow for both says the same as one that was fast for both."""
    ours = [Sample(2.0, 3.0), Sample(20.0, 30.0), Sample(4.0, 6.0)]
    base = [Sample(1.0, 1.0), Sample(10.0, 10.0), Sample(2.0, 2.0)]
    ratio = Times("work", {"ours": ours, "base": base}).ratio("ours", "base")
    assert ratio == {"CPU": Figure(2.0, 2.0, 2.0), "wall": Figure(3.0, 3.0, 3.0)}


def test_a_figure_has_its_quartiles() -> None:
    """One outlier moves neither the median nor the quartiles."""
    assert Figure.of([1.0, 2.0, 3.0, 4.0, 1000.0]) == Figure(3.0, 2.0, 4.0)


def test_contestants_work_by_turns() -> None:
    """All warm up once; then the order of each round is the reverse of the last one's."""
    order: list[str] = []
    contestants = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = interleave("work", contestants, rounds=2, units=1)
    assert "".join(order) == "ababba"
    assert {name: len(samples) for name, samples in times.samples.items()} == {
        "a": 2,
        "b": 2,
    }


@pytest.mark.parametrize(
    ("points", "slope", "met"),
    [
        ([(10, 5.0), (1000, 1.0), (100_000, 100.0)], 1.0, True),
        ([(10, 0.1), (1000, 1.0), (100_000, 10_000.0)], 2.0, False),
        ([(10, 1.0), (100, 1.0)], 0.0, True),
        ([(1000, 1.0), (100_000, 100**1.104)], 1.104, True),
        ([(1000, 1.0), (100_000, 100**1.106)], 1.106, False),
        ([(100_000, 1.0), (1_000_000, 10**1.074)], 1.074, True),
        ([(100_000, 1.0), (1_000_000, 10**1.076)], 1.076, False),
    ],
)
def test_the_slope_is_that_of_the_large_sizes(
    points: list[tuple[int, float]], slope: float, met: bool
) -> None:
    """What is fixed, and shows at small sizes only, hides nothing."""
    series = Series("work", "CPU s", points)
    assert series.slope == pytest.approx(slope)
    assert series.is_met is met


def test_memory_grows_from_what_a_program_takes_anyway() -> None:
    """60 MiB of Python are no reason to call 100 times as much for 100 times flat."""
    linear = Series("memory", "MiB", [(10, 60.0), (1000, 63.0), (100_000, 360.0)], 2.0)
    assert linear.slope == pytest.approx(1.0)
    flat = Series("memory", "MiB", [(10, 60.0), (1000, 60.5), (100_000, 61.5)], 2.0)
    assert flat.slope == 0.0


def test_results_survive_json() -> None:
    """What a child measured is what its parent shows."""
    results = some_results()
    data = json.loads(json.dumps(to_json(results)))
    assert from_json(data) == results
    assert [row["met"] for row in data["rows"]] == [False, None]
    assert data["growth"][0]["slope"] == 1.0


def test_the_page_gets_its_figures(tmp_path: Path) -> None:
    """Each generated part of the page is replaced, and nothing else of it."""
    page, *_ = report.write_page(tmp_path, MACHINE, some_results())
    text = page.read_text("utf-8")
    assert "0 of 1 goals are met" in text
    assert "| `met.not` | times | 1.5000 CPU, 9.00 wall | <= 1.15 | no |" in text
    assert "| calls | 100.0 ms | 10.00 s | 1.00 | yes |" in text
    assert "| a call | ours | 1.5 | 0.2 | 1.8 |" in text
    assert "no orjson" in text
    kept = report.PAGE.read_text("utf-8")
    assert text.splitlines()[0] == kept.splitlines()[0]
    assert text.splitlines()[-1] == kept.splitlines()[-1]
    shown = report.for_terminal(MACHINE, some_results())
    assert "0 of 1 goals are met" in shown
    assert "without.goal" in shown


def test_what_is_told_in_short() -> None:
    """A sentence is told if each of its figures was measured."""
    assert report.in_short([a_row(0.0625, key="start.help")]) == ""
    said = report.in_short([a_row(0.0625, key="start.import")])
    assert said.startswith("- The import takes 0.0625 times as long as")


COMMITTED = {
    "build": "3.11.7, GCC",
    "versions": {"aiohttp": "3.14.5"},
    "counts": {"restart": 1000, "bulk of 200": 1000},
}


@pytest.mark.parametrize(
    ("counted", "failed"), [(1000, False), (1100, False), (1101, True), (500, False)]
)
def test_a_tenth_more_instructions_fail(counted: int, failed: bool) -> None:
    """More than 1.10 of one committed figure fails, and says how to commit to it."""
    counts = {"restart": 1000, "bulk of 200": counted}
    versions = {"aiohttp": "3.14.5"}
    lines, said = instructions.compare(counts, COMMITTED, "3.11.7, GCC", versions)
    assert said is failed
    assert ("--update" in lines[-1]) is (failed or counted == 500)


def test_another_build_is_not_compared() -> None:
    """The instructions of another compiler say nothing; other versions are named."""
    counts = {"restart": 5000, "bulk of 200": 5000}
    lines, failed = instructions.compare(counts, COMMITTED, "3.11.7, Clang", {})
    assert not failed
    assert "another build" in lines[-1]
    lines, failed = instructions.compare(
        counts, COMMITTED, "3.11.7, GCC", {"aiohttp": "3.15.0"}
    )
    assert failed
    assert any("aiohttp 3.14.5 -> 3.15.0" in line for line in lines)


def test_a_python_without_figures_passes() -> None:
    """A new Python is no failure: it says how its figures are committed."""
    lines, failed = instructions.compare({"restart": 1}, None, "3.15.0", {})
    assert not failed
    assert "--update" in lines[-1]
