"""The Hub: `search`, `templates`, `flavors`, `quota`, `rate-limit`, `whoami` and `demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.cli._command import Section, pass_app
from spaces_async.cli._details import (
    account_details,
    quota_details,
    rate_limit_details,
    resets_at,
)
from spaces_async.cli._output import stage_text
from spaces_async.cli._values import split

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from spaces_async.cli._app import App
    from spaces_async.cli._output import Cell
    from spaces_async.client import SpacesClient
    from spaces_async.records import (
        Account,
        HardwareFlavor,
        RateLimit,
        SpaceSearchResult,
        SpaceTemplate,
        ZeroGpuQuota,
    )

__all__ = ["section"]

section: Final = Section()


@section.command(
    "search",
    "spaces-async search remove the background of a photo",
    "spaces-async search chat --sdk gradio --all --limit 5",
)
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--sdk",
    multiple=True,
    metavar="SDK",
    help="Only those with this SDK; repeat for more.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Only those with this tag; repeat for more.",
)
@click.option(
    "--category",
    metavar="NAME",
    help="Only those of this category, such as 'Image Generation'.",
)
@click.option("--all", "idle", is_flag=True, help="Include those that do not run.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), metavar="N", help="Only the N best."
)
@pass_app
def search(
    app: App,
    /,
    *,
    words: tuple[str, ...],
    sdk: tuple[str, ...],
    tags: tuple[str, ...],
    category: str | None,
    idle: bool,
    limit: int | None,
) -> int:
    """Search the Hub for Spaces by what they do, the best first.

    In a pipe the columns are: id, stage, SDK, likes, what it does.
    """
    from spaces_async.cli._targets import sdks_of

    text, kinds = " ".join(words), sdks_of(sdk)

    async def work(client: SpacesClient) -> list[SpaceSearchResult]:
        return await client.catalog.search_spaces(
            text,
            filter=split(tags),
            sdk=kinds,
            category=category,
            include_non_running=idle,
        )

    found = app.run(work)[:limit]
    output = app.output
    if output.json:
        output.document([result.raw for result in found])
        return 0
    titles = ["Space", "stage", "sdk", "likes", "what it does"]
    output.rows(titles, [_found(result) for result in found])
    if not found:
        more = "" if idle else " --all includes those that do not run."
        output.say(f"Nothing found for {text!r}.{more}")
    return 0


@section.command("templates", "spaces-async templates")
@pass_app
def templates(app: App) -> int:
    """List the templates for new Spaces.

    To use one: spaces-async create ID --sdk SDK --template TEMPLATE.
    """

    async def work(client: SpacesClient) -> list[SpaceTemplate]:
        return await client.catalog.list_templates()

    found = app.run(work)
    if app.output.json:
        app.output.document([template.raw for template in found])
        return 0
    rows = [
        (
            template.repo_id,
            template.name or "-",
            str(template.sdk or "-"),
            "private" if template.preferred_private else "public",
        )
        for template in found
    ]
    app.output.rows(["Template", "name", "sdk", "proposed"], rows)
    return 0


@section.command("flavors", "spaces-async flavors", "spaces-async flavors --gpu")
@click.option("--gpu", is_flag=True, help="Only those with an accelerator.")
@pass_app
def flavors(app: App, gpu: bool) -> int:
    """List the hardware flavors with their prices in US dollars.

    In a pipe the columns are: flavor, dollars per hour, CPU, RAM, accelerator.
    """

    async def work(client: SpacesClient) -> list[HardwareFlavor]:
        return await client.hardware.list_flavors()

    found = [f for f in app.run(work) if f.accelerator is not None or not gpu]
    if app.output.json:
        app.output.document(
            [{**f.raw, "usdPerHour": _rounded(f.usd_per_hour)} for f in found]
        )
        return 0
    people = app.output.table_out
    rows: list[tuple[Cell, ...]] = [
        (
            str(flavor.name),
            _price(flavor, people=people),
            flavor.cpu or "-",
            flavor.ram or "-",
            _accelerator(flavor),
        )
        for flavor in found
    ]
    app.output.rows(["Flavor", "per hour", "cpu", "ram", "accelerator"], rows)
    return 0


@section.command("quota", "spaces-async quota")
@pass_app
def quota(app: App) -> int:
    """Show how many GPU seconds of ZeroGPU you have left today."""

    async def work(client: SpacesClient) -> tuple[ZeroGpuQuota, datetime]:
        return await client.hardware.get_zero_gpu_quota(), client.clock.utcnow()

    found, now = app.run(work)
    if app.output.json:
        app.output.document(found.raw)
    else:
        app.output.details(quota_details(found, now))
    return 0


@section.command("rate-limit", "spaces-async rate-limit")
@pass_app
def rate_limit(app: App) -> int:
    """Show how many calls the token has left in this window.

    It takes one call to know it: the Hub tells it with each answer. Calls of other
    programs with the same token count, too. In a pipe each line is a label and a value.
    """

    async def work(client: SpacesClient) -> tuple[RateLimit, datetime]:
        await client.hardware.list_flavors()
        return client.rate_limit(), client.clock.utcnow()

    found, now = app.run(work)
    if app.output.json:
        data = found.to_dict()
        if found.resets_in is not None:
            data["resets_in"] = round(found.resets_in, 1)
        app.output.document({**data, "resets_at": resets_at(found, now)})
    elif found.limit is None and found.remaining is None:
        app.output.say("The Hub does not tell: its answer names no quota.")
    else:
        app.output.details(rate_limit_details(found, now))
    return 0


@section.command("whoami", "spaces-async whoami")
@pass_app
def whoami(app: App) -> int:
    """Show whose token is used, and which orgs it can see."""

    async def work(client: SpacesClient) -> Account:
        return await client.catalog.whoami()

    found = app.run(work)
    if app.output.json:
        app.output.document(found.to_dict())
    else:
        app.output.details(account_details(found))
    return 0


@section.command("demo", "spaces-async demo")
@pass_app
def demo(app: App) -> int:
    """Try it on a Hub inside this process.

    Restarts the failed Spaces of an org of 200, step by step. It takes some seconds and
    needs neither a token nor a network.
    """
    from spaces_async.cli import _demo, _signals

    with _demo.online():
        _signals.run(_demo.Tour(app).run(), app.output)
    return 0


def _found(result: SpaceSearchResult) -> tuple[Cell, ...]:
    return (
        result.id,
        stage_text(result.runtime.stage if result.runtime else None),
        str(result.sdk or "-"),
        str(result.likes or 0),
        result.ai_short_description or result.title or "",
    )


def _price(flavor: HardwareFlavor, *, people: bool) -> str:
    price = flavor.usd_per_hour
    if price is None:
        cost = flavor.unit_cost_usd
        return "-" if cost is None else f"{cost:g}/{flavor.unit_label}"
    if not people:
        return f"{price:.2f}"
    return f"${price:.2f}" if price else "free"


def _rounded(price: Decimal | None) -> float | None:
    return None if price is None else float(round(price, 4))


def _accelerator(flavor: HardwareFlavor) -> str:
    has: Any = flavor.accelerator
    if has is None:
        return "-"
    names = " ".join(word for word in (has.manufacturer, has.model) if word)
    count = f"{has.quantity}x " if has.quantity not in {None, "1"} else ""
    return f"{count}{names or has.type}" + (f", {has.vram}" if has.vram else "")
