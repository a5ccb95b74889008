"""The fixtures of the pytest plugin, in pytest runs of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from spaces_async.testing.pytest_plugin import _direct

LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
TESTS = """
    import asyncio
    import os
    import threading
    import urllib.request

    import aiohttp
    import click
    import pytest
    from click.testing import CliRunner

    from spaces_async.testing import Fault, Quota


    def get(url):
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status


    @pytest.fixture
    def anyio_backend():
        return "asyncio"


    @pytest.fixture(scope="session")
    def common(fake_hub_factory):
        hub = fake_hub_factory(build_seconds=0.0)
        hub.add_space("acme/common", stage="PAUSED")
        return hub


    def test_official_client(fake_hub):
        from huggingface_hub import HfApi

        fake_hub.add_space("acme/demo", stage="PAUSED")
        api = HfApi(endpoint=fake_hub.url, token=fake_hub.token)
        assert api.restart_space("acme/demo").stage == "BUILDING"
        assert fake_hub.space("acme/demo").restarts == 1
        assert fake_hub.count("POST", "/restart") == 1


    def test_click(fake_hub):
        fake_hub.add_space("acme/demo")

        @click.command()
        def command():
            click.echo(get(f"{fake_hub.url}/api/spaces/acme/demo"))

        assert CliRunner().invoke(command).output == "200\\n"


    def test_test_client(fake_hub):
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        from spaces_async import SpacesClient

        app = FastAPI()

        @app.get("/stage")
        async def stage():
            async with SpacesClient(
                endpoint=fake_hub.url, token=fake_hub.token
            ) as client:
                return str((await client.lifecycle.get_runtime("acme/demo")).stage)

        fake_hub.add_space("acme/demo")
        with TestClient(app) as client:
            assert client.get("/stage").json() == "RUNNING"


    def test_a_loop_of_its_own(fake_hub, fake_client):
        fake_hub.add_space("acme/demo", stage="PAUSED")

        async def run():
            async with fake_client:
                await fake_client.lifecycle.restart("acme/demo")

        asyncio.run(run())
        assert fake_hub.space("acme/demo").restarts == 1


    def test_an_unused_client(fake_client):
        pass


    @pytest.mark.fake_hub(quota=Quota(2, 60.0))
    class TestMarker:
        def test_of_the_class(self, fake_hub):
            assert fake_hub.remaining() == 2

        @pytest.mark.fake_hub(page_size=1, quota=Quota(7))
        def test_of_both(self, fake_hub):
            assert fake_hub.remaining() == 7


    def test_factory(fake_hub_factory, fake_hub):
        one, two = fake_hub_factory(quota=Quota(3)), fake_hub_factory()
        assert len({one.url, two.url, fake_hub.url}) == 3
        assert (one.remaining(), two.remaining()) == (3, 1000)


    @ASYNCIO
    async def test_function_loop(fake_hub, fake_client, fake_hub_factory):
        fake_hub.add_space("acme/demo", stage="PAUSED")
        fault = fake_hub.faults("POST /restart", Fault.status(503))
        await fake_client.lifecycle.restart("acme/demo")
        fault.assert_met(1)
        assert get(f"{fake_hub_factory().url}/api/spaces") == 200


    @pytest.mark.asyncio(loop_scope="module")
    async def test_module_loop(common, fake_hub, fake_client):
        fake_hub.add_space("acme/demo", stage="PAUSED")
        await fake_client.lifecycle.restart("acme/demo")


    @pytest.mark.asyncio(loop_scope="session")
    async def test_session_loop(common, fake_hub, fake_client):
        fake_hub.add_space("acme/demo", stage="PAUSED")
        await fake_client.lifecycle.restart("acme/demo")
        assert common.space("acme/common").stage == "PAUSED"


    @ASYNCIO
    async def test_everything_left_open(fake_hub):
        fake_hub.add_space("acme/demo")
        fake_hub.faults("GET /runtime", Fault.hang(), times=None)
        session = aiohttp.ClientSession(fake_hub.url)
        headers = {"Authorization": f"Bearer {fake_hub.token}"}
        stream = await session.get("/api/spaces/acme/demo/events", headers=headers)
        call = asyncio.create_task(session.get("/api/spaces/acme/demo/runtime"))
        while fake_hub.count("GET", "/runtime") == 0:
            await asyncio.sleep(0)
        LEFT_OPEN.append((session, stream, call))


    LEFT_OPEN = []


    def test_only_the_common_hub_is_left(common):
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("FakeHub") == 1
"""

ANYIO = """
    import pytest


    @pytest.fixture
    def anyio_backend():
        return "asyncio"


    @pytest.mark.anyio
    async def test_anyio(fake_hub, fake_client):
        fake_hub.add_space("acme/demo", stage="PAUSED")
        await fake_client.lifecycle.restart("acme/demo")
        assert fake_hub.space("acme/demo").restarts == 1
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Any:
    """Run pytest on a file with these tests, behind proxies that do not exist."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    dead = "http://127.0.0.1:9"
    proxies = {"HTTP_PROXY": dead, "http_proxy": dead, "ALL_PROXY": dead}

    async def run(tests: str, *options: str, **environment: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(dedent(tests))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--strict-markers", *options),
            cwd=tmp_path,
            env=os.environ | proxies | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(50):
            out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    return run


@pytest.mark.parametrize("mode", ["strict", "auto"])
async def test_every_kind_of_test(run_pytest: Any, mode: str) -> None:
    """Synchronous tests, every loop scope, and whatever a test leaves open."""
    marker = "@pytest.mark.asyncio" if mode == "strict" else ""
    tests = TESTS.replace("@ASYNCIO", marker)
    code, out = await run_pytest(tests, *LOOP_SCOPE, "-o", f"asyncio_mode={mode}")
    assert code == 0, out
    assert "13 passed" in out


@pytest.mark.parametrize("options", [LOOP_SCOPE, ("-p", "no:asyncio")])
async def test_anyio(run_pytest: Any, options: tuple[str, ...]) -> None:
    """The client works and is closed in anyio's loop, with or without pytest-asyncio."""
    code, out = await run_pytest(
        ANYIO, "-W", "error", *options, NO_PROXY="corp.example"
    )
    assert code == 0, out
    assert "1 passed" in out


async def test_wrong_options_are_named(run_pytest: Any) -> None:
    """A misspelt option of the marker or the factory says which one was meant."""
    tests = """
        import pytest

        @pytest.mark.fake_hub(qouta=None)
        def test_marker(fake_hub):
            pass

        @pytest.mark.fake_hub(5)
        def test_position(fake_hub):
            pass

        def test_factory(fake_hub_factory):
            fake_hub_factory(build_second=1.0)
    """
    code, out = await run_pytest(tests)
    assert code == 1
    assert "FakeHub has no option 'qouta'; did you mean 'quota'?" in out
    assert "@pytest.mark.fake_hub takes only keyword arguments" in out
    assert "FakeHub has no option 'build_second'; did you mean 'build_seconds'?" in out


@pytest.mark.parametrize(
    ("before", "during"),
    [
        ({}, {"no_proxy": "127.0.0.1,localhost,::1"}),
        ({"NO_PROXY": "a"}, {"NO_PROXY": "a,127.0.0.1,localhost,::1"}),
        (
            {"NO_PROXY": "a", "no_proxy": "b"},
            {
                "NO_PROXY": "a,127.0.0.1,localhost,::1",
                "no_proxy": "b,127.0.0.1,localhost,::1",
            },
        ),
    ],
)
def test_no_proxy_is_extended_and_restored(
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, str],
    during: dict[str, str],
) -> None:
    """Every client of the test reaches the Hub directly; what was set stays."""

    def shown() -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if k.lower() == "no_proxy"}

    for name, value in before.items():
        monkeypatch.setenv(name, value)
    with _direct():
        assert shown() == during
        with _direct():
            assert shown() == during
        assert shown() == during
    assert shown() == before


def test_loading_the_plugin_loads_next_to_nothing() -> None:
    """pytest loads it in every run of everybody who has the package installed.

    Not even asyncio, if nothing else does.
    """
    code = (
        "import sys, pytest; sys.modules['pytest_asyncio'] = None;"
        "before = set(sys.modules);"
        "import spaces_async.testing.pytest_plugin;"
        "new = set(sys.modules) - before - sys.stdlib_module_names;"
        "heavy = {'asyncio', 'ssl', 'inspect', 'logging'} & set(sys.modules) - before;"
        "print(sorted(heavy | {m for m in new if not m.startswith(("
        " 'spaces_async._lazy', 'spaces_async._version', 'importlib.'))}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == (
        "['spaces_async', 'spaces_async.testing', 'spaces_async.testing.pytest_plugin']"
    )
