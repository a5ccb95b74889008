"""Importing the package, and starting its shell: CPU of new processes."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import entry_points

from tests.benchmarks.contestants import OFFICIAL, OURS
from tests.benchmarks.harness import (
    Goal,
    Plan,
    Results,
    Row,
    Sample,
    Times,
    environment,
)

_IMPORTS = {
    OURS: "import spaces_async",
    OFFICIAL: "from huggingface_hub import HfApi",
}
# The interpreter's own start is not counted.
_TIMED = """
import time
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""
_SHELL = """
import sys, time
wall = time.perf_counter()
from {module} import {attr} as main
sys.argv = [{name!r}, "--help"]
try:
    main()
finally:
    print(time.process_time(), time.perf_counter() - wall, file=sys.stderr)
"""


def measure(plan: Plan) -> Results:
    """Measure both."""
    importing = in_processes(plan, "import, without the interpreter's start", imports())
    helping = in_processes(plan, "`--help`", shells())
    return Results(
        rows=[
            Row(
                "start.import",
                "`import spaces_async` / `from huggingface_hub import HfApi`",
                "times",
                "CPU",
                importing.ratio(OURS, OFFICIAL),
                Goal(0.6),
                "then 0.4",
            ),
            Row(
                "start.help",
                "`spaces-async --help` / `hf --help`, the interpreter included",
                "times",
                "CPU",
                helping.ratio(OURS, OFFICIAL),
                Goal(0.4),
            ),
        ],
        costs=[importing.costs(), helping.costs()],
    )


def imports() -> dict[str, str]:
    return {name: _TIMED.format(statement=text) for name, text in _IMPORTS.items()}


def shells() -> dict[str, str]:
    programs: dict[str, str] = {}
    for contestant, name in ((OURS, "spaces-async"), (OFFICIAL, "hf")):
        (point,) = set(entry_points(group="console_scripts", name=name))
        programs[contestant] = _SHELL.format(
            module=point.module, attr=point.attr, name=name
        )
    return programs


def in_processes(plan: Plan, what: str, programs: dict[str, str]) -> Times:
    """Run programs by turns; the last line of each says CPU and wall seconds."""
    times = Times(what, {name: [] for name in programs})
    order = list(programs.items())
    for number in range(1 + plan.pick(15, 1)):
        for name, program in order:
            sample = run(program)
            if number:  # the first round writes the bytecode
                times.samples[name].append(sample)
        order.reverse()
    return times


def run(program: str) -> Sample:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    wall = time.perf_counter() - started
    told = (done.stdout + done.stderr).split()[-2:]
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Sample(cpu=float(told[0]), wall=min(wall, float(told[1])))
