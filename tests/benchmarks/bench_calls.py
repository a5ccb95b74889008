"""One call after the other: what safety and types add to a bare request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final

from tests.benchmarks.contestants import (
    AIOHTTP,
    HTTPX,
    OFFICIAL,
    OURS,
    AsyncCall,
    aiohttp_call,
    httpx_call,
    official_client,
    our_client,
)
from tests.benchmarks.harness import (
    Goal,
    Loop,
    Plan,
    Results,
    Row,
    Times,
    interleave,
    loops,
    server,
)

REPO_ID: Final = "acme/demo-space"
_CALLS: Final = {
    "get_runtime": ("GET", "runtime", "get_space_runtime"),
    "restart": ("POST", "restart", "restart_space"),
}
"""Method and path of a call, and its name in the official client."""


def measure(plan: Plan) -> Results:
    """Compare both calls; without orjson and uvloop only the goal's row of each."""
    results = Results()
    names = plan.pick(tuple(_CALLS), ("get_runtime",)) if plan.has_speed else _CALLS
    with server() as url:
        for name in names:
            times = compare(plan, url, name)
            results.costs.append(times.costs())
            results.rows += rows(plan, name, times)
    return results


def repeated(loop: Loop, call: AsyncCall, count: int) -> Callable[[], None]:
    async def work() -> None:
        for _ in range(count):
            await call(REPO_ID)

    return lambda: loop.run(work)


def compare(plan: Plan, url: str, name: str) -> Times:
    method, action, official_name = _CALLS[name]
    count = plan.pick(200, 5)
    contestants: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack:
        made = stack.enter_context(loops(plan))
        for suffix, loop in made.items():
            client = our_client(loop, url)
            ours: Callable[[str], Awaitable[object]] = getattr(client.lifecycle, name)
            bare = aiohttp_call(loop, url, method, action)
            contestants[OURS + suffix] = repeated(loop, ours, count)
            contestants[AIOHTTP + suffix] = repeated(loop, bare, count)
        if plan.has_speed:
            httpx = httpx_call(made[""], url, method, action)
            contestants[HTTPX] = repeated(made[""], httpx, count)
            official = getattr(official_client(url), official_name)
            contestants[OFFICIAL] = lambda: [official(REPO_ID) for _ in range(count)]
        what = f"`{method} .../{action}`, one call after the other"
        if not plan.has_speed:
            what += ", without `[speed]`"
        return interleave(what, contestants, rounds=plan.pick(15, 2), units=count)


def rows(plan: Plan, name: str, times: Times) -> list[Row]:
    what = f"`lifecycle.{name}` / {AIOHTTP}"
    if not plan.has_speed:
        return [
            Row(
                f"calls.{name}.without_speed",
                f"{what}, both without `[speed]`",
                "times",
                "CPU",
                times.ratio(OURS, AIOHTTP),
                Goal(1.25),
            )
        ]
    made = [
        Row(
            f"calls.{name}",
            what,
            "times",
            "CPU",
            times.ratio(OURS, AIOHTTP),
            Goal(1.15),
        )
    ]
    if f"{OURS}, uvloop" in times.samples:
        made.append(
            Row(
                f"calls.{name}.uvloop",
                f"{what}, both in uvloop",
                "times",
                "CPU",
                times.ratio(f"{OURS}, uvloop", f"{AIOHTTP}, uvloop"),
            )
        )
    made += [
        Row(
            f"calls.{name}.{other.partition(',')[0]}",
            f"`lifecycle.{name}` / {other}",
            "times",
            "CPU",
            times.ratio(OURS, other),
        )
        for other in (HTTPX, OFFICIAL)
    ]
    return made
