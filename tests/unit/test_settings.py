"""Settings are checked when they are made."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from spaces_async import ClientSettings, ConfigurationError, RetryPolicy, Timeouts


def test_time_limits_are_finite_by_default() -> None:
    """Nobody waits for ever without having asked for it."""
    assert (Timeouts().connect, Timeouts().read) == (10.0, 30.0)
    assert all(value is not None for value in attrs.astuple(Timeouts()))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Timeouts, {"connect": 0}),
        (Timeouts, {"read": -1}),
        (Timeouts, {"total": float("nan")}),
        (Timeouts, {"total": float("inf")}),
        (Timeouts, {"attempt": "30"}),
        (Timeouts, {"total": True}),
        (RetryPolicy, {"max_attempts": 0}),
        (RetryPolicy, {"max_attempts": 1.5}),
        (RetryPolicy, {"wait_initial": 0}),
        (RetryPolicy, {"wait_max": -1}),
        (RetryPolicy, {"max_rate_limit_wait": -1}),
        (RetryPolicy, {"verify": 1}),
        (ClientSettings, {"timeouts": 30}),
        (ClientSettings, {"retry": None}),
        (ClientSettings, {"max_connections": 0}),
        (ClientSettings, {"max_response_bytes": 10}),
        (ClientSettings, {"reserve": 1.0}),
        (ClientSettings, {"reserve": -0.1}),
        (ClientSettings, {"trust_env": "no"}),
        (ClientSettings, {"proxy": "ftp://x"}),
        (ClientSettings, {"ssl": False}),
        (ClientSettings, {"allow_insecure_http": 1}),
        (ClientSettings, {"user_agent": "x\r\ny"}),
        (ClientSettings, {"user_agent": "é"}),
    ],
)
def test_bad_settings_are_refused_by_name(kind: Any, arguments: dict[str, Any]) -> None:
    """A wrong setting fails at start-up, and the error names it."""
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=name):
        kind(**arguments)


def test_none_lifts_a_limit() -> None:
    """None is no limit, where that makes sense."""
    assert Timeouts(connect=None, read=None, attempt=None, total=None).total is None
    assert RetryPolicy(max_rate_limit_wait=None).max_rate_limit_wait is None


def test_retries_can_be_switched_off() -> None:
    """Off is one attempt without verifying reads."""
    off = RetryPolicy.off()
    assert (off.max_attempts, off.verify, off.enabled) == (1, False, False)
    assert RetryPolicy().enabled


def test_settings_are_frozen_and_equal() -> None:
    """Settings are values."""
    assert ClientSettings() == ClientSettings()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ClientSettings().reserve = 0.5  # type: ignore[misc]
