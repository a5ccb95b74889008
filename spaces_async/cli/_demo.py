"""The tour of `demo`: the main job on a Hub in this process, step by step."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from spaces_async.bulk import BulkReport, Healthy, Selection, operations
from spaces_async.cli._demo_day import walk as walk_a_day
from spaces_async.cli._errors import reason
from spaces_async.cli._output import make_table, plural, stage_text
from spaces_async.cli._progress import ProgressDisplay
from spaces_async.cli._targets import names, stage_counts
from spaces_async.client import SpacesClient
from spaces_async.models import STAGE_GROUPS, SpaceInfo, SpaceStage
from spaces_async.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from rich.table import Table

    from spaces_async.cli._app import App
    from spaces_async.cli._output import Cell
    from spaces_async.testing import FakeHub

__all__ = ["Tour", "online"]

_ORG: Final = "acme"
_SPACE_COUNT: Final = 200
_QUOTA_CALLS: Final = 2500
"""That of a PRO account. The tour takes some 700, and more on a slow machine, where its
waits look more often."""
_QUOTA_SECONDS: Final = 300.0
_BUILD_SECONDS: Final = 1.0
"""On huggingface.co a build takes minutes."""
_START_SECONDS: Final = 0.5
_CONCURRENCY: Final = 8
_WAIT_SECONDS: Final = 60.0
_CLOSING_TEXT: Final = """\
The same on huggingface.co, with a token that may write to your Spaces
(https://huggingface.co/settings/tokens):

  export HF_TOKEN=hf_...
  spaces-async status --org YOUR_ORG
  spaces-async restart --org YOUR_ORG --stage failed --wait

Add --dry-run to see what would be sent. For Python see README.md and examples/."""


@contextmanager
def online() -> Generator[None]:
    """Let the client talk to this process even where HF_HUB_OFFLINE is set."""
    offline = os.environ.pop("HF_HUB_OFFLINE", None)
    try:
        yield
    finally:
        if offline is not None:
            os.environ["HF_HUB_OFFLINE"] = offline


class Tour:
    """The tour. All of it but progress is on stdout, since it is the result."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._output = app.output

    async def run(self) -> None:
        # Only the demo needs FakeHub, which makes the start of the shell slower.
        from spaces_async.testing import FakeHub, Quota, seed_org

        async with FakeHub(
            quota=Quota(_QUOTA_CALLS, _QUOTA_SECONDS),
            build_seconds=_BUILD_SECONDS,
            start_seconds=_START_SECONDS,
        ) as hub:
            seed_org(hub, _ORG, _SPACE_COUNT)
            self.say(
                f"A Hub like huggingface.co now runs inside this process, at {hub.url}:"
                f" {_SPACE_COUNT} Spaces of the org {_ORG!r}, {_QUOTA_CALLS} calls per"
                f" {_QUOTA_SECONDS / 60:.0f} minutes, no token, no network."
            )
            self.say(
                "Each step names the command that does the same, and prints what matters"
                " of it; the command itself prints more, and asks."
            )
            # Nothing from the environment: neither token, endpoint nor proxy.
            async with SpacesClient(
                token=hub.token,
                endpoint=hub.url,
                settings=ClientSettings(reserve=0, trust_env=False),
            ) as client:
                await self._walk(hub, client)
        self.say()
        self.say(_CLOSING_TEXT)

    async def _walk(self, hub: FakeHub, client: SpacesClient) -> None:
        clock = client.clock
        started = clock.monotonic()
        self.step("1. Look at the org", f"status --org {_ORG} --summary")
        before = await self._list(client)
        asked = len(hub.requests)
        self.table(
            ["Stage", "Spaces", "kind"],
            [(stage_text(s), str(n), _kind(s)) for s, n in stage_counts(before)],
        )
        self.say(f"That took {plural(asked, 'call')} for {plural(len(before))}.")

        failed = [info for info in before if info.stage and info.stage.is_failed]
        self.step(
            f"2. Restart the {len(failed)} that have failed, and wait until they run",
            f"restart --org {_ORG} --stage failed --wait",
        )
        self.say(f"{names(failed)}")
        ids = [info.id for info in failed]
        restarted = await self._restart(client, ids)
        self.say(f"{restarted.summary()} in {restarted.elapsed:.1f} s")
        if failing := len(restarted.failed):
            self.say(
                f"The tour lets {failing} fail again, to show what that looks like."
            )

        self.step("3. Compare")
        self._show_restarted(failed, restarted)
        after = await self._list(client)
        self.say()
        self._compare(before, after)

        await walk_a_day(self, hub, client, _ORG)
        self.say()
        self.say(
            f"Done in {clock.monotonic() - started:.1f} s with"
            f" {plural(len(hub.requests), 'call')};"
            f" {hub.remaining()} of {_QUOTA_CALLS} are left in this window."
        )

    async def _list(self, client: SpacesClient) -> list[SpaceInfo]:
        return [info async for info in Selection(author=_ORG).resolve(client)]

    async def _restart(self, client: SpacesClient, ids: list[str]) -> BulkReport[Any]:
        with ProgressDisplay(self._app, "Restart and wait", len(ids)) as display:
            stream = client.bulk.stream(
                operations.restart(),
                ids,
                concurrency=_CONCURRENCY,
                healthy=Healthy(timeout=_WAIT_SECONDS),
            )
            display.waiting = lambda: stream.checking
            async with stream as outcomes:
                async for outcome in outcomes:
                    display.add_outcome(outcome)
        return stream.report

    def _show_restarted(self, failed: list[SpaceInfo], report: BulkReport[Any]) -> None:
        rows: list[tuple[Cell, ...]] = []
        for info, outcome in zip(failed, report, strict=True):
            now = Text("RUNNING", style="green")
            if outcome.error is not None:
                now = Text(reason(outcome.error), style="red")
            rows.append((info.id, stage_text(info.stage), now))
        self.table(["Space", "before", "now"], rows)

    def _compare(self, before: list[SpaceInfo], after: list[SpaceInfo]) -> None:
        then, now = (Counter(i.stage for i in infos) for infos in (before, after))
        stages = sorted({*then, *now} - {None}, key=lambda s: (-now[s], str(s)))
        self.table(
            ["Stage", "before", "now"],
            [(stage_text(s), str(then[s]), str(now[s])) for s in stages],
        )

    def step(self, title: str, command: str = "") -> None:
        """Begin a step, with the command that does the same."""
        self.say()
        self._print(Text(title, style="bold"))
        if command:
            # The terminal wraps it, so that it can be copied.
            line = Text(f"$ spaces-async {command}", style="dim")
            self._print(line, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line."""
        self._print(Text(text))

    def _print(self, what: Text | Table, *, soft_wrap: bool = False) -> None:
        self._output.out.print(what, soft_wrap=soft_wrap)
        # Flushed for a pipe too, so that its reader sees each step in time.
        sys.stdout.flush()

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Print a table, its last column wrapped at words."""
        self._print(make_table(titles, rows, whole=True))


def _kind(stage: SpaceStage) -> str:
    for word in ("failed", "idle", "building", "running"):
        if stage in STAGE_GROUPS[word]:
            return word
    return ""
