"""`status`: read the Spaces, then show them, once or again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from spaces_async._costs import Prices
from spaces_async._record import plain
from spaces_async.cli._app import App
from spaces_async.cli._output import sleep_seconds, stage_text
from spaces_async.cli._read import read_infos
from spaces_async.cli._status import (
    StatusView,
    layout_of,
    read_prices,
    sorted_spaces,
    totals,
)
from spaces_async.cli._tables import csv_table
from spaces_async.cli._targets import Targets, stage_counts
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient

__all__ = ["StatusCommand", "json_data"]


@define
class StatusCommand:
    """One run of `status`.

    Attributes:
        app: The run.
        targets: The Spaces.
        sort: The order of the rows.
        form: "table", "wide", "csv" or "json"; None is what fits.
        columns: The columns that were named; empty for the usual ones.
        concurrency: How many Spaces to read at the same time.
    """

    app: App
    targets: Targets
    sort: str = "stage"
    form: str | None = None
    columns: Sequence[str] = ()
    concurrency: int = field(default=16, kw_only=True)
    _prices: Prices | None = field(default=None, init=False)

    def show(self) -> int:
        """Show the Spaces, and return the exit code."""
        output = self.app.output
        spaces, code = self._read(priced=self._is_priced)
        view = self._view()
        spaces = sorted_spaces(spaces, self.sort, view.rate)
        if output.json:
            output.document([self._json(view, info) for info in spaces])
        elif self.form == "csv":
            self._write_csv(view, spaces)
        else:
            output.rows(
                view.titles,
                [view.row(info) for info in spaces],
                spare=view.spare,
                tight=view.tight,
                whole=view.layout.names[-1] == "error",
                wide=self.form == "wide",
            )
        if spaces and not output.json and not output.quiet:
            output.say(totals(spaces, view.rate))
        return code

    def show_summary(self) -> int:
        """Show how many are in each stage, and return the exit code."""
        output = self.app.output
        spaces, code = self._read(priced=False)
        counts = stage_counts(spaces)
        if output.json:
            output.document({str(stage): count for stage, count in counts})
        else:
            rows = [(stage_text(stage), str(count)) for stage, count in counts]
            output.rows(["Stage", "Spaces"], rows)
        return code

    def watch(self, every: float) -> int:
        """Show the Spaces again and again, and return the exit code."""
        from spaces_async.cli._watch import watch

        return watch(self.app, self.targets, self._view(), self.sort, every)

    @property
    def _is_priced(self) -> bool:
        output = self.app.output
        if self.sort == "rate" or "rate" in self.columns:
            return True
        return not output.json and (not output.quiet or output.table_out)

    def _view(self) -> StatusView:
        output = self.app.output
        wide = self.form in {"wide", "csv"}
        layout = layout_of(self.columns, wide=wide, people=output.table_out)
        return StatusView(layout, self._prices)

    def _read(self, *, priced: bool) -> tuple[list[SpaceInfo], int]:
        async def price(client: SpacesClient, infos: list[SpaceInfo]) -> None:
            self._prices = await read_prices(self.app.output, client, infos)

        return read_infos(
            self.app,
            self.targets,
            self.concurrency,
            read_info,
            price if priced else None,
        )

    def _json(self, view: StatusView, info: SpaceInfo) -> dict[str, Any]:
        data = json_data(info)
        if view.prices is not None:
            data["usd_per_hour"] = plain(view.rate(info))
        return data

    def _write_csv(self, view: StatusView, spaces: Sequence[SpaceInfo]) -> None:
        rows = (map(str, view.row(info)) for info in spaces)
        for line in csv_table(view.layout.names, rows).splitlines():
            self.app.output.line(line)


async def read_info(client: SpacesClient, repo_id: str) -> SpaceInfo:
    """Read what the table shows of one Space."""
    runtime = await client.lifecycle.get_runtime(repo_id)
    return SpaceInfo(repo_id, sdk=runtime.sdk, runtime=runtime)


def json_data(info: SpaceInfo) -> dict[str, Any]:
    """Return what `list` and `status` tell of a Space in JSON."""
    runtime = info.runtime
    return {
        "id": info.id,
        "stage": info.stage,
        "sdk": info.sdk,
        "private": info.private,
        "hardware": runtime and runtime.hardware,
        "requested_hardware": runtime and runtime.requested_hardware,
        "sleep_time": sleep_seconds(runtime),
        "error_message": runtime and runtime.error_message,
    }
