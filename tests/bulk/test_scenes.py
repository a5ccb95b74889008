"""Random scenes: what the client says is compared with what the Hub did.

`SCENE_SEED=123 python -m pytest tests/bulk/test_scenes.py` plays one scene again, and
`SOAK=1` plays thousands.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.scenes import BulkScene, SingleScene, begin
from tests.support.virtual import play

pytestmark = pytest.mark.unmeasured

SEED: Final = os.environ.get("SCENE_SEED")
SOAK: Final = bool(os.environ.get("SOAK"))
PARTS: Final = 1 if SEED else 500 if SOAK else 10
BULKS: Final = 20
SINGLES: Final = 40 if SOAK else 10
EAGER: Final = [False, True] if sys.version_info >= (3, 12) else [False]


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """The scenes are full of warnings."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def seeds(part: int, count: int) -> list[int]:
    """Return the seeds of a part, or the one that was asked for."""
    if SEED:
        return [int(SEED)]
    return list(range(part * count, (part + 1) * count))


def fail_if_any(problems: dict[int, list[str]]) -> None:
    lines = [
        f"SCENE_SEED={seed}: {problem}"
        for seed, found in problems.items()
        for problem in found
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("eager", EAGER, ids=lambda eager: "eager" if eager else "")
@pytest.mark.parametrize("part", range(PARTS))
def test_bulks(
    part: int, eager: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bulk does twice what it must not, nor says what is not so."""
    problems: dict[int, list[str]] = {}
    for seed in seeds(part, BULKS):

        async def scene(seed: int = seed) -> None:
            begin(eager=eager)
            problems[seed] = await BulkScene(seed, tmp_path).play()

        play(monkeypatch, scene)
    fail_if_any(problems)


@pytest.mark.parametrize("part", range(PARTS))
def test_single_calls(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No single call does twice what it must not, nor says what is not so."""
    problems: dict[int, list[str]] = {}
    for seed in seeds(part, SINGLES):

        async def scene(seed: int = seed) -> None:
            begin(eager=False)
            problems[seed] = await SingleScene(seed).play()

        play(monkeypatch, scene)
    fail_if_any(problems)
