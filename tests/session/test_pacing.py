"""The quota in the large: how close to the best schedule, and how many refusals.

The real client and the embedded Hub under a loop with virtual time: 500 calls in 300
seconds, 2,000 calls to do, 64 at the same time, 0.14 to 0.37 seconds for each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import pytest

from tests.support.pacing import Load, measure, seeded

SOAK = bool(os.environ.get("SOAK"))
SEEDS = range(5) if SOAK else range(1)
PROGRAMS = [2, 3, 4, 8] if SOAK else [4]
STARTS: list[tuple[float, Literal["ceil", "floor"], int]] = [
    (300.0, "ceil", 0),
    (123.0, "floor", 450),
    (0.5, "floor", 0),
]
if SOAK:
    STARTS = [
        (reset, round_t, used)
        for reset in (300.0, 299.5, 240.0, 123.0, 60.0, 17.3, 5.0, 1.0, 0.5, 0.05)
        for round_t in get_args(Literal["ceil", "floor"])
        for used in (0, 1, 450, 500)
    ]

pytestmark = pytest.mark.timeout(600 if SOAK else 120)


@pytest.mark.parametrize(("reset", "round_t", "used"), STARTS)
def test_alone(reset: float, round_t: Literal["ceil", "floor"], used: int) -> None:
    """Every window is used up, no call is refused, and hardly a moment is lost.

    Compared with 64 workers who know each window to the instant, and, where the first
    window is long enough to be used up at all, with a Hub that answers everything in
    one instant.
    """
    load = Load(reset=reset, round_t=round_t, used=used)
    result = seeded(load)
    assert result.failed == 0
    # A program that finds the window used up is refused once, unless it just ended.
    assert result.refused <= (1 if used == load.quota else 0)
    assert sum(result.served.values()) == load.calls
    assert result.ratio_of_workers <= 1.005
    if reset >= 60.0:
        assert result.ratio <= 1.005


@pytest.mark.parametrize("calls", [2000, 1800] if SOAK else [2000])
@pytest.mark.parametrize("programs", PROGRAMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_programs_that_are_greedy(seed: int, programs: int, calls: int) -> None:
    """Of the programs that try for the last call of a window, all but one are refused.

    Without coordination that is the least, if each window is to be used up.
    """
    result = seeded(Load(programs=programs, calls=calls, seed=seed))
    assert result.failed == 0
    assert max(result.refused_by_window.values()) <= programs - 1
    assert result.ratio <= 1.03


@pytest.mark.parametrize("programs", PROGRAMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_programs_that_are_strict(seed: int, programs: int) -> None:
    """A program that leaves the last calls of each window alone is never refused.

    Few are left, fewer than four by each program in each of the four windows; they go
    out in one window more.
    """
    result = seeded(Load(programs=programs, sharing="strict", seed=seed))
    assert result.failed == 0
    assert result.refused == 0
    assert len(result.served) == 5
    assert result.served[4] < 4 * 4 * programs


@pytest.mark.parametrize("programs", [2, 4, 8] if SOAK else [2])
def test_a_ledger(tmp_path: Path, programs: int) -> None:
    """Programs that share a ledger are not refused and lose next to nothing."""
    load = Load(programs=programs, concurrency=16, ledger=tmp_path / "ledger")
    result = seeded(load)
    assert result.failed == 0
    assert result.refused == 0
    assert result.ratio <= 1.01


async def test_in_real_time() -> None:
    """No refusal by the real clock either, when windows follow each other."""
    # Shorter windows could not be told apart: `t` is in whole seconds.
    load = Load(calls=150, quota=100, window=5.0, reset=5.0, round_t="floor")
    result = await measure(load)
    assert result.failed == 0
    assert result.refused == 0
    assert sum(result.served.values()) == load.calls
