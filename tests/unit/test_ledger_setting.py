"""The setting of the ledger: a path, or the URL of Redis, which may hold a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spaces_async as sa
from spaces_async._redacted import Redacted

PASSWORD = "canary-of-redis"


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        f"redis://user:{PASSWORD}@redis.example:6379/15",
        f"redis://:{PASSWORD}%23x@[::1]:6379/",
        "rediss://h/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
        "rediss://h?ssl_cert_reqs=none&ssl_certfile=a&ssl_keyfile=b",
        f"unix:///run/redis.sock?db=3&password={PASSWORD}",
        f"unix://user:{PASSWORD}@/run/redis.sock",
    ],
)
def test_urls_that_can_be_used(url: str) -> None:
    """They are kept, and never shown."""
    settings = sa.ClientSettings(ledger=url)
    assert isinstance(settings.ledger, Redacted)
    assert settings.ledger.reveal() == url
    assert PASSWORD not in repr(settings)
    assert sa.ClientSettings(ledger=settings.ledger) == settings


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://", "has no host"),
        (f"redis://:{PASSWORD}@/0", "has no host|not a valid URL"),
        (f"redis://u:{PASSWORD}@h:x/0", "not a valid URL"),
        (f"redis://u:{PASSWORD}@h/first", "names a database"),
        (f"redis://u:{PASSWORD}@h/0/1", "names a database"),
        (f"redis://u:{PASSWORD}@h/0?socket_timeout=9", "unknown parameter"),
        (f"rediss://u:{PASSWORD}@h/0?password=x", "unknown parameter"),
        (f"rediss://u:{PASSWORD}@h?ssl_cert_reqs=maybe", "value of ssl_cert_reqs"),
        (f"rediss://u:{PASSWORD}@h?ssl_ca_certs=", "value of ssl_ca_certs"),
        ("rediss://h?ssl_ca_certs=a&ssl_ca_certs=b", "parameter twice"),
        (f"redis://u:{PASSWORD}#x@h/0", "has no|fragment|valid"),
        ("unix://", "names no socket"),
        ("unix:///a?db=x", "names a database"),
        (f"http://u:{PASSWORD}@h/0", "redis://"),
        (Redacted(f"http://u:{PASSWORD}@h/0"), "redis://"),
        (Redacted(3), "is no string"),
    ],
)
def test_urls_that_cannot_be_used(url: Any, problem: str) -> None:
    """The error says what is wrong, and shows no password."""
    with pytest.raises(sa.ConfigurationError, match=problem) as caught:
        sa.ClientSettings(ledger=url)
    assert PASSWORD not in str(caught.value)


def test_a_path_stays_a_path() -> None:
    """Whatever is no URL is a file."""
    assert sa.ClientSettings(ledger="redis/ledger").ledger == Path("redis/ledger")
