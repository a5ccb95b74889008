"""From bytes to records: one runtime, and a listing of 10,000 Spaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

# The one private name here: a decoder cannot be measured without what surrounds it
# through the public API.
from spaces_async._wire.converter import decode_runtime
from tests.benchmarks.contestants import (
    CONVERTER,
    OFFICIAL,
    OURS,
    PlainRuntime,
    official_client,
    our_client,
)
from tests.benchmarks.harness import (
    Goal,
    Plan,
    Results,
    Row,
    Times,
    interleave,
    loops,
    server,
)
from tests.benchmarks.server import RUNTIME

SELECTED_FIELDS: Final = ("runtime", "sdk", "private")
"""What a `Selection` asks for."""

FIELDS: Final = (*SELECTED_FIELDS, "likes", "tags", "createdAt", "lastModified")
"""What a table of Spaces shows."""


def measure(plan: Plan) -> Results:
    """Measure both; without orjson only the listing, which has a goal then, too."""
    results = Results()
    if plan.has_speed:
        times = one_runtime(plan)
        results.costs.append(times.costs())
        results.rows.append(
            Row(
                "decoding.runtime",
                f"`decode_runtime` of {len(RUNTIME)} bytes",
                "µs",
                "CPU",
                times.per_unit(OURS),
                Goal(8.0),
            )
        )
    times = listing(plan, FIELDS)
    results.costs.append(times.costs())
    without = "" if plan.has_speed else ", without `[speed]`"
    results.rows.append(
        Row(
            "decoding.listing" if plan.has_speed else "decoding.listing.without_speed",
            f"listing 10,000 Spaces with runtime, each / {OFFICIAL}'s"
            f" `list_spaces`{without}",
            "times",
            "CPU",
            times.ratio(OURS, OFFICIAL),
            Goal(0.33 if plan.has_speed else 0.6),
        )
    )
    if plan.has_speed:
        times = listing(plan, SELECTED_FIELDS)
        results.costs.append(times.costs())
        results.rows.append(
            Row(
                "decoding.listing.selection",
                f"listing 10,000 Spaces with only `{'`, `'.join(SELECTED_FIELDS)}`,"
                f" each / {OFFICIAL}'s `list_spaces`",
                "times",
                "CPU",
                times.ratio(OURS, OFFICIAL),
            )
        )
    return results


def one_runtime(plan: Plan) -> Times:
    count = plan.pick(5000, 50)

    def plain(body: bytes) -> PlainRuntime:
        return CONVERTER.structure(json.loads(body), PlainRuntime)

    def repeated(decode: Callable[[bytes], object]) -> Callable[[], None]:
        def work() -> None:
            for _ in range(count):
                decode(RUNTIME)

        return work

    contestants = {
        OURS: repeated(decode_runtime),
        "json.loads and cattrs, less strict": repeated(plain),
    }
    return interleave(
        f"a runtime of {len(RUNTIME)} bytes",
        contestants,
        rounds=plan.pick(21, 2),
        units=count,
    )


def listing(plan: Plan, fields: tuple[str, ...]) -> Times:
    count = plan.pick(10_000, 1000)
    author = f"n{count}"
    with server() as url, loops(Plan(has_speed=False)) as made:
        loop = made[""]
        client = our_client(loop, url)
        official = official_client(url)

        async def read() -> None:
            spaces = client.catalog.list_spaces(author=author, expand=fields)
            assert len([space async for space in spaces]) == count

        def read_officially() -> None:
            wanted: Any = list(fields)
            spaces = official.list_spaces(author=author, expand=wanted, limit=count)
            assert len(list(spaces)) == count

        suffix = "" if plan.has_speed else ", without `[speed]`"
        return interleave(
            f"a listing of {count:,} Spaces with {len(fields)} fields, each{suffix}",
            {OURS: lambda: loop.run(read), OFFICIAL: read_officially},
            rounds=plan.pick(7, 2),
            units=count,
        )
