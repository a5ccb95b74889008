"""A name that is not where it was looked for: the error says where it is."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
from huggingface_hub import HfApi

import spaces_async as sa
from spaces_async import _hints
from spaces_async._wire.converter import decode_info
from tests.support.official import needs_official


@pytest.fixture
def client() -> Any:
    """A client that is never used."""
    return sa.SpacesClient(token=False, endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("restart", "client.lifecycle.restart or client.bulk.restart"),
        ("pause", "client.lifecycle.pause or client.bulk.pause"),
        ("list_spaces", "client.catalog.list_spaces"),
        ("restart_space", "client.lifecycle.restart"),
        ("add_space_secret", "client.config.add_secret"),
        ("get_runtimes", "client.lifecycle.get_runtime"),
        ("stream_log", "client.logs.stream_logs"),
        ("close", "client.aclose"),
        ("wait", "client.lifecycle.wait_until"),
    ],
)
def test_first_guesses_at_the_client(client: Any, name: str, hint: str) -> None:
    """`client.restart` and its like are answered with the place of the method."""
    with pytest.raises(AttributeError) as caught:
        getattr(client, name)
    assert str(caught.value) == f"SpacesClient has no {name!r}; did you mean {hint}?"
    assert not hasattr(client, name)


@pytest.mark.parametrize(
    ("room", "name", "hint"),
    [
        (
            "lifecycle",
            "request_hardware",
            "client.hardware.request_hardware or client.bulk.request_hardware",
        ),
        ("lifecycle", "restarts", "client.lifecycle.restart"),
        ("config", "add_variabel", "client.config.add_variable"),
        ("logs", "fetch_space_logs", "client.logs.stream_logs"),
        ("bulk", "wait_until", "client.lifecycle.wait_until"),
    ],
)
def test_a_method_of_another_resource(
    client: Any, room: str, name: str, hint: str
) -> None:
    """The right method in the wrong place, and a misspelt one."""
    with pytest.raises(AttributeError) as caught:
        getattr(getattr(client, room), name)
    expected = f"client.{room} has no {name!r}; did you mean {hint}?"
    assert str(caught.value) == expected


def test_a_guess_that_is_near_nothing(client: Any) -> None:
    """Where there is no hint, none is made up; private names are left alone."""
    with pytest.raises(AttributeError, match=r"^SpacesClient has no 'frobnicate'$"):
        _ = client.frobnicate
    with pytest.raises(AttributeError):
        _ = client._frobnicate
    with pytest.raises(AttributeError):
        _ = client.__deepcopy__


def test_what_is_not_about_spaces() -> None:
    """A method of HfApi that is not here says so, and what to use."""
    api: Any = sa.AsyncHfApi(token=False, endpoint="http://127.0.0.1:9")
    with pytest.raises(AttributeError, match="upload_file") as caught:
        _ = api.upload_file
    assert "is not about Spaces" in str(caught.value)
    assert "HfApi().upload_file" in str(caught.value)
    with pytest.raises(AttributeError, match=r"did you mean restart_space\?$"):
        _ = api.restart_spaces
    with pytest.raises(AttributeError, match=r"did you mean api.client.bulk.resume\?$"):
        _ = api.resume
    with pytest.raises(AttributeError, match=r"^AsyncHfApi has no 'frobnicate'$"):
        _ = api.frobnicate
    unmade = object.__new__(sa.AsyncHfApi)
    assert "None" in repr(unmade)


def methods_of(client: Any, room: str) -> set[str]:
    return {name for name in vars(type(getattr(client, room))) if name[0] != "_"}


@pytest.mark.parametrize(
    "room",
    [
        *("catalog", "lifecycle", "config", "hardware", "billing", "storage", "logs"),
        "bulk",
    ],
)
def test_every_method_is_found(client: Any, room: str) -> None:
    """Whichever method is looked for in the wrong place, the error says where it is."""
    elsewhere = client.logs if room != "logs" else client.catalog
    names = methods_of(client, room)
    assert names
    for name in names:
        hint = rf"client\.{room}\.{name}( or client\.bulk\.{name})?\?$"
        hint = hint if room != "bulk" else rf"client\.bulk\.{name}\?$"
        for place in (client, elsewhere):
            with pytest.raises(AttributeError, match=hint):
                getattr(place, name)


def test_a_wrong_guess_imports_nothing() -> None:
    """An import would block the event loop of whoever guesses."""
    code = """
import sys
import spaces_async as sa
client = sa.SpacesClient(token=False)
before = set(sys.modules)
for name in ("restart", "frobnicate", "list_space"):
    hasattr(client, name)
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_tables_are_true(client: Any) -> None:
    """Each official name that is written down exists here, and leads to a method."""
    for name, place in _hints.OFFICIAL_NAMES.items():
        room, _, method = place.partition(".")
        assert method in methods_of(client, room)
        assert hasattr(sa.AsyncHfApi, name)


@needs_official
def test_no_official_method_is_forgotten() -> None:
    """Each method of the official client is ours, or known as not about Spaces."""
    official = {n for n in dir(HfApi) if n[0] != "_" and callable(getattr(HfApi, n))}
    ours = {n for n in dir(sa.AsyncHfApi) if n[0] != "_"}
    assert official - ours == _hints.NOT_ABOUT_SPACES


def test_a_client_can_be_looked_at_before_it_is_made() -> None:
    """The hints do not get in the way of copies, pickles and tracebacks."""
    unmade = object.__new__(sa.SpacesClient)
    assert repr(unmade) == "<SpacesClient unmade>"
    assert isinstance(copy.copy(unmade), sa.SpacesClient)


def test_the_official_names_of_results() -> None:
    """`.rfilename`, `whoami()["name"]` and `error.response.status_code` work."""
    info = decode_info(b'{"id":"a/b","siblings":[{"rfilename":"app.py"}]}')
    assert info.siblings == ("app.py",)
    assert info.siblings is not None
    assert info.siblings[0].rfilename == "app.py"
    assert pickle.loads(pickle.dumps(info)) == info  # noqa: S301  (its own)
    account = sa.Account(
        "me", is_pro=True, raw={"name": "me", "isPro": True, "auth": 1}
    )
    assert (account["name"], account["isPro"], account["auth"]) == ("me", True, 1)
    with pytest.raises(KeyError):
        _ = account["nothing"]
    error = sa.NotFoundError("gone", status=404, body="not there")
    assert error.response.status_code == 404
    assert error.response.text == "not there"
    assert error.server_message == "gone"
