"""`python -m spaces_async.testing`: a Hub to point any client at."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from spaces_async.testing.hub import FakeHub
from spaces_async.testing.quota import Quota
from spaces_async.testing.seeding import seed_org

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spaces_async.testing",
        description="Serve a Hugging Face Hub for Spaces on 127.0.0.1, all in memory.",
    )
    parser.add_argument("--port", type=int, default=8080, help="0 is any free port")
    parser.add_argument("--org", default="acme", help="organization with the Spaces")
    parser.add_argument("--spaces", type=int, default=200, help="how many Spaces")
    parser.add_argument("--quota", type=int, default=1000, help="calls in a window")
    parser.add_argument("--window", type=float, default=300.0, help="its seconds")
    parser.add_argument("--token", help="token of the user; default: hf_test_token")
    return parser


def _text(hub: FakeHub, token: str, org: str, count: int) -> str:
    return (
        f"FakeHub with {count} Spaces in the organization {org}\n"
        f"  {hub.url}  token {token}\n\n"
        f"export HF_ENDPOINT={hub.url}\n"
        f"export HF_TOKEN={token}\n\n"
        "Ctrl-C ends it.\n"
    )


async def _serve(options: argparse.Namespace) -> None:
    quota = Quota(options.quota, options.window)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Some loops, and threads other than the main one, take no signal handlers;
        # there KeyboardInterrupt does the same.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    async with FakeHub(port=options.port, quota=quota) as hub:
        token = options.token or hub.token
        hub.add_token(token)
        seed_org(hub, options.org, options.spaces)
        sys.stdout.write(_text(hub, token, options.org, options.spaces))
        sys.stdout.flush()
        await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: Arguments; None takes those of the process.

    Returns:
        The exit code: 0, or 1 if the port is not free.
    """
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_serve(options))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
