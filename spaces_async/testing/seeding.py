"""An organization full of Spaces, for demos and benchmarks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from spaces_async.models import SpaceStage

if TYPE_CHECKING:
    from spaces_async.testing.hub import FakeHub
    from spaces_async.testing.space import FakeSpace

__all__ = ["seed_org"]

_WORDS = (
    "chat", "vision", "speech", "search", "music", "maps", "ocr", "agent", "code",
    "translate", "summary", "avatar", "depth", "captions", "tables", "genome",
)  # fmt: skip
_KINDS = ("demo", "studio", "arena", "lab", "board", "api")
_ERRORS = {
    SpaceStage.RUNTIME_ERROR: "Exit code: 1. Reason: CUDA out of memory",
    SpaceStage.BUILD_ERROR: "Build failed with exit code: 1",
}
_UNUSED = {"cpu_usage_pct": 0.1, "rx_bps": 0, "tx_bps": 0}
_USED = {"cpu_usage_pct": 23.5, "rx_bps": 5200, "tx_bps": 81000}
_ONE_IN_FIVE = (True, False, False, False, False)
_ONE_FAILED_IN = 16
_ONE_FAILS_AGAIN_IN = 5  # of the failed ones


_LOGS = {
    SpaceStage.RUNNING: (
        "Running on local URL:  http://0.0.0.0:7860",
        'INFO:     10.16.3.7:0 - "GET / HTTP/1.1" 200 OK',
    ),
    SpaceStage.RUNTIME_ERROR: (
        "Traceback (most recent call last):",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
    ),
}
"""The last lines of a log by stage."""


def seed_org(
    hub: FakeHub,
    org: str = "acme",
    count: int = 200,
    *,
    seed: int = 0,
    user: str = "tester",
) -> list[FakeSpace]:
    """Fill an organization with Spaces. Equal arguments give equal Spaces.

    Of 200 Spaces, twelve have failed, and two of those fail again after a restart. Most
    of the others are running; some are sleeping, paused or building, and a few are
    static. A fourth of them are not used, by their metrics, and what is paid for has
    run since some days ago, by the bill.

    Args:
        hub: The Hub.
        org: The organization; created if it does not exist.
        count: Number of Spaces.
        seed: Seed of the random choices.
        user: A user that becomes an admin of the organization.

    Returns:
        The Spaces in the order of their creation.
    """
    hub.add_org(org, {user: "admin"})
    dice = random.Random(seed)  # noqa: S311 - only has to be the same in every run
    stages = _stages(count, dice)
    broken = 0
    spaces: list[FakeSpace] = []
    for index, stage in enumerate(stages):
        word, kind = dice.choice(_WORDS), dice.choice(_KINDS)
        sdk = dice.choices(("gradio", "docker"), (4, 1))[0]
        if stage is SpaceStage.RUNNING and index % 23 == 0:
            sdk = "static"
        hardware = dice.choices(
            ("cpu-basic", "cpu-upgrade", "t4-small", "a10g-small"), (6, 2, 1, 1)
        )[0]
        fails_with = None
        if stage in _ERRORS:
            broken += 1
            fails_with = stage if broken % _ONE_FAILS_AGAIN_IN == 0 else None
        space = hub.add_space(
            f"{org}/{word}-{kind}-{index:03d}",
            sdk=sdk,
            stage=stage,
            hardware=hardware,
            private=dice.choice(_ONE_IN_FIVE),
            likes=int(dice.expovariate(0.05)),
            trending_score=dice.randrange(20),
            variables={"MODEL_ID": f"{org}/{word}"}
            if dice.choice((True, False))
            else None,
            sleep_time=None if hardware == "cpu-basic" else 3600 * dice.randint(1, 48),
            fails_with=fails_with,
            error_message=_ERRORS.get(stage),
            load=_UNUSED if index % 4 == 0 else _USED,
        )
        if stage is SpaceStage.RUNNING and sdk != "static" and hardware != "cpu-basic":
            hours = 1 + index % 90
            hub.add_use(space.id, hours * 60, flavor=hardware)
        if stage is SpaceStage.BUILDING:
            space.build(fresh=True)
        elif sdk != "static":
            for line in _LOGS.get(stage, ()):
                space.log(line)
        spaces.append(space)
    return spaces


def _stages(count: int, dice: random.Random) -> list[SpaceStage]:
    """Return `count` stages in random order, with a fixed share of failed ones."""
    failed = count // _ONE_FAILED_IN
    mix = [
        *[SpaceStage.RUNTIME_ERROR] * (failed - failed // 3),
        *[SpaceStage.BUILD_ERROR] * (failed // 3),
        *[SpaceStage.SLEEPING] * (count // 10),
        *[SpaceStage.PAUSED] * (count // 12),
        *[SpaceStage.BUILDING] * (count // 50),
    ]
    mix += [SpaceStage.RUNNING] * (count - len(mix))
    dice.shuffle(mix)
    return mix
