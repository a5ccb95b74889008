"""What decoding costs: one runtime, and a listing of 10,000 Spaces with their runtimes.

CPU time of this process, in turns, as medians; the server of the listing is another
process. `measure()` returns the figures as data, for a table of all benchmarks. Run it
with `make bench`, or alone with `--json` or `--quick`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
import cattrs
import orjson
from cattrs.gen import make_dict_structure_fn, override
from huggingface_hub import HfApi

from spaces_async import ClientSettings, SpaceRuntime, SpacesClient
from spaces_async._wire import json as wire_json
from spaces_async._wire.converter import decode_runtime

SPACES: Final = 10_000
PAGE: Final = 500
ROUNDS: Final = 9
CALLS: Final = 2_000

RUNTIME: Final = (
    b'{"stage":"RUNNING","hardware":{"current":"cpu-xl","requested":"cpu-xl"},'
    b'"storage":null,"gcTimeout":172800,"replicas":{"current":1,"requested":1},'
    b'"devMode":false,"domains":[{"domain":"acme-demo.hf.space","stage":"READY"}],'
    b'"sha":"d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9","pySpacesVersion":"0.48.2"}'
)
"""300 bytes, as the Hub sends them for a Space that runs."""

# Serves the same pages to both clients, rendered once.
SERVER: Final = """
import asyncio, json, sys
from urllib.parse import parse_qs, urlsplit
runtime, spaces, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def element(number, full):
    card = {
        "author": "acme", "disabled": False, "likes": number % 97, "private": False,
        "lastModified": "2026-02-06T12:47:43.000Z",
        "createdAt": "2025-03-26T19:26:05.000Z",
        "sha": "%040x" % number, "subdomain": "acme-s%d" % number, "sdk": "docker",
        "region": "us", "tags": ["docker", "region:us"],
    }
    return {
        "_id": "%024x" % number, "id": "acme/s%d" % number, **(card if full else {}),
        "runtime": json.loads(runtime),
    }
PAGES = {
    full: [
        json.dumps([element(n, full) for n in range(first, first + size)],
                   separators=(",", ":")).encode()
        for first in range(0, spaces, size)
    ]
    for full in (False, True)
}
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            target = head.split(b" ", 2)[1].decode()
            query = parse_qs(urlsplit(target).query)
            full = "author" in query["expand"]
            number = int(query.get("cursor", ["0"])[0])
            body = PAGES[full][number]
            more = "&".join("expand=" + word for word in query["expand"])
            link = ""
            if number + 1 < len(PAGES[full]):
                link = (
                    "Link: <http://%s/api/spaces?author=acme&%s&limit=%d&cursor=%d>;"
                    ' rel="next"\\r\\n' % (HOST, more, size, number + 1)
                )
            writer.write((
                "HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n" + link +
                'RateLimit: "api";r=999999;t=299\\r\\n'
                'RateLimit-Policy: "fixed window";"api";q=1000000;w=300\\r\\n'
                "Content-Length: %d\\r\\n\\r\\n" % len(body)
            ).encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    global HOST
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    HOST = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    print(HOST, flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
SHORT: Final = ["runtime"]
FULL: Final = [
    *("author", "createdAt", "disabled", "lastModified", "likes", "private"),
    *("region", "runtime", "sdk", "sha", "subdomain", "tags"),
]


@contextmanager
def parser(*, fast: bool) -> Iterator[None]:
    """Parse with orjson, or as if it were missing."""
    kept = wire_json._fast
    wire_json._fast = orjson.loads if fast else None
    try:
        yield
    finally:
        wire_json._fast = kept


def cpu(run: Callable[[], object]) -> float:
    """Return the seconds of CPU time that a function takes, its own collections with it."""
    gc.collect()  # what others left behind is not counted
    started = time.process_time()
    run()
    return time.process_time() - started


def in_turns(
    contestants: dict[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Let each run in turn, so that a slow moment of the machine hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            seconds = cpu(run)
            if number:  # the first round warms up
                taken[name].append(seconds)
    return taken


def plain_cattrs() -> Callable[[bytes], Any]:
    """`json.loads` and cattrs without any strictness: what the speed is measured at."""
    converter = cattrs.Converter(detailed_validation=False)
    names = {
        "sleep_time": "gcTimeout",
        "dev_mode": "devMode",
        "error_message": "errorMessage",
    }

    @attrs.frozen
    class Replicas:
        current: int | None = None
        requested: int | None = None

    @attrs.frozen
    class Domain:
        domain: str
        stage: str | None = None

    @attrs.frozen
    class Runtime:
        stage: str
        hardware: dict[str, Any]
        sleep_time: int | None = None
        dev_mode: bool | None = None
        replicas: Replicas | None = None
        domains: list[Domain] = attrs.field(factory=list)
        error_message: str | None = None
        sha: str | None = None

    attrs.resolve_types(
        Runtime, None, {"Replicas": Replicas, "Domain": Domain, "Any": Any}
    )
    renamed: dict[str, Any] = {k: override(rename=v) for k, v in names.items()}
    converter.register_structure_hook(
        Runtime, make_dict_structure_fn(Runtime, converter, **renamed)
    )
    return lambda body: converter.structure(json.loads(body), Runtime)


def repeat(
    decode: Callable[[bytes], object], body: bytes, times: int
) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            decode(body)

    return run


def measure_runtime(rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the seconds for one runtime, by contestant."""

    def without(run: Callable[[], None]) -> Callable[[], None]:
        def with_stdlib() -> None:
            with parser(fast=False):
                run()

        return with_stdlib

    ours = repeat(decode_runtime, RUNTIME, calls)
    assert isinstance(decode_runtime(RUNTIME), SpaceRuntime)
    taken = in_turns(
        {
            "decode_runtime, orjson": ours,
            "decode_runtime, standard library": without(ours),
            "json.loads + cattrs": repeat(plain_cattrs(), RUNTIME, calls),
            "json.loads": repeat(json.loads, RUNTIME, calls),
            "orjson.loads": repeat(orjson.loads, RUNTIME, calls),
        },
        rounds,
    )
    return {name: [s / calls for s in seconds] for name, seconds in taken.items()}


def measure_listing(rounds: int, spaces: int) -> dict[str, list[float]]:
    """Return the seconds for each Space of a listing, by contestant."""
    command = [sys.executable, "-c", SERVER, RUNTIME.decode(), str(spaces), str(PAGE)]
    loop = asyncio.new_event_loop()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://{server.stdout.readline().strip()}"
        api = HfApi(endpoint=url, token="hf_x")
        settings = ClientSettings(reserve=0.0)
        client = SpacesClient(token="hf_x", endpoint=url, settings=settings)

        async def listed(expand: list[str]) -> int:
            found = client.catalog.list_spaces(author="acme", expand=expand)
            return len([info async for info in found])

        def ours(expand: list[str], *, fast: bool) -> Callable[[], None]:
            def run() -> None:
                with parser(fast=fast):
                    assert loop.run_until_complete(listed(expand)) == spaces

            return run

        def official(expand: list[str]) -> Callable[[], None]:
            def run() -> None:
                found = api.list_spaces(author="acme", expand=expand)  # type: ignore[arg-type]
                assert len(list(found)) == spaces

            return run

        contestants: dict[str, Callable[[], object]] = {}
        for words, expand in (("runtime only", SHORT), ("12 fields", FULL)):
            contestants |= {
                f"huggingface_hub, {words}": official(expand),
                f"list_spaces, {words}, orjson": ours(expand, fast=True),
                f"list_spaces, {words}, standard library": ours(expand, fast=False),
            }
        try:
            taken = in_turns(contestants, rounds)
            loop.run_until_complete(client.aclose())
        finally:
            server.kill()
            loop.close()
    return {name: [s / spaces for s in seconds] for name, seconds in taken.items()}


def measure(*, quick: bool = False) -> list[dict[str, Any]]:
    """Return a row for each contestant: microseconds, and the ratio to its base.

    Args:
        quick: Run once and briefly: it shows that the benchmark works, and nothing else.
    """
    rounds, calls, spaces = (1, 10, 1_000) if quick else (ROUNDS, CALLS, SPACES)
    rows: list[dict[str, Any]] = []
    base: float | None = None
    taken = measure_runtime(rounds, calls) | measure_listing(rounds, spaces)
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        if name.startswith("huggingface_hub"):
            base = median
        rows.append(
            {
                "name": name,
                "us": round(median * 1e6, 2),
                "least_us": round(min(seconds) * 1e6, 2),
                "most_us": round(max(seconds) * 1e6, 2),
                "ratio": None if base is None else round(median / base, 3),
            }
        )
    return rows


def main() -> None:
    rows = measure(quick="--quick" in sys.argv)
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
        return
    print("CPU time in microseconds: median (least to most), ratio to huggingface_hub")
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:6.2f}"
        spread = f"({row['least_us']:.1f} to {row['most_us']:.1f})"
        print(f"{row['name']:46} {row['us']:8.2f} {spread:20}{ratio}")


if __name__ == "__main__":
    main()
