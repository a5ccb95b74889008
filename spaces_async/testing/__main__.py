"""`python -m spaces_async.testing`: a local Hub for any client."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import math
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

from spaces_async.testing.hub import FakeHub
from spaces_async.testing.quota import Quota
from spaces_async.testing.seeding import seed_org

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_OF_THE_PAGES = ("demo", "chat", "a", "b")
"""The Spaces that the pages use."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spaces_async.testing",
        description="Run a local Hugging Face Hub for Spaces. It keeps all data in memory.",
    )
    add = parser.add_argument
    add(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to listen on, such as 0.0.0.0 for all; without encryption"
        " (default: 127.0.0.1)",
    )
    add(
        "--port",
        type=_port,
        default=8080,
        help="port to listen on; 0 picks a free one (default: 8080)",
    )
    add("--org", type=_name, default="acme", help="owner of the Spaces (default: acme)")
    add(
        "--spaces",
        type=_count,
        default=200,
        help=f"number of Spaces, besides {', '.join(_OF_THE_PAGES)} and those of --fail"
        " (default: 200)",
    )
    add(
        "--quota",
        type=_count,
        default=1000,
        help="calls per quota window (default: 1000)",
    )
    add(
        "--window",
        type=_seconds,
        default=300.0,
        help="seconds per quota window (default: 300)",
    )
    add(
        "--latency",
        type=_latency,
        default=(0.0, 0.0),
        metavar="SECONDS[-SECONDS]",
        help="time that each call takes, such as 0.2, or 0.1-0.5 for a random one"
        " (default: 0)",
    )
    add(
        "--fail",
        type=_failure,
        action="append",
        default=[],
        metavar="NAME[=STATUS]",
        help="a Space that does not get well, as a canary that fails: NAME ends in"
        " RUNTIME_ERROR after each start; with NAME=500 it runs, and its app answers"
        " with that status. May be given several times",
    )
    add("--token", help="token to accept (default: hf_test_token)")
    return parser


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected 0 to 65535")
    return port


def _host(text: str) -> str:
    if not re.fullmatch(r"[\w.:-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid address")
    return text


def _latency(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    try:
        latency = float(low), float(high or low)
    except ValueError:
        latency = (math.nan, math.nan)
    if not 0 <= latency[0] <= latency[1] < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds, nor two in order such as 0.1-0.5"
        )
    return latency


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid organization name")
    return text


def _failure(text: str) -> tuple[str, int | None]:
    name, equals, status = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise argparse.ArgumentTypeError(f"{name!r} is not the name of a Space")
    if not equals:
        return name, None
    if not re.fullmatch(r"[1-5]\d\d", status, re.ASCII):
        raise argparse.ArgumentTypeError(f"{status!r} is not a status such as 500")
    return name, int(status)


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number of at least 1"
        )
    return count


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _banner(hub: FakeHub, token: str, options: argparse.Namespace) -> str:
    org, asked_for = options.org, options.spaces
    others = [repo_id.partition("/")[2] for repo_id in list(hub.spaces)[asked_for:]]
    return (
        f"FakeHub is running with {len(hub.spaces)} Spaces in the organization {org}:"
        f" {asked_for}, and {', '.join(others)}.\n"
        f"  {hub.url}  token {token}\n\n"
        "To use it, run in another terminal:\n\n"
        f"export HF_ENDPOINT={hub.url}\n"
        f"export HF_TOKEN={token}\n"
        # Without it `--probe` would ask the real host of an app.
        f"export SPACES_ASYNC_APP_URL='{hub.app_url}'\n\n"
        "Press Ctrl-C to stop.\n"
    )


def _let_fail(hub: FakeHub, repo_id: str, status: int | None) -> None:
    """Let a Space not get well after a start, or its app answer with a status."""
    if repo_id not in hub.spaces:
        hub.add_space(repo_id, hardware="t4-small")
    space = hub.space(repo_id)
    if status is None:
        space.fails_with = "RUNTIME_ERROR"
    else:
        space.app_status = status


async def _serve(options: argparse.Namespace) -> None:
    quota = Quota(options.quota, options.window)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Some loops, and threads other than the main one, do not support signal
        # handlers; there, KeyboardInterrupt does the same.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    async with FakeHub(
        host=options.host, port=options.port, quota=quota, latency=options.latency
    ) as hub:
        token = options.token or hub.token
        hub.add_token(token)
        seed_org(hub, options.org, options.spaces)
        for name in _OF_THE_PAGES:
            hub.add_space(f"{options.org}/{name}", hardware="t4-small")
        for name, status in options.fail:
            _let_fail(hub, f"{options.org}/{name}", status)
        sys.stdout.write(_banner(hub, token, options))
        sys.stdout.flush()
        await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: Arguments; None uses those of the process.

    Returns:
        The exit code: 0, or 1 if the address is not available.
    """
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_serve(options))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        # asyncio's own message repeats the address. From 3.13 on it skips an address
        # of another machine, and the error that follows has no number.
        code = errno.EADDRNOTAVAIL if error.errno is None else error.errno
        reason = os.strerror(code) if code > 0 else error.strerror
        if code in {errno.EADDRINUSE, errno.EACCES}:
            where, option = f"port {options.port}", "--port"
        else:
            where, option = options.host, "--host"
        sys.stderr.write(
            f"Error: cannot listen on {where}: {reason}. Choose another one with"
            f" {option}.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
