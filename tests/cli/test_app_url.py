"""`SPACES_ASYNC_APP_URL`: a probe of the shell can be tried without the Hub."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spaces_async.testing import FakeHub
from tests.cli.conftest import Spaces
from tests.support.virtual_shell import VirtualShell


def test_a_probe_asks_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the embedded Hub, whose banner sets it, answers a probe of the shell."""
    start = datetime(2026, 3, 9, 20, tzinfo=UTC)
    with VirtualShell(start, tmp_path / "state") as shell:
        shell.hub.add_space("acme/demo")
        asked: list[str] = []

        def answer(path: str) -> int:
            asked.append(path)
            return 200

        shell.hub.space("acme/demo").app_status = answer
        monkeypatch.setenv("SPACES_ASYNC_APP_URL", f"{shell.hub.app_url}/deep")
        command = "spaces-async restart acme/demo --probe /up"
        assert shell.run_without_terminal(command).code == 0
    assert asked == ["/deep/up"]


@pytest.mark.parametrize("url", ["nonsense", "https://me:secret-word@x.example"])
def test_what_is_no_address_of_apps(
    hub: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """It is refused without its value, in which a password may be."""
    monkeypatch.setenv("SPACES_ASYNC_APP_URL", url)
    result = spaces("restart", "acme/demo")
    assert result.code == 2
    assert "SPACES_ASYNC_APP_URL in the environment must be a URL" in result.err
    assert url not in result.err
    assert not hub.requests
