"""Follow the logs of all running Spaces of an org as one stream, until Ctrl-C.

It shows how to use a stream: its context closes every connection, however it is left. A
broken connection is reopened, and no line is repeated. If the log of one Space cannot be
read, the others go on.

    HF_TOKEN=hf_... python examples/follow_logs.py acme --tail 20

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/follow_logs.py acme

Exit status: 1 if no Space is running, 2 if the logs cannot be read, 130 after Ctrl-C.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence

from spaces_async import LogLine, SpacesClient, SpaceSdk, SpacesError

# An app's output must not control the terminal of the reader.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\x80-\U0010ffff]")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Follow the logs of an org's Spaces.")
    parser.add_argument("org", help="user or organization")
    parser.add_argument("--kind", choices=["run", "build"], default="run")
    parser.add_argument(
        "--tail", type=int, default=10, help="existing lines per Space (default: 10)"
    )
    parser.add_argument(
        "--most",
        type=int,
        default=50,
        help="maximum number of Spaces, with one connection each (default: 50)",
    )
    return parser.parse_args(argv)


def show(line: LogLine, width: int) -> None:
    """Print a line with its time and its Space."""
    when = f"{line.timestamp.astimezone():%H:%M:%S}" if line.timestamp else "--:--:--"
    text = CONTROL.sub("", line.text)
    print(f"{when} {line.repo_id:{width}} {text}", flush=True)


async def run(options: argparse.Namespace) -> int:
    """Find the running Spaces and follow their logs."""
    async with SpacesClient() as client:
        running = [
            space.id
            async for space in client.catalog.list_spaces(
                author=options.org, expand=["runtime", "sdk"]
            )
            if space.stage is not None
            and space.stage.is_running
            # Nothing runs in a static Space, so it has no log.
            and space.sdk is not SpaceSdk.STATIC
        ][: options.most]
        if not running:
            print(f"{options.org} has no running Spaces", file=sys.stderr)
            return 1
        width = max(map(len, running))
        # Ctrl-C cancels this task; leaving the contexts closes all connections.
        async with client.logs.stream_many(
            running, kind=options.kind, tail=options.tail
        ) as lines:
            async for line in lines:
                show(line, width)
    return 0


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
