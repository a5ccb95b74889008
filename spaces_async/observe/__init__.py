"""What a client and its bulks do, told to an observer as it happens.

```python
from spaces_async import ClientSettings, SpacesClient
from spaces_async.observe import CallEnded, Event


def tell(event: Event) -> None:
    if isinstance(event, CallEnded):
        print(event.action, event.seconds, event.error or "ok")


client = SpacesClient(settings=ClientSettings(observer=tell))
```

Three observers are ready made. Each is a module of its own, with an extra of its name:
`spaces_async.observe.otel`, `spaces_async.observe.prometheus` and
`spaces_async.observe.structlog`.
"""

from typing import TYPE_CHECKING

from spaces_async._lazy import lazy_names

if TYPE_CHECKING:
    from spaces_async.observe.events import (
        AttemptEnded,
        BreakerChanged,
        CallEnded,
        CallStarted,
        Event,
        Observer,
        QuotaWait,
        QuotaWindow,
        Refusal,
        RetryWait,
        RunEnded,
        RunStarted,
        SpaceEnded,
        StageChanged,
    )

__all__ = [
    "AttemptEnded",
    "BreakerChanged",
    "CallEnded",
    "CallStarted",
    "Event",
    "Observer",
    "QuotaWait",
    "QuotaWindow",
    "Refusal",
    "RetryWait",
    "RunEnded",
    "RunStarted",
    "SpaceEnded",
    "StageChanged",
]

if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "events": (
                "AttemptEnded",
                "BreakerChanged",
                "CallEnded",
                "CallStarted",
                "Event",
                "Observer",
                "QuotaWait",
                "QuotaWindow",
                "Refusal",
                "RetryWait",
                "RunEnded",
                "RunStarted",
                "SpaceEnded",
                "StageChanged",
            ),
        },
    )
