"""What a shell proposes for Tab: stages, SDKs, flavors, orgs, ids and runs.

Stages and the like are words of ours. Orgs and ids are asked of the Hub, for a few seconds
at most; whatever goes wrong, nothing is proposed and nothing is written, for a message
would stand in the middle of the line that is being typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    import click
    from click.shell_completion import CompletionItem

    from spaces_async.cli._runs import Run
    from spaces_async.client import SpacesClient

__all__ = [
    "flavors",
    "ids",
    "orgs",
    "runs",
    "runs_in_stores",
    "sdks",
    "stages",
    "visibilities",
]

_SECONDS: Final = 3.0
_MOST_OWNERS: Final = 5
_MOST_IDS: Final = 500


def stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the stages, and the words for groups of them."""
    from spaces_async.models import STAGE_GROUPS, SpaceStage

    return _of_list(incomplete, [*STAGE_GROUPS, *map(str, SpaceStage)])


def sdks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the SDKs."""
    from spaces_async.models import SpaceSdk

    return _of_list(incomplete, map(str, SpaceSdk))


def flavors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the hardware flavors that this version knows."""
    from spaces_async.models import SpaceHardware

    return _of_list(incomplete, map(str, SpaceHardware))


def visibilities(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    """Return what a visibility may be."""
    return _of_list(incomplete, ("public", "private"))


def orgs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the user and the orgs of the token."""
    return [name for name in _ask(ctx, _owners) if name.startswith(incomplete)]


def ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return ids of Spaces: of the owner that is typed already, or of one's own."""
    if ctx.params.get("org"):
        return []
    owner, slash, _ = incomplete.partition("/")

    async def work(client: SpacesClient) -> list[str]:
        owners = [owner] if slash else await _owners(client)
        fit = [name for name in owners if slash or name.startswith(owner)]
        return [r for o in fit[:_MOST_OWNERS] for r in await _spaces(client, o)]

    given: set[str] = {*(ctx.params.get("ids") or ())}
    found = _ask(ctx, work)
    return [r for r in found if r.startswith(incomplete) and r not in given]


def runs(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Return the names of runs, the newest first, and let the shell add its files."""
    from click.shell_completion import CompletionItem

    if _given(ctx, "last"):
        return []
    names = [run.name for run in _runs_that_begin(incomplete)]
    files = CompletionItem(incomplete, type="file")
    return [*map(CompletionItem, names), files]


def runs_in_stores(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    """Return the names of the runs in stores, the newest first."""
    if _given(ctx, "last"):
        return []
    return [run.name for run in _runs_that_begin(incomplete) if run.is_in_store]


def _runs_that_begin(incomplete: str) -> list[Run]:
    from spaces_async.cli import _runs

    return [run for run in _runs.runs() if run.name.startswith(incomplete)]


def _of_list(incomplete: str, words: Iterable[str]) -> list[str]:
    """Return what fits the last word of a list with commas, with what is before it."""
    before, comma, last = incomplete.rpartition(",")
    lower = last.lower()
    return [f"{before}{comma}{w}" for w in words if w.lower().startswith(lower)]


async def _owners(client: SpacesClient) -> list[str]:
    account = await client.catalog.whoami()
    return [account.name, *(org.name for org in account.orgs)]


async def _spaces(client: SpacesClient, owner: str) -> list[str]:
    from spaces_async.cli._text import one_word

    listing = client.catalog.list_spaces(author=owner, limit=_MOST_IDS)
    # One that is not a word would be several, or something else, to the shell.
    return [info.id async for info in listing if one_word(info.id) == info.id]


def _ask(
    ctx: click.Context, work: Callable[[SpacesClient], Awaitable[list[str]]]
) -> list[str]:
    import asyncio
    import io
    import logging
    import warnings
    from contextlib import redirect_stderr

    async def main() -> list[str]:
        async with asyncio.timeout(_SECONDS), _client(ctx) as client:
            return await work(client)

    disabled = logging.root.manager.disable
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.disable()
            return asyncio.run(main())
    except Exception:  # noqa: BLE001  (see the module)
        return []
    finally:
        logging.disable(disabled)


def _client(ctx: click.Context) -> SpacesClient:
    from spaces_async.client import SpacesClient
    from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts

    settings = ClientSettings(
        timeouts=Timeouts(connect=_SECONDS, total=_SECONDS),
        retry=RetryPolicy.off(max_rate_limit_wait=0),
        trust_env=not _given(ctx, "no_proxy"),
        allow_insecure_http=bool(_given(ctx, "insecure_http")),
        user_agent="spaces-async-cli",
    )
    token: str | Literal[False] | None = None
    token_file: Path | None = _given(ctx, "token_file")
    if token_file is not None:
        token = token_file.read_text("utf-8").strip()
    if _given(ctx, "anonymous"):
        token = False
    return SpacesClient(
        token=token, endpoint=_given(ctx, "endpoint"), settings=settings
    )


def _given(ctx: click.Context, name: str) -> Any:
    """Return a common option, which may stand before or after the name of a command."""
    place: click.Context | None = ctx
    while place is not None:
        if value := place.params.get(name):
            return value
        place = place.parent
    return None
