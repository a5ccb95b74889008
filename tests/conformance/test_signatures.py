"""`AsyncHfApi` has the methods of `HfApi`: names, parameters, order, defaults."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from huggingface_hub import HfApi

from spaces_async import AsyncHfApi, ConfigurationError, HubResponseError, SpacesClient
from spaces_async.testing import FakeHub, Fault
from tests.support.recorder import Pair

# In 2.x HfApi has these no more; this is what 1.x had.
LEGACY = {
    "request_space_storage": "(repo_id, storage, *, token=None)",
    "delete_space_storage": "(repo_id, *, token=None)",
    "duplicate_space": (
        "(from_id, to_id=None, *, private=None, token=None, exist_ok=False,"
        " hardware=None, storage=None, sleep_time=None, secrets=None, variables=None)"
    ),
}
OWN = {"of", "aclose"}
REPOSITORIES = {
    "create_repo",
    "delete_repo",
    "move_repo",
    "update_repo_settings",
    "duplicate_repo",
    "whoami",
    "get_zero_gpu_quota",
}
ITERATORS = {"list_spaces", "search_spaces", "fetch_space_logs"}


def methods(kind: type) -> set[str]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_")}


OURS = sorted(methods(AsyncHfApi) - OWN)
SHARED = sorted(set(OURS) - set(LEGACY))


def parameters(kind: type, name: str) -> str:
    signature = inspect.signature(getattr(kind, name))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in list(signature.parameters.values())[1:]
    ]
    return str(inspect.Signature(bare))


def test_every_method_about_spaces_is_there() -> None:
    """What `HfApi` can do with Spaces can be done here; a new method is noticed."""
    about_spaces = {name for name in methods(HfApi) if "space" in name}
    assert about_spaces | REPOSITORIES == set(SHARED)


@pytest.mark.parametrize("name", SHARED)
def test_parameters_are_those_of_hfapi(name: str) -> None:
    """Names, order, kinds and defaults: a call that fits the one fits the other."""
    assert parameters(AsyncHfApi, name) == parameters(HfApi, name)


@pytest.mark.parametrize("name", LEGACY)
def test_parameters_are_those_of_1x(name: str) -> None:
    """The methods of 1.x that are gone keep the parameters that they had."""
    assert not hasattr(HfApi, name)
    assert parameters(AsyncHfApi, name) == LEGACY[name]


def test_the_constructor_begins_as_hfapis() -> None:
    """`endpoint` and `token` come first, by position too."""
    ours, theirs = (
        list(inspect.signature(kind).parameters)[:2] for kind in (AsyncHfApi, HfApi)
    )
    assert ours == theirs == ["endpoint", "token"]


@pytest.mark.parametrize("name", OURS)
def test_methods_are_awaited_or_iterated_and_documented(name: str) -> None:
    """Only the three iterators are no coroutines; each names its endpoint."""
    method = getattr(AsyncHfApi, name)
    assert inspect.iscoroutinefunction(method) is (name not in ITERATORS)
    assert " /api/" in (inspect.getdoc(method) or "")


async def test_iterators_are_asynchronous(pair: Pair) -> None:
    """The three give an async iterator without being awaited."""
    for made in (
        pair.ours.list_spaces(),
        pair.ours.search_spaces("x"),
        pair.ours.fetch_space_logs("acme/demo"),
    ):
        assert isinstance(made, AsyncIterator)
        assert [item async for item in made]


async def test_it_can_lie_over_a_client_that_is_there() -> None:
    """`AsyncHfApi.of(client)` shares the client; both close it."""
    client = SpacesClient(token="hf_mine", endpoint="http://127.0.0.1:9")
    api = AsyncHfApi.of(client)
    assert api.client is client
    assert api.endpoint == client.endpoint
    assert "hf_mine" not in repr(api)
    await api.aclose()
    assert client.closed


async def test_true_is_a_token_that_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    """`AsyncHfApi(token=True)` takes the token of the environment, as None does."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    async with AsyncHfApi(pair.ours.endpoint, True) as api:
        await api.pause_space("acme/demo")
    assert pair.recorder.take()[0].token == "Bearer hf_of_the_environment"


async def test_whoami_of_nobody_is_not_sent(pair: Pair) -> None:
    """Without a token both refuse to ask who it is."""
    async with AsyncHfApi(pair.ours.endpoint, token=None) as api:
        with pytest.raises(ConfigurationError, match="needs a token"):
            await api.whoami()
    assert pair.recorder.take() == []


SECRET = "s3cret-value"
OTHER = "hf_somebody_elses"
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("add_space_secret", ("acme/demo", "KEY", SECRET), {}),
    ("add_space_secret", ("acme/demo",), {"key": "KEY", "value": SECRET}),
    (
        "create_repo",
        ("acme/demo",),
        {
            "repo_type": "space",
            "space_sdk": "gradio",
            "space_secrets": [{"key": "KEY", "value": SECRET}],
        },
    ),
    (
        "duplicate_repo",
        ("acme/demo", "me/copy"),
        {"repo_type": "space", "space_secrets": [{"key": "KEY", "value": SECRET}]},
    ),
    ("duplicate_space", ("acme/demo", "me/copy"), {"secrets": {"KEY": SECRET}}),
]


@pytest.mark.parametrize(
    ("method", "args", "kwargs"), CALLS, ids=["position", "name", "new", "copy", "1x"]
)
async def test_no_traceback_shows_a_token_or_a_secret(
    pair: Pair, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Not even one that prints the locals of every frame of this package."""
    for line in (
        "/repos/create",
        "/spaces/acme/demo/secrets",
        "/spaces/acme/demo/duplicate",
    ):
        pair.recorder.refuse(f"POST /api{line}", 403, {"error": "no"})
    with pytest.raises(HubResponseError) as caught:
        await getattr(pair.ours, method)(*args, token=OTHER, **kwargs)
    shown = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    )
    frames = [frame for frame in shown.stack if "spaces_async" in frame.filename]
    assert len(frames) > 3
    text = str([frame.locals for frame in frames])
    assert OTHER not in text
    assert SECRET not in text


@pytest.mark.parametrize("name", ["list_spaces", "search_spaces", "pause_space"])
def test_a_refused_token_is_not_shown(name: str) -> None:
    """A token that cannot be sent is refused without showing it."""
    bad = "hf_two\nlines"
    api = AsyncHfApi("http://127.0.0.1:9", token=False)
    with pytest.raises(ConfigurationError) as caught:
        made = getattr(api, name)(
            *(["x/y"] if name != "list_spaces" else []), token=bad
        )
        made.send(None)
    shown = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    )
    frames = [frame for frame in shown.stack if "spaces_async/" in frame.filename]
    assert frames
    assert "hf_two" not in str([frame.locals for frame in frames])
    assert "hf_two" not in str(caught.value)


@pytest.mark.parametrize("acted", [True, False])
async def test_a_variable_whose_answer_is_lost_is_read(
    hub: FakeHub, acted: bool
) -> None:
    """As `Config.add_variable` does: the state decides, and it is written once."""
    hub.faults("POST /variables", Fault.reset(acted=acted))
    async with AsyncHfApi(hub.url, hub.token) as api:
        variables = await api.add_space_variable("acme/demo", "KEY", "1")
    assert variables["KEY"].value == "1"
    written = [r for r in hub.requests if r.method == "POST"]
    assert len(written) == (1 if acted else 2)


async def test_a_variable_whose_answer_is_garbage_is_read(hub: FakeHub) -> None:
    """The write took effect: all variables are read instead of the broken answer."""
    hub.faults("POST /variables", Fault.invalid_json())
    async with AsyncHfApi(hub.url, hub.token) as api:
        variables = await api.add_space_variable(
            "acme/demo", "KEY", "1", description="why"
        )
    assert (variables["KEY"].value, variables["KEY"].description) == ("1", "why")
    assert hub.count("POST", "/variables") == 1
