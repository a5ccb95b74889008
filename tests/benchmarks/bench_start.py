"""What it costs to import the package and to start its shell, in CPU time.

Each row compares a program of ours with one of the official client, each in a process of
its own, in turns. The figure is user and system time of the whole process, with the
start of the interpreter, which has a row of its own. Run it with `make bench`.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

ROUNDS = 3 if os.environ.get("QUICK") else 15
SPACES = 200

_BIN = Path(sysconfig.get_path("scripts"))
_OURS = str(_BIN / "spaces-async")
_THEIRS = str(_BIN / "hf")
_IMPORT = ("-c", "from huggingface_hub import HfApi")


@frozen
class Row:
    """Two programs that do the same, as arguments of Python."""

    name: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    goal: float | None = None


ROWS = (
    Row("the interpreter alone", ("-c", "pass"), ("-c", "pass")),
    Row("import spaces_async", ("-c", "import spaces_async"), _IMPORT, 0.4),
    Row("… SpacesClient", ("-c", "from spaces_async import SpacesClient"), _IMPORT),
    Row("… AsyncHfApi", ("-c", "from spaces_async import AsyncHfApi"), _IMPORT),
    Row(
        "… what a service names",
        (
            "-c",
            (
                "from spaces_async import ClientSettings, RateLimitError, Selection,"
                " SpaceInfo, SpacesClient, SpaceStage"
            ),
        ),
        _IMPORT,
    ),
    Row(
        "a client is made",
        ("-c", "from spaces_async import SpacesClient; SpacesClient()"),
        ("-c", "from huggingface_hub import HfApi; HfApi()"),
    ),
    Row("--help", (_OURS, "--help"), (_THEIRS, "--help"), 0.4),
    Row(
        "list --help",
        (_OURS, "list", "--help"),
        (_THEIRS, "spaces", "list", "--help"),
    ),
    Row(
        f"list, {SPACES} Spaces",
        (_OURS, "list", "--org", "acme"),
        (_THEIRS, "spaces", "list", "--author", "acme"),
    ),
)


@define
class Samples:
    """CPU seconds of each round."""

    ours: list[float] = field(factory=list[float])
    theirs: list[float] = field(factory=list[float])

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: a slow moment hits both programs of one."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(mine / other for mine, other in pairs)


def measure(rounds: int = ROUNDS) -> dict[str, Samples]:
    """Measure all rows in turns; the first round writes the bytecode and is dropped."""
    samples = {row.name: Samples() for row in ROWS}
    with fake_hub() as url, tempfile.TemporaryDirectory() as home:
        environment = clean_environment(url, home)
        for number in range(rounds + 1):
            for row in ROWS:
                mine = cpu_seconds(row.ours, environment)
                other = cpu_seconds(row.theirs, environment)
                if number:
                    samples[row.name].ours.append(mine)
                    samples[row.name].theirs.append(other)
    return samples


def cpu_seconds(arguments: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """Run a program to its end and return the CPU time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def clean_environment(url: str, home: str) -> dict[str, str]:
    """Return an environment with bytecode, and without questions to the network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PYTHON"))}
    path = (
        {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    )
    return {
        **kept,
        **path,
        "HF_ENDPOINT": url,
        "HF_TOKEN": "hf_test_token",
        "HF_HOME": home,
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


@contextmanager
def fake_hub() -> Iterator[str]:
    """Run a Hub in another process."""
    code = (
        "import asyncio, sys\n"
        "from spaces_async.testing import FakeHub, Quota, seed_org\n"
        "async def main():\n"
        "    async with FakeHub(quota=Quota(limit=10**9)) as hub:\n"
        f"        seed_org(hub, 'acme', {SPACES})\n"
        "        print(hub.url, flush=True)\n"
        "        await asyncio.to_thread(sys.stdin.read)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Print the rows."""
    samples = measure()
    print(f"CPU of a process, median of {ROUNDS} rounds: ours, the official client")
    for row in ROWS:
        found = samples[row.name]
        mine, other = statistics.median(found.ours), statistics.median(found.theirs)
        goal = "" if row.goal is None else f"  goal <= {row.goal}"
        print(
            f"{row.name:24} {mine * 1000:6.0f} ms {other * 1000:6.0f} ms"
            f"  {found.ratio:5.2f} x{goal}"
        )


if __name__ == "__main__":
    main()
