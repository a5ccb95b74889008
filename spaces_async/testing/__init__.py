"""FakeHub, a Hugging Face Hub for tests: a real server on loopback, all in memory.

It responds like the Hub, status by status and header by header, enforces the quota,
changes stages over time, and fails on demand. It needs no token and no network.

```python
from spaces_async.testing import FakeHub, Fault

async with FakeHub() as hub:
    hub.add_space("acme/demo", stage="PAUSED")
    hub.faults("POST /restart", Fault.reset(acted=True))
    ...
```

`with FakeHub() as hub` runs it in a thread of its own. The pytest fixtures `fake_hub`,
`fake_client` and `fake_hub_factory` are available once the package is installed.
`python -m spaces_async.testing` serves it on a port.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spaces_async.testing._machine import LogLine
    from spaces_async.testing._wire import ReceivedRequest
    from spaces_async.testing.accounts import Org, OrgRole, Token, TokenRole, User
    from spaces_async.testing.clock import ManualClock
    from spaces_async.testing.faults import Fault, FaultHandle, FaultKind
    from spaces_async.testing.hub import FakeHub
    from spaces_async.testing.quota import Quota, QuotaWindow
    from spaces_async.testing.seeding import seed_org
    from spaces_async.testing.space import FakeSpace, Setting

__all__ = [
    "FakeHub",
    "FakeSpace",
    "Fault",
    "FaultHandle",
    "FaultKind",
    "LogLine",
    "ManualClock",
    "Org",
    "OrgRole",
    "Quota",
    "QuotaWindow",
    "ReceivedRequest",
    "Setting",
    "Token",
    "TokenRole",
    "User",
    "seed_org",
]

# pytest imports this package in every run to load the plugin, so the server is imported
# only when it is used.
_MODULES = {
    "FakeHub": "hub",
    "FakeSpace": "space",
    "Fault": "faults",
    "FaultHandle": "faults",
    "FaultKind": "faults",
    "LogLine": "_machine",
    "ManualClock": "clock",
    "Org": "accounts",
    "OrgRole": "accounts",
    "Quota": "quota",
    "QuotaWindow": "quota",
    "ReceivedRequest": "_wire",
    "Setting": "space",
    "Token": "accounts",
    "TokenRole": "accounts",
    "User": "accounts",
    "seed_org": "seeding",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
