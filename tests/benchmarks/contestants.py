"""Who is compared: the same calls by this client, bare aiohttp, httpx and the official client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import cattrs
import httpx2
from attrs import frozen
from cattrs.gen import make_dict_structure_fn, override
from huggingface_hub import HfApi, set_client_factory

from spaces_async import ClientSettings, Observer, SpacesClient, SpaceStage
from tests.benchmarks.harness import Loop

OURS: Final = "spaces_async"
AIOHTTP: Final = "bare aiohttp with cattrs"
HTTPX: Final = "httpx with cattrs"
OFFICIAL: Final = "huggingface_hub"

TOKEN: Final = "hf_bench"
_HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
_MANY: Final = 1000

AsyncCall = Callable[[str], Awaitable[object]]
"""One call about one Space."""


@frozen
class PlainHardware:
    current: str | None = None
    requested: str | None = None


@frozen
class PlainReplicas:
    current: int | None = None
    requested: int | None = None


@frozen
class PlainDomain:
    domain: str
    stage: str | None = None


@frozen
class PlainRuntime:
    """What `SpaceRuntime` has, as anyone would write it for cattrs."""

    stage: SpaceStage
    hardware: PlainHardware | None = None
    storage: str | None = None
    gc_timeout: int | None = None
    replicas: PlainReplicas | None = None
    dev_mode: bool | None = None
    domains: list[PlainDomain] | None = None
    sha: str | None = None


def plain_converter() -> cattrs.Converter:
    """A converter with the two names that the Hub spells differently, and no more."""
    converter = cattrs.Converter()
    hook = make_dict_structure_fn(
        PlainRuntime,
        converter,
        gc_timeout=override(rename="gcTimeout"),
        dev_mode=override(rename="devMode"),
    )
    converter.register_structure_hook(PlainRuntime, hook)
    return converter


CONVERTER: Final = plain_converter()


def our_client(
    loop: Loop, url: str, *, connections: int = 100, observer: Observer | None = None
) -> SpacesClient:
    settings = ClientSettings(max_connections=connections, observer=observer)
    return loop.enter(SpacesClient(token=TOKEN, endpoint=url, settings=settings))


@asynccontextmanager
async def bare_session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """Open a session inside the loop that it is for."""
    connector = aiohttp.TCPConnector(limit=_MANY)
    async with aiohttp.ClientSession(headers=_HEADERS, connector=connector) as session:
        yield session


def aiohttp_call(loop: Loop, url: str, method: str, action: str) -> AsyncCall:
    """Return a call as short as aiohttp lets it be: no check, no limit, no retry."""

    session = loop.enter(bare_session())

    async def call(repo_id: str) -> PlainRuntime:
        path = f"{url}/api/spaces/{repo_id}/{action}"
        async with session.request(method, path) as response:
            response.raise_for_status()
            return CONVERTER.structure(await response.json(), PlainRuntime)

    return call


def httpx_call(loop: Loop, url: str, method: str, action: str) -> AsyncCall:
    """Do the same with httpx."""
    client = loop.enter(httpx2.AsyncClient(headers=_HEADERS))

    async def call(repo_id: str) -> PlainRuntime:
        path = f"{url}/api/spaces/{repo_id}/{action}"
        response = await client.request(method, path)
        response.raise_for_status()
        return CONVERTER.structure(response.json(), PlainRuntime)

    return call


def official_client(url: str, *, connections: int | None = None) -> HfApi:
    """Return the official client.

    Args:
        url: The server's.
        connections: How many its pool should have, from now on and for all of them; None
            leaves it as it is, which is 100, of which 20 are kept open.
    """
    if connections is not None:
        limits = httpx2.Limits(
            max_connections=connections, max_keepalive_connections=connections
        )
        set_client_factory(
            lambda: httpx2.Client(limits=limits, follow_redirects=True, timeout=None)
        )
    return HfApi(endpoint=url, token=TOKEN)


def in_threads(
    call: Callable[[str], object], ids: list[str], threads: int
) -> Callable[[], None]:
    """Return the work of calling for each id in some threads."""

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(call, ids):
                pass

    return work
