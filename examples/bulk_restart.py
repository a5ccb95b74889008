"""Restart the failed Spaces of an org, wait until they run, and report.

It shows what a job for cron or CI needs: each outcome as soon as it is known, a limit
on failures, an exit status, and a report that is correct even after Ctrl-C.

    HF_TOKEN=hf_... python examples/bulk_restart.py acme --max-failures 5

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/bulk_restart.py acme

Exit status: 0 if all of them run, 1 if some do not, 2 if the program failed, 130 after
Ctrl-C.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from spaces_async import (
    BulkReport,
    BulkStream,
    ClientSettings,
    Operation,
    QuotaWait,
    Selection,
    SpaceRuntime,
    SpacesClient,
    SpacesError,
)
from spaces_async.bulk import operations
from spaces_async.bulk.operations import restart
from spaces_async.observe import Event


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Restart the failed Spaces of an org and wait until they run."
    )
    parser.add_argument("org", help="user or organization")
    parser.add_argument(
        "--concurrency", type=int, default=16, help="calls in flight (default: 16)"
    )
    parser.add_argument(
        "--max-failures", type=int, help="stop after this many failures"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=600.0,
        help="seconds to wait per Space (default: 600)",
    )
    return parser.parse_args(argv)


def print_wait(event: Event) -> None:
    """Print why the program pauses."""
    if isinstance(event, QuotaWait):
        print(f"  waiting {event.seconds:.0f} s for the quota ({event.action})")


def until_running(
    restarts: BulkReport[SpaceRuntime], seconds: float
) -> Operation[SpaceRuntime]:
    """Define a custom operation: a name and an async callable."""
    runtimes = {outcome.repo_id: outcome.value for outcome in restarts.succeeded}

    async def call(client: SpacesClient, repo_id: str) -> SpaceRuntime:
        # `after` distinguishes the stages after the restart from those before it.
        return await client.lifecycle.wait_until(
            repo_id, after=runtimes[repo_id], timeout=seconds
        )

    # One that Ctrl-C ends is then not attempted, instead of unknown.
    return operations.as_operation(call, name="wait", only_reads=True)


async def follow(stream: BulkStream[SpaceRuntime]) -> BulkReport[SpaceRuntime]:
    """Print each outcome as soon as it is known, and always the report."""
    try:
        async with stream as outcomes:
            async for outcome in outcomes:
                place = f"{len(stream.report):5}"
                print(place, outcome.repo_id, outcome.status, outcome.error or "")
    finally:
        # Ctrl-C arrives here as a cancellation. No call is in flight any more.
        print(stream.report.summary())
        for outcome in stream.report.unknown:
            print("  sent but not confirmed:", outcome.repo_id)
    return stream.report


async def run(options: argparse.Namespace) -> int:
    """Restart, wait, and return the exit status."""
    # This program is the only user of the token, so it reserves no quota.
    settings = ClientSettings(reserve=0, observer=print_wait)
    async with SpacesClient(settings=settings) as client:
        restarts = await follow(
            client.bulk.stream(
                restart(),
                Selection(author=options.org, stages="failed"),
                concurrency=options.concurrency,
                max_failures=options.max_failures,
            )
        )
        waits = await follow(
            client.bulk.stream(
                until_running(restarts, options.wait),
                restarts.succeeded,
                concurrency=options.concurrency,
            )
        )
    return 0 if restarts.ok and waits.ok else 1


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
