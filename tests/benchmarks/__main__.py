"""Run the benchmarks: `python -m tests.benchmarks [--quick] [TOPIC ...]`, or `make bench`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import report
from tests.benchmarks.harness import (
    ROOT,
    Plan,
    Results,
    describe_machine,
    environment,
    from_json,
    load_average,
    to_json,
)

TOPICS: Final = (
    *("calls", "observe", "bulk", "decoding", "start", "pacing", "hosts", "growth"),
    "profile",
)
_WITHOUT_SPEED: Final = ("calls", "decoding")
"""The topics with goals for those who did not install the extra."""


def main() -> int:
    """Run each topic in a process of its own, then show all figures."""
    options = _options()
    if options.child:
        return _child(options.topics[0], Plan(options.quick, not options.without_speed))
    machine = describe_machine()
    results = Results()
    topics = options.topics or TOPICS
    for topic in topics:
        results.extend(_in_child(topic, "--quick" * options.quick))
        if topic in _WITHOUT_SPEED:
            quick = "--quick" * options.quick
            results.extend(_in_child(topic, quick, "--without-speed"))
    machine["load"].append(load_average())
    # Only a whole run replaces the figures that are shown to everyone.
    whole = not options.quick and set(topics) == set(TOPICS)
    folder = ROOT / "docs" if whole else ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": machine, **to_json(results)}
    path = options.json or folder / "performance.json"
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    sys.stdout.write(report.for_terminal(machine, results))
    if options.quick:
        sys.stdout.write("\n--quick: everything runs; the figures mean nothing\n")
    sys.stdout.write(f"\nwritten: {_shown(path)}\n")
    for drawn in report.write_page(folder, machine, results):
        sys.stdout.write(f"written: {_shown(drawn)}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "topics", nargs="*", choices=[*TOPICS, []], metavar="TOPIC", default=[],
        help=f"one of {', '.join(TOPICS)}; all of them unless given",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="only see that everything runs"
    )
    parser.add_argument("--json", type=Path, help="the file for the figures")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--without-speed", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _in_child(topic: str, *flags: str) -> Results:
    """Run a topic: none is measured in the memory and the heap of another one."""
    given = [flag for flag in flags if flag]
    sys.stderr.write(f"{' '.join([topic, *given])} ...")
    sys.stderr.flush()
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--child", *given, topic],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(" failed\n")
        sys.exit(done.returncode)
    sys.stderr.write(f" {time.monotonic() - started:.0f} s\n")
    return from_json(json.loads(done.stdout))


def _child(topic: str, plan: Plan) -> int:
    os.environ.update(environment())
    if not plan.has_speed:
        modules: dict[str, Any] = sys.modules
        modules["orjson"] = modules["uvloop"] = None
    module = importlib.import_module(f"tests.benchmarks.bench_{topic}")
    json.dump(to_json(module.measure(plan)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
