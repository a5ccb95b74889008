"""Where the token comes from, where it may go, and that nobody sees it."""

from __future__ import annotations

import contextlib
import logging
import traceback
from pathlib import Path

import pytest

from spaces_async import (
    AuthenticationError,
    ClientSettings,
    ConfigurationError,
    SpacesClient,
    SpacesError,
)
from spaces_async.testing import FakeHub, Fault

CANARY = "hf_canary_" + "x" * 20


async def token_sent(hub: FakeHub, token: str | bool | None = None) -> str | None:
    """Make a call with a client made just so, and return the token that the Hub got."""
    async with SpacesClient(token=token, endpoint=hub.url) as client:  # type: ignore[arg-type]
        with contextlib.suppress(SpacesError):
            await client.lifecycle.get_runtime("acme/demo")
    return hub.requests[-1].token


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_TOKEN": "t1", "HUGGINGFACE_TOKEN": "t2"}, "t1"),
        ({"HUGGINGFACE_TOKEN": "t2", "HUGGING_FACE_HUB_TOKEN": "t3"}, "t2"),
        ({"HUGGING_FACE_HUB_TOKEN": "t3"}, "t3"),
        ({"HF_TOKEN": "", "HUGGINGFACE_TOKEN": " t2\n"}, "t2"),
        ({"HF_TOKEN": "t1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None),
        ({}, None),
    ],
)
async def test_variables_in_their_order(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    expected: str | None,
) -> None:
    """The first variable that holds anything wins, unless the lookup is forbidden."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert await token_sent(hub) == expected


async def test_the_argument_beats_the_environment(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is passed is used; False is anonymous whatever is set."""
    monkeypatch.setenv("HF_TOKEN", "t1")
    assert await token_sent(hub, "t0") == "t0"
    assert await token_sent(hub, token=False) is None


@pytest.mark.parametrize("where", ["HF_TOKEN_PATH", "HF_HOME", "XDG", "default"])
async def test_the_token_file_in_its_places(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """The file of the official client is found wherever the environment puts it."""
    monkeypatch.delenv("HF_TOKEN_PATH")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cache/huggingface/token"
    if where == "HF_TOKEN_PATH":
        path = tmp_path / "elsewhere"
        monkeypatch.setenv("HF_TOKEN_PATH", str(path))
    elif where == "HF_HOME":
        path = tmp_path / "home/token"
        monkeypatch.setenv("HF_HOME", str(path.parent))
    elif where == "XDG":
        path = tmp_path / "xdg/huggingface/token"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("t-file\n")
    assert await token_sent(hub) == "t-file"


async def test_an_unreadable_token_file_is_told(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token file that cannot be read is an error and not an anonymous call."""
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path))
    async with SpacesClient(endpoint=hub.url) as client:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await client.lifecycle.get_runtime("acme/demo")
    assert not hub.requests


@pytest.mark.parametrize(
    "bad", ["a\nb", "a\r", "a b", "tökén", "a\x00", "", "x" * 5000, 7, True]
)
def test_a_malformed_token_is_refused_unseen(bad: object) -> None:
    """A token that cannot be a header is refused; no traceback shows it."""
    planted = f"{CANARY}{bad}" if isinstance(bad, str) and bad else bad
    with pytest.raises(ConfigurationError) as caught:
        SpacesClient(token=planted)  # type: ignore[arg-type]
    assert "token" in str(caught.value)
    # The last frame of the caller's is this test itself: it may know its own token.
    ours = caught.value.__traceback__
    assert ours is not None
    told = traceback.TracebackException(
        type(caught.value), caught.value, ours.tb_next, capture_locals=True
    )
    assert CANARY not in "".join(told.format())
    with pytest.raises(ConfigurationError):
        SpacesClient(token=False).with_token(planted)  # type: ignore[arg-type]


def test_the_environment_is_in_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad setting at start-up does not print the environment, token and all."""
    monkeypatch.setenv("HF_TOKEN", CANARY + "\x07")
    with pytest.raises(ConfigurationError, match="HF_TOKEN") as caught:
        SpacesClient()
    told = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    )
    assert CANARY not in "".join(told.format())


@pytest.mark.parametrize(
    "endpoint", ["http://hub.example", "http://10.0.0.1:8080", "http://[2001:db8::1]"]
)
def test_a_token_does_not_go_over_plain_http(endpoint: str) -> None:
    """Unencrypted and to another machine: refused, unless a setting allows it."""
    with pytest.raises(ConfigurationError, match="unencrypted"):
        SpacesClient(token="t", endpoint=endpoint)
    with pytest.raises(ConfigurationError, match="unencrypted"):
        SpacesClient(token=False, endpoint=endpoint).with_token("t")
    SpacesClient(token=False, endpoint=endpoint)
    allowed = ClientSettings(allow_insecure_http=True)
    SpacesClient(token="t", endpoint=endpoint, settings=allowed)


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:8", "http://127.9.9.9", "http://[::1]:8"]
)
def test_loopback_is_no_other_machine(endpoint: str) -> None:
    """An embedded Hub on this machine may see a token without TLS."""
    SpacesClient(token="t", endpoint=endpoint)


async def test_the_token_file_obeys_the_same_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token that is found late is refused late, but before anything is sent."""
    (tmp_path / "token").write_text("t")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    async with SpacesClient(endpoint="http://192.0.2.1") as client:
        with pytest.raises(ConfigurationError, match="unencrypted"):
            await client.lifecycle.get_runtime("acme/demo")


async def test_hf_endpoint_is_used(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`HF_ENDPOINT` says where the Hub is; an argument beats it."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    async with SpacesClient(token=hub.token) as client:
        assert client.endpoint == hub.url
        assert (await client.lifecycle.get_runtime("acme/demo")).stage.is_running
    assert SpacesClient(token=False, endpoint="https://x.example").endpoint == (
        "https://x.example"
    )


async def test_offline_refuses_clearly(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `HF_HUB_OFFLINE` nothing is sent, and the error says why."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with SpacesClient(token=hub.token, endpoint=hub.url) as client:
        with pytest.raises(ConfigurationError, match="HF_HUB_OFFLINE"):
            await client.lifecycle.get_runtime("acme/demo")
        with pytest.raises(ConfigurationError, match="HF_HUB_OFFLINE"):
            await client.bulk.restart(["acme/demo", "acme/other"])
    assert not hub.requests


async def test_two_identities_share_connections(hub: FakeHub) -> None:
    """`with_token` calls as somebody else; closing the view closes nothing."""
    hub.add_user("alice", token="hf_alice")
    async with SpacesClient(token=hub.token, endpoint=hub.url) as client:
        async with client.with_token("hf_alice") as alice:
            await alice.lifecycle.get_runtime("acme/demo")
        await client.with_token(False).lifecycle.get_runtime("acme/demo")
        await client.lifecycle.get_runtime("acme/demo")
        assert [r.token for r in hub.requests] == ["hf_alice", None, hub.token]
        assert hub.connections == 1
        with pytest.raises(ConfigurationError):
            client.with_token(None)  # type: ignore[arg-type]


async def test_the_token_is_in_nothing_that_is_printed(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """repr, logs at DEBUG, errors and tracebacks with locals hold no token."""
    caplog.set_level(logging.DEBUG)
    hub.faults("GET /runtime", Fault.reset(), times=1)
    async with SpacesClient(token=CANARY, endpoint=hub.url) as client:
        shown = [repr(client), repr(client.with_token(CANARY)), str(vars(client))]
        with pytest.raises(AuthenticationError) as caught:
            await client.lifecycle.get_runtime("acme/demo")
    error = caught.value
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    told = traceback.TracebackException(type(error), error, frames, capture_locals=True)
    shown += [*told.format(), repr(error), str(vars(error)), caplog.text]
    assert hub.requests[-1].token == CANARY
    assert not [text for text in shown if CANARY in text]


# A token that is refused, or not there ------------------------------------------------


async def test_a_refused_token_of_the_file_is_read_once_more(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever logs in again need not start a service anew, and a write is done once."""
    path = tmp_path / "token"
    monkeypatch.setenv("HF_TOKEN_PATH", str(path))
    path.write_text("hf_old")
    hub.add_token("hf_old")
    async with SpacesClient(endpoint=hub.url) as client:
        await client.lifecycle.pause("acme/demo")
        path.write_text(hub.token)
        hub.remove_token("hf_old")
        view = client.with_options()
        await view.config.add_variable("acme/demo", "K", "v")
        await client.config.add_variable("acme/demo", "L", "v")
        assert (await client.catalog.whoami()).name == "tester"
    tokens = [r.token for r in hub.requests if r.method == "POST"]
    assert tokens == ["hf_old", "hf_old", hub.token, hub.token]


async def test_a_token_of_the_file_that_is_refused_still(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to do; the token is not refreshed for the user."""
    path = tmp_path / "token"
    monkeypatch.setenv("HF_TOKEN_PATH", str(path))
    path.write_text("hf_old")
    async with SpacesClient(endpoint=hub.url) as client:
        for number in (1, 2):
            with pytest.raises(AuthenticationError, match="hf auth login") as caught:
                await client.lifecycle.restart("acme/demo")
            assert len(hub.requests) == number
            assert caught.value.__context__ is None
        path.write_text("hf_another")
        with pytest.raises(AuthenticationError, match="hf auth login"):
            await client.lifecycle.restart("acme/demo")
        assert [r.token for r in hub.requests[2:]] == ["hf_old", "hf_another"]
        path.unlink()
        with pytest.raises(AuthenticationError, match="hf auth login"):
            await client.lifecycle.restart("acme/demo")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "no token was found"),
        ({"HF_TOKEN": ""}, "HF_TOKEN is empty"),
        ({"HF_OIDC_RESOURCE": "x"}, "HF_OIDC_RESOURCE is set"),
        ({"COLAB_RELEASE_TAG": "release"}, "Colab"),
        (
            {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
            "HF_HUB_DISABLE_IMPLICIT_TOKEN is set",
        ),
    ],
)
async def test_why_there_is_no_token(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    says: str,
) -> None:
    """Where a token was looked up in vain, the error of the Hub names the likely cause."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with SpacesClient(endpoint=hub.url) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.lifecycle.restart("acme/demo")
    assert says in str(caught.value)
    async with SpacesClient(endpoint=hub.url, token=False) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.lifecycle.restart("acme/demo")
    assert "no token was found" not in str(caught.value)


async def test_a_user_without_a_home_directory(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's bare uid has no token file: calls are anonymous, or the error tells."""

    def home(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HF_TOKEN_PATH")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(Path, "expanduser", home)
    async with SpacesClient(endpoint=hub.url) as client:
        await client.lifecycle.get_runtime("acme/demo")
        with pytest.raises(AuthenticationError, match="no home directory"):
            await client.lifecycle.restart("acme/demo")
    monkeypatch.setenv("HF_TOKEN_PATH", "~/token")
    SpacesClient(endpoint=hub.url, token="hf_given")
