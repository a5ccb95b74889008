"""What the benchmarks share: rounds in turns, rows, growth, the machine, JSON.

A ratio is one of two contestants in the same round, one after the other, in the same
process: what else the machine does hits both. Its figure is the median of all rounds,
its spread the quarter of the rounds on each side. CPU time is that of this process with
all its threads; the server is another process.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import cattrs
from attrs import define, field, frozen

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]

_PACKAGES: Final = (
    "aiohttp", "attrs", "cattrs", "yarl", "orjson", "uvloop", "httpx2", "huggingface_hub",
)  # fmt: skip


@frozen
class Goal:
    """A bound that a figure should keep."""

    bound: float
    kind: Literal["at most", "at least"] = "at most"

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.kind == "at most" else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.kind == 'at most' else '>='} {self.bound:g}"


@frozen
class Figure:
    """The median of some rounds, and the quartiles on both sides of it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)

    @property
    def digits(self) -> int:
        """Two digits after the point for what is about 1; of an exact figure more."""
        digits = 2 if self.high < 10 else 1 if self.high < 100 else 0
        return digits + 2 if self.low == self.high else digits

    def __str__(self) -> str:
        median, low, high = (
            f"{value:.{self.digits}f}" for value in (self.median, self.low, self.high)
        )
        return median if self.low == self.high else f"{median} ({low}-{high})"


@frozen
class Row:
    """One line of the table.

    Attributes:
        key: Names it for programs: the topic, then what is measured.
        what: What is measured, in Markdown.
        unit: "times" for ratios, else what the figures count.
        goal_clock: Which of the figures the goal is about.
        figures: By how it is measured: "CPU", "wall", "memory", "virtual time".
        goal: None where nothing is promised.
        note: What else to know.
    """

    key: str
    what: str
    unit: str
    goal_clock: str
    figures: dict[str, Figure]
    goal: Goal | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        figure = self.figures[self.goal_clock]
        return self.goal.is_met(round(figure.median, figure.digits))  # as it is shown


@frozen
class Costs:
    """What a unit of some work costs each contestant, in microseconds.

    Attributes:
        what: The work.
        contestants: The figures by the clock, by contestant.
    """

    what: str
    contestants: dict[str, dict[str, Figure]]


@frozen
class Sample:
    """Seconds of one unit of work, by both clocks."""

    cpu: float
    wall: float


@frozen
class Times:
    """What some contestants took in each round, for one unit of work each.

    Attributes:
        what: The work.
        samples: One for each round, by contestant.
    """

    what: str
    samples: dict[str, list[Sample]]

    def costs(self) -> Costs:
        return Costs(self.what, {name: self.per_unit(name) for name in self.samples})

    def per_unit(self, name: str) -> dict[str, Figure]:
        """Return the microseconds of a unit of work."""
        return {
            "CPU": Figure.of([sample.cpu * 1e6 for sample in self.samples[name]]),
            "wall": Figure.of([sample.wall * 1e6 for sample in self.samples[name]]),
        }

    def ratio(self, name: str, base: str) -> dict[str, Figure]:
        """Return how often a contestant takes what another one takes."""
        pairs = list(zip(self.samples[name], self.samples[base], strict=True))
        return {
            "CPU": Figure.of([one.cpu / other.cpu for one, other in pairs]),
            "wall": Figure.of([one.wall / other.wall for one, other in pairs]),
        }


@define
class Series:
    """How the cost of something grows.

    Attributes:
        what: What is done.
        unit: Of the values: "CPU s" or "MiB".
        points: Number of Spaces, and the value.
        floor: What counts as nothing: a value that rises by less is flat.
    """

    what: str
    unit: str
    points: list[tuple[int, float]] = field(factory=list)
    floor: float = 0.0

    @property
    def slope(self) -> float:
        """Return the exponent of growth between the two largest sizes: 1 is linear.

        Fixed costs make it smaller between small sizes, which would hide what the large
        ones cost; memory is counted from its value at the smallest size.
        """
        (small, before), (large, after) = self.points[-2:]
        if self.floor:
            start = self.points[0][1]
            if after - before < self.floor:
                return 0.0
            before, after = max(before - start, self.floor), after - start
        return math.log(after / before) / math.log(large / small)

    @property
    def is_met(self) -> bool:
        """Whether it grows more slowly than n log n between these sizes."""
        small, large = self.points[-2][0], self.points[-1][0]
        n_log_n = 1.0 + math.log(math.log(large) / math.log(small)) / math.log(
            large / small
        )
        # As they are shown.
        return round(self.slope, 2) < round(n_log_n, 2)


@frozen
class Shares:
    """Where the CPU time of a unit of some work goes.

    Attributes:
        what: The work.
        contestant: Who does it.
        rooms: Microseconds, by who takes them.
    """

    what: str
    contestant: str
    rooms: dict[str, float]


@define
class Results:
    """What a topic measured."""

    rows: list[Row] = field(factory=list)
    costs: list[Costs] = field(factory=list)
    growth: list[Series] = field(factory=list)
    shares: list[Shares] = field(factory=list)

    def extend(self, other: Results) -> None:
        self.rows += other.rows
        self.costs += other.costs
        self.growth += other.growth
        self.shares += other.shares


@frozen
class Plan:
    """How much is measured.

    Attributes:
        is_quick: Just enough to see that everything runs.
        has_speed: Whether orjson and uvloop may be used.
    """

    is_quick: bool = False
    has_speed: bool = True

    def pick(self, full: T, quick: T) -> T:
        return quick if self.is_quick else full


class Loop:
    """An event loop that is run by turns: its connections stay open in between."""

    def __init__(
        self, factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        self._runner = asyncio.Runner(loop_factory=factory)
        self._open: list[AbstractAsyncContextManager[Any]] = []

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        async def enter() -> T:
            return await context.__aenter__()

        entered = self._runner.run(enter())
        self._open.append(context)
        return entered

    def run(self, work: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            await work()

        self._runner.run(run())

    def close(self) -> None:
        async def leave() -> None:
            while self._open:
                await self._open.pop().__aexit__(None, None, None)

        self._runner.run(leave())
        self._runner.close()


@contextmanager
def loops(plan: Plan) -> Generator[dict[str, Loop], None, None]:
    """Open asyncio's own loop, and uvloop's if it is there; by the name in the rows."""
    made = {"": Loop()}
    if plan.has_speed:
        try:
            import uvloop  # noqa: PLC0415  (optional)
        except ImportError:
            pass
        else:
            made[", uvloop"] = Loop(uvloop.new_event_loop)
    try:
        yield made
    finally:
        for loop in made.values():
            loop.close()


@contextmanager
def server(latency: float = 0.0) -> Generator[str, None, None]:
    """Run the server that only answers in another process; yield its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.server", f"--latency={latency}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def environment() -> dict[str, str]:
    """Return the environment of children: this code, no token, no proxy, no telemetry."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING"))
        and not name.lower().endswith("_proxy")
    }
    ours.pop("PYTHONDONTWRITEBYTECODE", None)
    return ours | {
        "PYTHONPATH": str(ROOT),
        "HF_TOKEN_PATH": os.devnull,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def interleave(
    what: str,
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    units: int,
) -> Times:
    """Let contestants work by turns, once to warm up and then in rounds.

    Args:
        what: The work.
        contestants: Each does all of the work of one round.
        rounds: How many.
        units: How many units of work one call of a contestant does.

    Returns:
        What each took.
    """
    times = Times(what, {name: [] for name in contestants})
    for work in contestants.values():
        work()
    order = list(contestants.items())
    for _ in range(rounds):
        for name, work in order:
            gc.collect()  # the garbage of one is not collected at another's expense
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            times.samples[name].append(Sample(cpu / units, wall / units))
        order.reverse()
    return times


def cpu_of(work: Callable[[], object], *, repeats: int) -> float:
    """Return the CPU seconds of some work: the median of its repeats."""
    taken: list[float] = []
    for _ in range(repeats):
        gc.collect()
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


async def with_workers(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], concurrency: int
) -> None:
    """Work through an iterator with some tasks: the cheapest way to bound them."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


def peak_memory() -> float:
    """Return the most memory that this process had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the size of the parent
        lines = status.read_text("ascii").splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource  # noqa: PLC0415  (not on Windows)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 1024)


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": [load_average()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def load_average() -> float | None:
    """Return how many processes wanted to run in the last minute; None if unknown."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return (models[0] if models else platform.processor() or "unknown").strip()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def to_json(results: Results) -> dict[str, Any]:
    """Return results as what `json.dumps` takes, with what follows from them."""
    data: dict[str, Any] = cattrs.unstructure(results)
    for row, kept in zip(results.rows, data["rows"], strict=True):
        kept["met"] = row.is_met
    for series, kept in zip(results.growth, data["growth"], strict=True):
        kept["slope"], kept["met"] = round(series.slope, 3), series.is_met
    return data


def from_json(data: dict[str, Any]) -> Results:
    """Return what `to_json` made JSON of."""
    return cattrs.structure(data, Results)
