"""What an import of the package and its names costs, and when the rest is imported."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import spaces_async
from spaces_async._lazy import lazy_names
from spaces_async.testing import FakeHub

PACKAGES = (
    "spaces_async",
    "spaces_async.bulk",
    "spaces_async.observe",
    "spaces_async.testing",
)

HEAVY = {
    *("aiohttp", "asyncio", "attr", "cattrs", "click", "orjson", "rich", "ssl"),
    *("tenacity", "yarl", "spaces_async.testing", "spaces_async.cli"),
}


def run(code: str, *flags: str, **names: str) -> str:
    """Run a program in a fresh interpreter in which every warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", code],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


class Names:
    """What the source of a package says about its names."""

    def __init__(self, package: str) -> None:
        self.module = importlib.import_module(package)
        self.package = package
        for_checkers: dict[str, str] = {}
        at_once: set[str] = set()
        self.table: dict[str, str] = {}
        for node in ast.parse(inspect.getsource(self.module)).body:
            if isinstance(node, ast.ImportFrom):
                at_once |= {alias.name for alias in node.names}
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for inner in node.body:
                    assert isinstance(inner, ast.ImportFrom)
                    for alias in inner.names:
                        for_checkers[alias.name] = str(inner.module)
            elif isinstance(node, ast.If):
                (table,) = (n for n in ast.walk(node) if isinstance(n, ast.Dict))
                modules = ast.literal_eval(table)
                self.table = {n: m for m, names in modules.items() for n in names}
        self.for_checkers = for_checkers
        self.at_once = at_once


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_said_to_be_in_the_same_module(package: str) -> None:
    """Type checkers, `__all__` and the table of a package agree on each name."""
    names = Names(package)
    public: list[str] = names.module.__all__
    assert len(names.table) > 5
    for name, module in names.table.items():
        assert names.for_checkers.pop(name) == f"{package}.{module}", name
    # What is left are modules of the package themselves.
    for name, module in names.for_checkers.items():
        assert module == package
        assert inspect.ismodule(getattr(names.module, name))
    everything = {*names.table, *names.for_checkers, *(names.at_once & set(public))}
    assert everything == set(public)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_there(package: str) -> None:
    """Whoever asks for a public name gets it: `dir`, an attribute, a star import."""
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    assert dir(module) == sorted(set(dir(module)))
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)  # noqa: S102
    del found["__builtins__"]
    assert sorted(found) == module.__all__
    assert all(found[name] is getattr(module, name) for name in found)


def test_modules_are_attributes() -> None:
    """`import spaces_async` is enough for `spaces_async.errors` and its neighbours."""
    code = (
        "import sys, spaces_async as sa; assert 'errors' in dir(sa)\n"
        "print(sa.errors.__name__, sa.bulk.operations.__name__, sa.logs.__name__)"
    )
    assert run(code).split() == [
        "spaces_async.errors",
        "spaces_async.bulk.operations",
        "spaces_async.logs",
    ]


def test_a_wrong_name_is_an_error_with_a_suggestion() -> None:
    """As with any module: an AttributeError, and an ImportError of an import."""
    with pytest.raises(AttributeError, match="'spaces_async' has no attribute") as seen:
        _ = spaces_async.SpaceClient  # type: ignore[attr-defined]
    assert seen.value.name == "SpaceClient"
    assert seen.value.obj is spaces_async
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from spaces_async import nothing")  # noqa: S102


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use of a name finds it in the package, at no cost."""
    package = ModuleType("some_package")
    monkeypatch.setitem(sys.modules, "some_package", package)
    part = ModuleType("some_package.part")
    part.__dict__["Thing"] = object()
    monkeypatch.setitem(sys.modules, "some_package.part", part)
    get, names = lazy_names("some_package", {"part": ("Thing",), "_private": ()})
    assert {"part", "Thing"} <= set(names())
    assert "_private" not in names()
    assert "Thing" not in vars(package)
    assert get("Thing") is part.__dict__["Thing"] is vars(package)["Thing"]


@pytest.mark.parametrize("flags", [(), ("-X", "dev")], ids=["plain", "dev"])
def test_the_faces_are_light(flags: tuple[str, ...]) -> None:
    """A program that only names a client, or catches our errors, loads nothing for it."""
    code = (
        "import sys; from spaces_async import AsyncHfApi, SpacesClient, SpacesError\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    assert run(code, *flags) == "[]\n"


@pytest.mark.parametrize(
    "name", ["Selection", "SpaceInfo", "Outcome", "Account", "ClientSettings"]
)
def test_records_and_settings_need_no_client(name: str) -> None:
    """What describes Spaces or a bulk loads neither aiohttp nor cattrs."""
    loaded = run(f"import sys; from spaces_async import {name}; print(*sys.modules)")
    assert not {"aiohttp", "cattrs", "yarl", "tenacity", "asyncio"} & {*loaded.split()}


def test_the_package_itself_loads_two_modules() -> None:
    """`import spaces_async` is nearly free."""
    loaded = run("import sys, spaces_async; print(*sys.modules)").split()
    assert {name for name in loaded if name.startswith("spaces_async")} == {
        "spaces_async",
        "spaces_async._lazy",
        "spaces_async._version",
    }


CALLS = """
import asyncio, sys
from spaces_async import AsyncHfApi, ClientSettings, Selection, SpacesClient

events = []
client = SpacesClient(settings=ClientSettings(observer=OBSERVER))
before = set(sys.modules)

async def main():
    async with client:
        await client.lifecycle.get_runtime("acme/demo")
        await client.lifecycle.restart("acme/demo")
        async for _ in client.catalog.list_spaces(author="acme", expand=["runtime"]):
            pass
        await client.bulk.pause(Selection(author="acme"), concurrency=2)
        await client.config.get_variables("acme/demo")
        await client.storage.get_volumes("acme/demo")
        await client.hardware.list_flavors()
        async with client.logs.stream_logs("acme/demo", tail=1) as lines:
            await anext(lines, None)
        api = AsyncHfApi.of(client)
        await api.whoami()
        await api.add_space_variable("acme/demo", "A", "1")

asyncio.run(main())
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names), *sorted(
    name for name in set(sys.modules) - before if name.startswith("spaces_async")
))
"""


@pytest.mark.parametrize("observer", ["None", "events.append"])
def test_calls_import_nothing(
    fake_hub_factory: Callable[..., FakeHub], observer: str
) -> None:
    """All that calls need is there once a client is made, so none blocks the loop."""
    hub = fake_hub_factory()
    hub.add_space("acme/demo").log("begun")
    hub.space("acme/demo").log("done")
    hub.add_space("acme/crashed", stage="RUNTIME_ERROR")
    calls = CALLS.replace("OBSERVER", observer)
    out = run(calls, HF_ENDPOINT=hub.url, HF_TOKEN=hub.token)
    assert hub.count("POST", "/pause") == 2
    assert out == "[]\n"


OBSERVED = """
import sys
from spaces_async import ClientSettings, SpacesClient

told = ("spaces_async.observe", "spaces_async._core.ob", "opentelemetry", "structlog")
client = SpacesClient()
print([name for name in sys.modules if name.startswith(told)])
SpacesClient(settings=ClientSettings(observer=print))
print("spaces_async._core.observed" in sys.modules, *sorted(
    {"opentelemetry", "prometheus_client", "structlog"} & set(sys.modules)
))
"""


def test_only_an_observer_loads_what_tells_it() -> None:
    """A client without one has none of it, and no client has the ready-made ones."""
    assert run(OBSERVED) == "[]\nTrue\n"


THREADS = """
import sys, threading
import spaces_async

names = [name for name in spaces_async.__all__ for _ in range(2)]
ready = threading.Barrier(len(names))
failed = []

def ask(name):
    ready.wait()
    try:
        getattr(spaces_async, name)
        if name == "SpacesClient":
            spaces_async.SpacesClient(token=False)
    except BaseException as error:
        failed.append((name, repr(error)))

threads = [threading.Thread(target=ask, args=(name,)) for name in names]
sys.setswitchinterval(1e-5)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def test_threads_may_ask_at_the_same_time() -> None:
    """However many threads ask for names first, each gets a whole module."""
    assert run(THREADS) == "[]\n"


def test_pickles_need_no_import_of_ours() -> None:
    """A record and an error of another process are read by one that imported nothing."""
    made = run(
        "import pickle, spaces_async as sa\n"
        "info = sa.SpaceInfo('acme/demo', runtime=sa.SpaceRuntime('RUNNING'))\n"
        "outcome = sa.Outcome('acme/demo', sa.OutcomeStatus.DONE, value=info)\n"
        "error = sa.ConfigurationError('no')\n"
        "print(pickle.dumps((info, outcome, error)).hex())"
    )
    read = run(
        "import pickle, sys\n"
        f"info, outcome, error = pickle.loads(bytes.fromhex({made.strip()!r}))\n"
        "print(info.stage, outcome.value == info, type(error).__name__)"
    )
    assert read.split() == ["RUNNING", "True", "ConfigurationError"]
