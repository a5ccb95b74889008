"""structlog: a line for each event, with its fields as keys.

```python
from spaces_async import ClientSettings, SpacesClient
from spaces_async.observe.structlog import StructlogObserver

client = SpacesClient(settings=ClientSettings(observer=StructlogObserver()))
```

It needs the extra `structlog`. A line is called after its event: `call_ended`,
`quota_wait`. What is usual is logged at debug, what takes time at info, and what
somebody may have to look at at warning.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol, get_args

import attrs
import structlog

from spaces_async.observe.events import (
    BreakerChanged,
    CallEnded,
    Event,
    QuotaWait,
    Refusal,
    RetryWait,
    RunEnded,
    RunStarted,
    SpaceEnded,
    StageChanged,
)

__all__ = ["StructlogObserver"]

_TROUBLES: Final = frozenset({"failed", "unknown"})
_INFO: Final = QuotaWait | RetryWait | RunStarted | StageChanged
_LINES: Final = {
    kind: (
        re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(),
        tuple(field.name for field in attrs.fields(kind)),
    )
    for kind in get_args(Event)
}
"""What a line of each event is called, and its fields."""


class _Logger(Protocol):
    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...


class StructlogObserver:
    """Logs the events of a client."""

    def __init__(self, logger: _Logger | None = None) -> None:
        """Make an observer.

        Args:
            logger: Where to log; None takes `structlog.get_logger("spaces_async")`.
        """
        self._logger: _Logger = logger or structlog.get_logger("spaces_async")

    def __call__(self, event: Event, /) -> None:
        """Take in an event."""
        line, names = _LINES[type(event)]
        values = [(name, getattr(event, name)) for name in names]
        fields = {name: value for name, value in values if value is not None}
        _method_of(self._logger, event)(line, **fields)


def _method_of(logger: _Logger, event: Event) -> Any:
    if _needs_a_look(event):
        return logger.warning
    if isinstance(event, RunEnded | _INFO):
        return logger.info
    return logger.debug


def _needs_a_look(event: Event) -> bool:
    """Return whether somebody may have to do something about it."""
    match event:
        case Refusal():
            return True
        case BreakerChanged(phase=phase):
            return phase == "open"
        case SpaceEnded(status=status):
            return status in _TROUBLES
        case RunEnded(stopped_by=stopped_by):
            return stopped_by is not None
        case CallEnded(error=error):
            return error not in {None, "CancelledError"}
        case _:
            return False
