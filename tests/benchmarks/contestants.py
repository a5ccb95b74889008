"""Who is compared: the same calls by this client, bare aiohttp, httpx and the official client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
import cattrs
import httpx2
from attrs import frozen
from cattrs.gen import make_dict_structure_fn, override
from huggingface_hub import HfApi, set_client_factory

from spaces_async import ClientSettings, SpacesClient, SpaceStage
from tests.benchmarks.harness import Loop

OURS: Final = "spaces_async"
AIOHTTP: Final = "bare aiohttp, record by cattrs"
HTTPX: Final = "httpx, record by cattrs"
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
    loop: Loop, url: str, *, clock: Any = None, connections: int = 100
) -> SpacesClient:
    settings = ClientSettings(max_connections=connections)
    return loop.enter(
        SpacesClient(token=TOKEN, endpoint=url, settings=settings, clock=clock)
    )


def aiohttp_call(loop: Loop, url: str, method: str, action: str) -> AsyncCall:
    """Return a call as short as aiohttp lets it be: no check, no limit, no retry."""

    async def connect() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=_MANY)
        return aiohttp.ClientSession(headers=_HEADERS, connector=connector)

    class Session:
        """A session is made inside its loop."""

        async def __aenter__(self) -> aiohttp.ClientSession:
            self.session = await connect()
            return self.session

        async def __aexit__(self, *_: object) -> None:
            await self.session.close()

    session = loop.enter(Session())

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


def official_client(url: str, *, connections: int = 100) -> HfApi:
    """Return the official client, with a pool that is large enough for its threads."""
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
