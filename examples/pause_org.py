"""Pause all Spaces of an org that run, and wake the same ones again later.

It shows a nightly job that saves money. What it paused is in a file, so that the next
morning wakes those Spaces and no others, even if Ctrl-C ended the job.

    HF_TOKEN=hf_... python examples/pause_org.py acme --keep 'demo-*'
    HF_TOKEN=hf_... python examples/pause_org.py acme --wake

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/pause_org.py acme --list paused.txt

Exit status: 0 if all is done, 1 if some Spaces could not be paused or woken, 2 if the
program failed, 130 after Ctrl-C.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from spaces_async import (
    BulkReport,
    Selection,
    SpaceRuntime,
    SpacesClient,
    SpacesError,
)
from spaces_async.bulk import operations


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Pause an org, and wake it again.")
    parser.add_argument("org", help="user or organization")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="GLOB", help="leave these alone"
    )
    parser.add_argument(
        "--list",
        type=Path,
        default=Path("paused.txt"),
        help="file with the Spaces that were paused (default: paused.txt)",
    )
    parser.add_argument("--wake", action="store_true", help="wake those in the file")
    return parser.parse_args(argv)


def show(report: BulkReport[SpaceRuntime]) -> int:
    """Print what was done and what was not, and return the exit status."""
    print(report.summary())
    for outcome in (*report.failed, *report.unknown, *report.not_attempted):
        print(" ", outcome.repo_id, outcome.status, outcome.error or outcome.reason)
    return 0 if report.ok else 1


async def pause(client: SpacesClient, options: argparse.Namespace) -> int:
    """Pause what runs, and remember it."""
    # A static Space has no container: it is skipped.
    targets = Selection(
        author=options.org, stages={"running", "building"}, exclude=options.keep
    )
    stream = client.bulk.stream(operations.pause(), targets)
    try:
        async with stream as outcomes:
            async for _ in outcomes:
                pass
    finally:
        # Also after Ctrl-C: what was paused, or may have been, must be woken again.
        asleep = [o.repo_id for o in (*stream.report.succeeded, *stream.report.unknown)]
        before = options.list.read_text().split() if options.list.exists() else []
        everything = dict.fromkeys([*before, *asleep])
        options.list.write_text("".join(f"{repo_id}\n" for repo_id in everything))
    return show(stream.report)


async def wake(client: SpacesClient, options: argparse.Namespace) -> int:
    """Restart what an earlier run has paused, and forget what runs again."""
    targets = options.list.read_text().split() if options.list.exists() else []
    report = await client.bulk.restart(targets)
    done = {outcome.repo_id for outcome in report.succeeded}
    left = [repo_id for repo_id in targets if repo_id not in done]
    options.list.write_text("".join(f"{repo_id}\n" for repo_id in left))
    return show(report)


async def run(options: argparse.Namespace) -> int:
    """Pause or wake, and return the exit status."""
    async with SpacesClient() as client:
        return await (wake if options.wake else pause)(client, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and turn an error into an exit status."""
    try:
        return asyncio.run(run(parse(argv)))
    except SpacesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
