"""`python -m spaces_async.testing`."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import sys
from typing import Any

import aiohttp
import pytest

from spaces_async.testing import FakeHub
from spaces_async.testing.__main__ import _let_fail, _parser, main


async def test_it_serves_until_interrupted() -> None:
    """It prints which Spaces it has and what to paste, answers, and ends on SIGINT."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "spaces_async.testing", "--port", "0", "--spaces", "20"),
        *("--org", "lab", "--token", "hf_mine", "--quota", "7", "--window", "60"),
        *("--host", "0.0.0.0", "--latency", "0.01-0.02"),  # noqa: S104
        *("--fail", "demo", "--fail", "new=500"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        text = ""
        async with asyncio.timeout(20):
            while "Ctrl-C" not in text:
                text += (await process.stdout.readline()).decode()
        assert text.startswith(
            "FakeHub is running with 25 Spaces in the organization lab: 20, and demo,"
            " chat, a, b, new.\n"
        )
        url = re.search(r"export HF_ENDPOINT=(\S+)", text)
        token = re.search(r"export HF_TOKEN=(\S+)", text)
        assert url
        assert token
        assert url[1].startswith("http://127.0.0.1:")
        apps = re.search(r"export SPACES_ASYNC_APP_URL='(\S+)'", text)
        assert apps
        headers = {"Authorization": f"Bearer {token[1]}"}
        async with (
            aiohttp.ClientSession(url[1], headers=headers) as session,
            session.get("/api/spaces?author=lab") as response,
        ):
            assert len(await response.json()) == 20 + 5
            assert response.headers["RateLimit"] == '"api";r=6;t=60'
        async with aiohttp.ClientSession(headers=headers) as session:
            answers = []
            for name in ("lab-new", "lab-a"):
                async with session.get(
                    f"{apps[1].format(subdomain=name)}/"
                ) as response:
                    answers.append(response.status)
            assert answers == [500, 200]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode in {0, 130}
    assert (out, err) == (b"", b"")


async def test_a_taken_port_is_reported_in_one_line(capsys: Any) -> None:
    """The exit code is 1, without a traceback, and the error says what to do."""
    async with FakeHub() as hub:
        port = hub.url.rpartition(":")[2]
        code = await asyncio.to_thread(main, ["--port", port])
    assert code == 1
    assert capsys.readouterr().err == (
        f"Error: cannot listen on port {port}: {os.strerror(errno.EADDRINUSE)}."
        " Choose another one with --port.\n"
    )


def test_an_address_of_another_machine_is_reported_in_one_line(capsys: Any) -> None:
    """It is the host that is wrong then, not the port."""
    assert main(["--host", "192.0.2.1", "--port", "0"]) == 1
    assert capsys.readouterr().err == (
        f"Error: cannot listen on 192.0.2.1: {os.strerror(errno.EADDRNOTAVAIL)}."
        " Choose another one with --host.\n"
    )


def test_a_canary_that_fails() -> None:
    """A Space of the demonstration, or a new one, does not get well."""
    with FakeHub(build_seconds=0.0, start_seconds=0.0) as hub:
        hub.add_space("lab/there")
        for name, status in (
            _parser().parse_args(["--fail", "there", "--fail", "x=503"]).fail
        ):
            _let_fail(hub, f"lab/{name}", status)
        assert hub.space("lab/there").fails_with == "RUNTIME_ERROR"
        assert hub.space("lab/x").fails_with is None
        assert hub.space("lab/x").app_status == 503


@pytest.mark.parametrize(
    ("text", "latency"),
    [("0", (0.0, 0.0)), ("0.2", (0.2, 0.2)), ("0.1-0.5", (0.1, 0.5))],
)
def test_latency(text: str, latency: tuple[float, float]) -> None:
    """One number is always the same time, two are the ends of a random one."""
    assert _parser().parse_args(["--latency", text]).latency == latency


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--port", "x", "'x' is not a port; expected 0 to 65535"),
        ("--port", "65536", "'65536' is not a port; expected 0 to 65535"),
        ("--org", "a/b", "'a/b' is not a valid organization name"),
        ("--fail", "a/b", "'a/b' is not the name of a Space"),
        ("--fail", "demo=999", "'999' is not a status such as 500"),
        ("--spaces", "0", "'0' is not a whole number of at least 1"),
        ("--quota", "many", "'many' is not a whole number of at least 1"),
        ("--window", "nan", "'nan' is not a number of seconds above 0"),
        ("--host", "a b", "'a b' is not a valid address"),
        (
            "--latency",
            "0.5-0.1",
            "'0.5-0.1' is not a number of seconds, nor two in order such as 0.1-0.5",
        ),
        (
            "--latency",
            "slow",
            "'slow' is not a number of seconds, nor two in order such as 0.1-0.5",
        ),
        ("--window", "soon", "'soon' is not a number of seconds above 0"),
    ],
)
def test_wrong_arguments(capsys: Any, option: str, value: str, problem: str) -> None:
    """The error quotes the value and says what is expected."""
    with pytest.raises(SystemExit) as caught:
        main([option, value])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"argument {option}: {problem}\n")


def test_help(capsys: Any) -> None:
    """Each option is explained."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for option in (
        "--host",
        "--latency",
        "--port",
        "--spaces",
        "--org",
        "--quota",
        "--window",
        "--token",
    ):
        assert option in text
