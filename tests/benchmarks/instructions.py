"""How many instructions a restart takes, counted by valgrind: `make bench-instructions`.

Time depends on what else the machine does, the number of instructions hardly does. It is
counted for whole processes: the difference between one that works and one that works
twice as much is that of the work, without the start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from spaces_async import SpacesClient
from tests.benchmarks.harness import ROOT, environment, server

COMMITTED: Final = Path(__file__).with_name("instructions.json")
LIMIT: Final = 1.10
_UPDATE: Final = "make bench-instructions ARGS=--update"
_RESTARTS: Final = 100
_BULKS: Final = 2
_BULK_SIZE: Final = 200
_PACKAGES: Final = ("aiohttp", "attrs", "cattrs", "orjson", "yarl")
_COLLECTED: Final = re.compile(r"Collected : (\d+)")


def main() -> int:
    """Count, then compare with the committed figures or replace them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.instructions")
    parser.add_argument(
        "--update", action="store_true", help="commit to the figures of now"
    )
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        url, restarts, bulks = options.work
        asyncio.run(work(url, int(restarts), int(bulks)))
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions are counted")
        return 0
    counted = count()
    kept: dict[str, Any] = json.loads(COMMITTED.read_text("utf-8"))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if options.update:
        kept[python] = {"build": build(), "versions": versions(), "counts": counted}
        text = json.dumps(kept, indent=1, sort_keys=True)
        COMMITTED.write_text(f"{text}\n", "utf-8")
        print(f"written: {os.path.relpath(COMMITTED)}: {counted}")
        return 0
    lines, failed = compare(counted, kept.get(python), build(), versions())
    print("\n".join(lines))
    return int(failed)


def compare(
    counted: Mapping[str, int],
    committed: Mapping[str, Any] | None,
    this_build: str,
    these: Mapping[str, str],
) -> tuple[list[str], bool]:
    """Return what to say about the counts, and whether one is too large."""
    if committed is None:
        say = f"no figures of this Python yet; to commit to these: {_UPDATE}"
        return [f"{name}: {value:,}" for name, value in counted.items()] + [say], False
    ratios = {name: counted[name] / committed["counts"][name] for name in counted}
    lines = [
        f"{name}: {counted[name]:,} instructions, {ratio:.3f} of the committed"
        f" {committed['counts'][name]:,}"
        for name, ratio in ratios.items()
    ]
    if committed["build"] != this_build:
        lines.append(
            f"not compared: the figures are of another build ({committed['build']}),"
            f" this is {this_build}"
        )
        return lines, False
    if changed := sorted(
        f"{name} {committed['versions'].get(name)} -> {these.get(name)}"
        for name in {*committed["versions"], *these}
        if committed["versions"].get(name) != these.get(name)
    ):
        lines.append(f"other versions than those of the figures: {', '.join(changed)}")
    failed = max(ratios.values()) > LIMIT
    if failed:
        lines.append(
            f"more than {LIMIT:.2f} of what was committed. Find what became more"
            " expensive (`git bisect run make bench-instructions`); if it is worth it:"
            f" {_UPDATE}, and say why in the commit."
        )
    elif min(ratios.values()) < 1 / LIMIT:
        lines.append(f"much less than committed: keep it so with {_UPDATE}")
    return lines, failed


def count() -> dict[str, int]:
    """Return the instructions of one restart, and of one bulk of 200."""
    runs = {
        "base": (_RESTARTS, _BULKS),
        "restarts": (2 * _RESTARTS, _BULKS),
        "bulks": (_RESTARTS, 2 * _BULKS),
    }
    with server() as url:
        run([sys.executable], url, 1, 1)  # the bytecode is written
        with ThreadPoolExecutor(max(1, min(len(runs), os.cpu_count() or 1))) as pool:
            totals = dict(
                zip(
                    runs,
                    pool.map(lambda sizes: run_counted(url, *sizes), runs.values()),
                    strict=True,
                )
            )
    return {
        "restart": round((totals["restarts"] - totals["base"]) / _RESTARTS),
        f"bulk of {_BULK_SIZE}": round((totals["bulks"] - totals["base"]) / _BULKS),
    }


def run_counted(url: str, restarts: int, bulks: int) -> int:
    """Return the instructions of a whole process."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
    told = run([*valgrind, sys.executable], url, restarts, bulks)
    found = _COLLECTED.search(told)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing:\n{told}")
    return int(found[1])


def run(command: list[str], url: str, restarts: int, bulks: int) -> str:
    """Do the work in a process, alike each time; return what it said on stderr."""
    program = ("-m", "tests.benchmarks.instructions", "--work", url)
    done = subprocess.run(
        [*command, *program, str(restarts), str(bulks)],
        capture_output=True,
        text=True,
        env=environment() | {"PYTHONHASHSEED": "0"},
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stderr


async def work(url: str, restarts: int, bulks: int) -> None:
    """Restart one Space some times, then many in bulks."""
    targets = [f"acme/s{number}" for number in range(_BULK_SIZE)]
    async with SpacesClient(token="hf_bench", endpoint=url) as client:
        for _ in range(restarts):
            await client.lifecycle.restart("acme/demo-space")
        for _ in range(bulks):
            assert (await client.bulk.restart(targets)).ok


def build() -> str:
    """Say which build of Python this is: others take other instructions."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    how = [name for name in ("enable-optimizations", "with-lto") if name in flags]
    said = (platform.python_version(), platform.python_compiler(), platform.machine())
    return ", ".join([*said, *how])


def versions() -> dict[str, str]:
    """Return the versions of what the instructions are spent in."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


if __name__ == "__main__":
    sys.exit(main())
