"""Follow the logs of all running Spaces of an org as one, until Ctrl-C.

It shows what a stream needs: a context that closes every connection, whatever ends it.
A connection that breaks is opened again, and no line comes twice.

    HF_TOKEN=hf_... python examples/follow_logs.py acme --tail 20

Without any token, against the Hub that comes with the package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/follow_logs.py acme

Exit status: 1 if nothing runs, 2 if the logs cannot be read, 130 after Ctrl-C.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence

from spaces_async import LogLine, SpacesClient, SpacesError

# What an app writes must not move the cursor of whoever reads it.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\x80-\U0010ffff]")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Follow the logs of an org's Spaces.")
    parser.add_argument("org", help="user or organization")
    parser.add_argument("--kind", choices=["run", "build"], default="run")
    parser.add_argument(
        "--tail", type=int, default=10, help="old lines of each Space (default: 10)"
    )
    parser.add_argument(
        "--most", type=int, default=50, help="Spaces, a connection each (default: 50)"
    )
    return parser.parse_args(argv)


def show(line: LogLine, width: int) -> None:
    """Print a line with its time and its Space."""
    when = f"{line.timestamp.astimezone():%H:%M:%S}" if line.timestamp else "--:--:--"
    text = CONTROL.sub("", line.text)
    print(f"{when} {line.repo_id:{width}} {text}", flush=True)


async def run(options: argparse.Namespace) -> int:
    """Find the Spaces that run and follow them."""
    async with SpacesClient() as client:
        running = [
            space.id
            async for space in client.catalog.list_spaces(
                author=options.org, expand=["runtime"]
            )
            if space.stage is not None and space.stage.is_running
        ][: options.most]
        if not running:
            print(f"nothing of {options.org} runs", file=sys.stderr)
            return 1
        width = max(map(len, running))
        # Ctrl-C cancels whatever is awaited here: leaving the contexts closes it all.
        async with client.logs.stream_many(
            running, kind=options.kind, tail=options.tail
        ) as lines:
            async for line in lines:
                show(line, width)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and turn what went wrong into an exit status."""
    try:
        return asyncio.run(run(parse(argv)))
    except SpacesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
