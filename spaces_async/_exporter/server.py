"""The HTTP of the exporter.

aiohttp's server, which the package has anyway, and not that of prometheus_client: that
one answers in threads, while the client, and a scrape that others share, live in one
event loop. The text is prometheus_client's.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from spaces_async._exporter.families import Families

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spaces_async._exporter.fleet import Fleet

__all__ = ["serve"]

_TIMEOUT_HEADER: Final = "X-Prometheus-Scrape-Timeout-Seconds"
_MARGIN_SECONDS: Final = 0.5
"""How much earlier than Prometheus a scrape gives up, so that its answer arrives."""
_LEAST_SECONDS: Final = 0.1
_PAGE: Final = """<!doctype html><title>spaces-async exporter</title>
<p>Prometheus metrics of Hugging Face Spaces: <a href="/metrics">/metrics</a>
"""


@asynccontextmanager
async def serve(fleet: Fleet, host: str, port: int) -> AsyncGenerator[list[str]]:
    """Serve the metrics of a fleet.

    Args:
        fleet: What to read.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Yields:
        The URLs of the metrics.

    Raises:
        OSError: It cannot listen there.
    """

    async def metrics(request: web.Request) -> web.Response:
        reading = await fleet.read(_limit_of(request))
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        families: Any = Families(reading)  # all that an encoder asks of a registry
        return web.Response(body=encode(families), headers={"Content-Type": kind})

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield [_url(address) for address in runner.addresses]
    finally:
        await runner.cleanup()
        await fleet.aclose()


def _limit_of(request: web.Request) -> float | None:
    """Return the seconds that Prometheus gives a scrape; None if it does not say."""
    try:
        seconds = float(request.headers[_TIMEOUT_HEADER])
    except (KeyError, ValueError):
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return max(_LEAST_SECONDS, seconds - _MARGIN_SECONDS)


def _url(address: Any) -> str:
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
