"""How the shell connects: proxies, certificates, and http without encryption."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yarl

from spaces_async.cli._app import App
from spaces_async.cli._output import Output
from spaces_async.client import session_of
from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUJfg7XdBOjqV1PdR1pyNU71CmvxcwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGQSB0ZXN0MCAXDTI2MTEyNjIxMzY0M1oYDzIxMjYxMTAyMjEz
NjQzWjARMQ8wDQYDVQQDDAZBIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASkg+hgFOmiFBHvO29aglZwvROk1ru3anir1HMC/stPGy+hpuOCrH+6LTiPhejn
DpcCwpZPnl+EJMPeCcpVFHhQo1MwUTAdBgNVHQ4EFgQUd5KlKzHeJmySnbVtwBFU
9yjU+B4wHwYDVR0jBBgwFoAUd5KlKzHeJmySnbVtwBFU9yjU+B4wDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAgaycucgS/xlCKJPOdoc+j8dJnrkK
tJrSPWacvLzAwmMCIQDPuNQbhN2RQ0OwmHARlqWXd6LBcNiYhjgWSyqyU5R91A==
-----END CERTIFICATE-----
"""


def settings_of(app: App) -> Any:
    return session_of(app._make_client()).shared.settings


def test_the_options_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option has its setting, and nothing is loosened without one."""
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    plain = settings_of(App(output=Output()))
    assert plain.trust_env
    assert not plain.allow_insecure_http
    loose = settings_of(App(output=Output(), no_proxy=True, insecure_http=True))
    assert not loose.trust_env
    assert loose.allow_insecure_http


def test_no_proxy(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken proxy in the environment is told of, and --no-proxy passes it by."""
    monkeypatch.setenv("HTTP_PROXY", "socks9://")
    monkeypatch.setenv("HTTPS_PROXY", "socks9://")
    refused = spaces("status", "acme/run-1", "--endpoint", "https://hub.invalid")
    assert refused.code == 2
    assert "--no-proxy" in refused.err
    assert spaces("status", "acme/run-1", "--no-proxy").code == 0
    assert spaces("--no-proxy", "status", "acme/run-1").code == 0


def test_insecure_http(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes over plain http to another host only where that is asked for."""
    app = App(output=Output(), endpoint="http://10.0.0.1", insecure_http=True)
    assert session_of(app._make_client()).endpoint == yarl.URL("http://10.0.0.1")
    refused = spaces("status", "a/b", "--endpoint", "http://10.0.0.1")
    assert refused.code == 2
    assert "--insecure-http" in refused.err


def test_ca_file(tmp_path: Path) -> None:
    """The certificates of --ca-file are trusted, and no others."""
    file = tmp_path / "ca.pem"
    file.write_text(CERTIFICATE, "utf-8")
    context = App(output=Output(), ca_file=file)._tls()["ssl"]
    subjects = [certificate["subject"] for certificate in context.get_ca_certs()]
    assert subjects == [((("commonName", "A test"),),)]
    assert App(output=Output())._tls() == {}


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_file_that_is_none(
    org: FakeHub, spaces: Spaces, tmp_path: Path, content: str | None
) -> None:
    """A file that is missing, or has no certificates, is wrong usage."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, "utf-8")
    result = spaces("status", "acme/run-1", "--ca-file", str(file))
    assert result.code == 2
    assert f"--ca-file {file} cannot be read" in result.err
    assert org.requests == []


def test_an_unreachable_hub(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the second failure it is told, once, what is tried and for how long."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = ("--endpoint", f"http://127.0.0.1:{port}")
    result = spaces("status", "a/b", "a/c", *endpoint, "--call-timeout", "2")
    assert result.code == 1
    told = [line for line in result.err.splitlines() if line.startswith("Warning")]
    assert len(told) == 1
    assert re.fullmatch(
        rf"Warning: no connection: 127\.0\.0\.1:{port}: connection refused; trying"
        r" again for up to 2s \(--call-timeout\)\.",
        told[0],
    )
