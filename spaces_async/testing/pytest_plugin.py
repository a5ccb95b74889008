"""pytest plugin: the fixtures `fake_hub`, `fake_hub_factory` and `fake_client`.

Once the package is installed, every pytest run loads this plugin, so it imports nothing
heavy before a test asks for a fixture.

The Hubs run in threads of their own. They need neither an event loop nor a plugin for
one, and serve tests of any loop, synchronous tests included.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from spaces_async import SpacesClient
    from spaces_async.testing.hub import FakeHub

__all__ = ["fake_client", "fake_hub", "fake_hub_factory"]

_MARKER = (
    "fake_hub(**options): options of the FakeHub behind the fixture `fake_hub`, such as"
    " quota=Quota(5) or build_seconds=0.1; those of a test override those of its class"
    " and module."
)
_SCOPES = ("function", "class", "module", "package", "session")
#: What is being set up, the innermost last: what asks for a Hub keeps it until its end.
_owners: list[Any] = []


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Remember the test that runs."""
    with _owned_by(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None]:
    """Remember the fixture that is set up."""
    with _owned_by(fixturedef):
        yield


@contextlib.contextmanager
def _owned_by(owner: object) -> Generator[None]:
    _owners.append(owner)
    try:
        yield
    finally:
        _owners.pop()


@pytest.fixture
def fake_hub(request: pytest.FixtureRequest) -> Iterator[FakeHub]:
    """A running FakeHub in a thread of its own, closed after the test.

    `@pytest.mark.fake_hub(quota=Quota(5), build_seconds=0.1)` sets its options.
    """
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("fake_hub"))):
        if marker.args:
            raise pytest.UsageError(
                "@pytest.mark.fake_hub takes only keyword arguments"
            )
        options |= marker.kwargs
    with _running(options) as hub:
        yield hub


@pytest.fixture(scope="session")
def fake_hub_factory() -> Callable[..., FakeHub]:
    """Start further Hubs: `fake_hub_factory(quota=Quota(5))` takes FakeHub's options.

    Each one runs in a thread of its own until the test, or the fixture of any scope,
    that asked for it ends.
    """

    def make(**options: Any) -> FakeHub:
        running = _running(options)
        hub = running.__enter__()
        _owners[-1].addfinalizer(lambda: running.__exit__(None, None, None))
        return hub

    return make


@contextlib.contextmanager
def _running(options: dict[str, Any]) -> Generator[FakeHub]:
    import inspect  # noqa: PLC0415 - see above

    from spaces_async.testing._names import hint  # noqa: PLC0415 - see above
    from spaces_async.testing.hub import FakeHub  # noqa: PLC0415 - see above

    known = inspect.signature(FakeHub).parameters
    for name in options:
        if name not in known:
            text = f"FakeHub has no option {name!r}; {hint(name, known)}"
            raise pytest.UsageError(text)
    with _direct(), FakeHub(**options) as hub:
        yield hub


# Proxies -----------------------------------------------------------------------------

_NO_PROXY = ("no_proxy", "NO_PROXY")
_direct_uses = 0
_before: dict[str, str | None] = {}


@contextlib.contextmanager
def _direct() -> Generator[None]:
    """Let every client reach loopback directly, whatever proxies are set."""
    global _direct_uses  # noqa: PLW0603 - the environment is as global
    if not _direct_uses:
        _before.update({name: os.environ.get(name) for name in _NO_PROXY})
        listed = [name for name in _NO_PROXY if _before[name]] or [_NO_PROXY[0]]
        for name in listed:
            entries = [_before[name] or "", "127.0.0.1", "localhost", "::1"]
            os.environ[name] = ",".join(filter(None, entries))
    _direct_uses += 1
    try:
        yield
    finally:
        _direct_uses -= 1
        if not _direct_uses:
            for name, value in _before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


# A client ----------------------------------------------------------------------------


@pytest.fixture
def fake_client(request: pytest.FixtureRequest, fake_hub: FakeHub) -> SpacesClient:
    """A `SpacesClient` for `fake_hub` with its token and short pauses before retries.

    It works in the event loop of the test and is closed in that loop afterwards. A
    synchronous test may use it in one loop of its own, and closes it there:
    `async with fake_client: ...`. With anyio, leave pytest-asyncio in its strict mode:
    in auto mode both plugins claim the same test.
    """
    del fake_hub  # only its lifetime matters: the client ends first
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and _has_asyncio_plugin:
        wanted = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
        scope = wanted or _default_loop_scope(request.config)
        name = f"_fake_client_in_{scope}_loop"
    elif "anyio_backend" in request.fixturenames:
        name = "_fake_client_in_anyio"
    else:
        name = "_fake_client_without_loop"
    return cast("SpacesClient", request.getfixturevalue(name))


def _default_loop_scope(config: pytest.Config) -> str:
    try:
        return str(config.getini("asyncio_default_test_loop_scope") or "function")
    except ValueError:  # an older pytest-asyncio
        return "function"


def _make_client(hub: FakeHub) -> SpacesClient:
    from spaces_async.client import SpacesClient  # noqa: PLC0415 - see above
    from spaces_async.settings import ClientSettings, RetryPolicy  # noqa: PLC0415

    settings = ClientSettings(retry=RetryPolicy(wait_initial=0.01))
    return SpacesClient(endpoint=hub.url, token=hub.token, settings=settings)


@pytest.fixture
def _fake_client_without_loop(fake_hub: FakeHub) -> Iterator[SpacesClient]:
    client = _make_client(fake_hub)
    yield client
    if not client.closed:
        import asyncio  # noqa: PLC0415 - see above

        asyncio.run(client.aclose())


def _client_fixture() -> Callable[[FakeHub], AsyncIterator[SpacesClient]]:
    # A function of its own each time: pytest-asyncio keeps the loop scope in it.
    async def client_of(fake_hub: FakeHub) -> AsyncIterator[SpacesClient]:
        async with _make_client(fake_hub) as client:
            yield client

    return client_of


_fake_client_in_anyio = pytest.fixture(_client_fixture())
try:
    import pytest_asyncio
except ImportError:  # pragma: no cover
    _has_asyncio_plugin = False
else:
    _has_asyncio_plugin = True

    # One for each loop scope: a client belongs to the loop of the test.
    for _scope in _SCOPES:
        _name = f"_fake_client_in_{_scope}_loop"
        globals()[_name] = pytest_asyncio.fixture(
            _client_fixture(), name=_name, loop_scope=cast("Any", _scope)
        )
