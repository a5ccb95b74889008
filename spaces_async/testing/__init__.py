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

from typing import TYPE_CHECKING

from spaces_async._lazy import lazy_names

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

if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error
    # pytest imports this package in every run to load the plugin, so the server is
    # imported only when it is used.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_machine": ("LogLine",),
            "_wire": ("ReceivedRequest",),
            "accounts": (
                "Org",
                "OrgRole",
                "Token",
                "TokenRole",
                "User",
            ),
            "clock": ("ManualClock",),
            "faults": (
                "Fault",
                "FaultHandle",
                "FaultKind",
            ),
            "hub": ("FakeHub",),
            "quota": (
                "Quota",
                "QuotaWindow",
            ),
            "seeding": ("seed_org",),
            "space": (
                "FakeSpace",
                "Setting",
            ),
        },
    )
