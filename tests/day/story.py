"""The day of the page: what is said, typed and changed, in this order.

`docs/day.md`, its pictures and the tests are made from this list and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from spaces_async.testing import FakeHub

ORG: Final = "acme"
CANARY: Final = "acme/avatar-demo"
_USED: Final = {"cpu_usage_pct": 23.5, "rx_bps": 5200, "tx_bps": 81000}
_UNUSED: Final = {"cpu_usage_pct": 0.1, "rx_bps": 0, "tx_bps": 0}
_TOO_OLD: Final = "Exit code: 1. Reason: ValueError: unknown model type 'acme-v2'"
_HOURS_BILLED: Final = 8 * 24 + 9
"""The month so far, when the day begins."""


@frozen
class Say:
    """What the page says, in Markdown."""

    text: str


@frozen
class At:
    """The time until which nothing happens."""

    time: datetime


@frozen
class Happens:
    """What happens on the Hub meanwhile."""

    change: Callable[[FakeHub], None]


@frozen
class Screen:
    """What is typed, and shown as one block or picture.

    Attributes:
        name: What the tests call it; with `picture`, also the name of its file.
        commands: Each line that is typed, and the answer to its question, if it asks.
        picture: The text in place of the picture; None shows the output as text.
        code: The exit code of each.
    """

    name: str
    commands: tuple[tuple[str, str | None], ...]
    picture: str | None = None
    code: int = 0


def fill(hub: FakeHub) -> None:
    """Fill the org: some run, two failed, one sleeps, one is paused on purpose."""
    hub.add_org(ORG, members={"tester": "admin"})

    def add(name: str, flavor: str = "cpu-basic", **options: object) -> None:
        given: dict[str, object] = {"hardware": flavor, "load": _USED, **options}
        hub.add_space(f"{ORG}/{name}", **given)  # type: ignore[arg-type]

    add("avatar-demo", trending_score=9)
    add("captions-demo", "t4-small", load=_UNUSED, trending_score=8)
    add("chat-demo", "t4-small", trending_score=7)
    add("depth-demo", trending_score=6)
    add("vision-demo", "t4-small", trending_score=5)
    add("docs", sdk="static")
    add(
        *("music-demo", "t4-small"),
        stage="RUNTIME_ERROR",
        error_message="CUDA out of memory. Tried to allocate 20.00 GiB",
    )
    add("ocr-demo", "t4-small", stage="SLEEPING", sleep_time=3600)
    add("old-demo", "t4-small", stage="PAUSED")
    add("prod-chat", "a10g-large")
    add("prod-search", "cpu-upgrade")
    add("speech-demo", stage="BUILD_ERROR", error_message="pip: connection reset")
    add("tables-lab", "l4x1", load=_UNUSED)
    for space in hub.spaces.values():
        if space.stage == "RUNNING" and space.hardware not in {None, "cpu-basic"}:
            hub.add_use(space.id, 60 * _HOURS_BILLED, flavor=space.hardware)


def _break_canary(hub: FakeHub) -> None:
    hub.space(CANARY).failure_message = _TOO_OLD
    hub.space(CANARY).fails_with = "RUNTIME_ERROR"


def _mend_canary(hub: FakeHub) -> None:
    hub.space(CANARY).fails_with = None


def _on(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


START: Final = _on(9, 9)
_DEMOS: Final = "--org acme --stage running --match '*-demo'"

STORY: Final[tuple[Say | At | Happens | Screen, ...]] = (
    Say(
        """\
# A day with an org

One org, one day: look, plan, roll out, pause at night, undo in the morning, and see what it
cost. Each command has run against the embedded Hub, and what you see is what it printed.

Whatever asks `[y/N]` shows the price first, and does nothing without a `y`. In a script `--yes`
answers.

## Look

What runs, what has failed, and what it costs now. What has failed comes first."""
    ),
    Screen(
        "day-look",
        (
            ("spaces-async status --org acme", None),
            ("spaces-async restart --org acme --stage failed --wait", "y"),
        ),
        "A table of 13 Spaces: two have failed, nine run. Both are restarted, and run.",
    ),
    Say(
        """\
With `--wait` the command ends when they run again. [Looking at an org](looking.md) has `--watch`,
columns and reports.

## Choose and plan

A new version of a model is out, and the demos load it when they start. So all demos that run need
a restart. `list` shows which ones these are; in a pipe it writes their ids."""
    ),
    At(_on(9, 10)),
    Screen("day-choose", ((f"spaces-async list {_DEMOS}", None),)),
    Say(
        """\
[Selections](selection.md) has all conditions. With `--dry-run` any command prints its plan and
sends nothing:"""
    ),
    Screen("day-plan", ((f"spaces-async restart {_DEMOS} --dry-run", None),)),
    Say(
        """\
## Roll out in waves

One canary first, then up to three in all, then the rest. Each wave has to run again before the
next one begins."""
    ),
    Happens(_break_canary),
    Screen(
        "day-halt",
        ((f"spaces-async restart {_DEMOS} \\\n    --waves 1,3,100%", "y"),),
        "The first Space fails after its restart, with the end of its log. Six are not"
        " attempted.",
        code=1,
    ),
    Say(
        """\
The canary failed, and the other six still run as before. The end of its log says why: its app is
too old for the new version. Its author pushes a fix. Then `retry-failed` does what failed, and
`resume` goes on with the rest."""
    ),
    Happens(_mend_canary),
    At(_on(9, 10, 20)),
    Screen(
        "day-retry",
        (
            ("spaces-async retry-failed --last --waves 1", None),
            ("spaces-async resume --last --waves 3,100%", None),
        ),
    ),
    Say("[Plan, roll out, bring back](rollout.md) says what counts as healthy."),
    Say(
        """\
## Pause for the night

What runs, but for production. The question says what it saves."""
    ),
    At(_on(9, 20)),
    Screen(
        "day-pause",
        (("spaces-async pause --org acme --stage running --exclude 'prod-*'", "y"),),
        "Eight Spaces are paused, which saves $2.40/h. A static one is skipped.",
    ),
    Say("""Each command that writes keeps a journal. `runs` lists what was done:"""),
    Screen("day-runs", (("spaces-async runs", None),)),
    Say(
        """\
## Undo in the morning

`undo` brings back what that run changed, and nothing else. What slept or was paused on purpose is
as it was."""
    ),
    At(_on(10, 7)),
    Screen(
        "day-undo",
        (("spaces-async undo --last", "y"),),
        "The plan restarts the eight Spaces that ran, which costs $2.40/h.",
    ),
    Say(
        """\
[Recipes](recipes.md#pause-at-night-undo-in-the-morning) has both for cron.

## See what it costs

Per hour, this month by the bill, and what is paid for and not used now."""
    ),
    At(_on(10, 9)),
    Screen(
        "day-costs",
        (("spaces-async costs --org acme", None),),
        "A table of rates and of this month's cost. Two Spaces are unused.",
    ),
    Say("`sweep` pauses what is unused:"),
    Screen("day-sweep", (("spaces-async sweep --org acme", "y"),)),
)
