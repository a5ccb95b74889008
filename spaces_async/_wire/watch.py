"""What is due while an exchange goes on: its time limit, and what is done if it is late.

Nearly every exchange ends before any of it is due. So all of it is one alarm, which is
set once: to when the first thing can be due.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from spaces_async._wire.alarms import Alarm, Alarms

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from spaces_async._wire.messages import Response

LATE_SECONDS: Final = 1.0
"""Headers that take longer than this are late."""

_NEVER: Final = math.inf


class Late(Protocol):
    """What is begun if an exchange takes long."""

    seconds: float
    """When, after the exchange has begun."""

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Begin it. Must not raise.

        Args:
            task: The task that waits for the exchange.
        """
        ...


class Watch(Alarm):
    """Follows one exchange, and ends it as `asyncio.timeout` does.

    Use it once, as a context manager around the exchange. What can limit the silence of
    the other side is left to a subclass.

    Attributes:
        sent: Whether any of the request may have gone out.
        status: Status of the response, once its headers have arrived.
        page: Whether the response is a web page, by its headers.
        refusal: The headers of a response that is not 2xx; None if there is none.
        seconds: How long the exchange may take; None is no limit. Set it before the
            exchange begins.
        may_send: Asked when there is a connection, just before the request is written
            to it; None: it always is. Set it before the exchange begins.
        silence: Seconds without a byte after which the response counts as lost; None if
            the watch has nothing to do with it. Set it before there is a connection.
    """

    __slots__ = (
        "_alarms",
        "_began",
        "_cancelling",
        "_ends",
        "_expired",
        "_has_rung",
        "_late",
        "_sent_at",
        "_task",
        "may_send",
        "page",
        "refusal",
        "seconds",
        "sent",
        "silence",
        "status",
    )

    _task: asyncio.Task[Any]

    def __init__(self, alarms: Alarms, late: Late | None = None) -> None:
        """Prepare to follow an exchange.

        Args:
            alarms: Those of the client.
            late: What is begun if it takes long.
        """
        self._alarms = alarms
        self._late = late
        self._expired = self._has_rung = False
        self._sent_at: float | None = None
        self.sent = False
        self.status: int | None = None
        self.page = False
        self.refusal: Response | None = None
        self.seconds: float | None = None
        self.silence: float | None = None
        self.may_send: Callable[[], bool] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in a task)
        self._task, self._cancelling = task, task.cancelling()
        self._began = now = asyncio.get_running_loop().time()
        seconds = self.seconds
        self._ends = _NEVER if seconds is None else now + seconds
        late = self._late
        first = LATE_SECONDS if late is None else min(LATE_SECONDS, late.seconds)
        self._alarms.set(self, min(self._ends, now + first))

    def note_connection(self) -> None:
        """Note that the request has its connection, to which it is written at once."""
        self.sent = True
        if self.silence is not None:
            self._sent_at = now = asyncio.get_running_loop().time()
            if self._has_rung:
                self._alarms.set(self, min(self._ends, self.at, now + LATE_SECONDS))

    def limit_silence(self, seconds: float, silent: float) -> None:
        """Let the read fail when nothing arrives for a while.

        Args:
            seconds: How long the silence may last.
            silent: How long it has lasted.
        """
        raise NotImplementedError

    def ring(self) -> None:
        """Do what is due, and set the alarm to what is due next."""
        now, after = self.at, self._ends
        if now >= self._ends:
            self._expired = True
            self._task.cancel()
            return
        self._has_rung = True
        late = self._late
        if late is not None and now < self._began + late.seconds:
            after = min(after, self._began + late.seconds)
        elif late is not None:
            self._late = None
            late.begin(self._task)
        if self._sent_at is not None and self.silence is not None:
            if now < self._sent_at + LATE_SECONDS:
                after = min(after, self._sent_at + LATE_SECONDS)
            else:
                silent = asyncio.get_running_loop().time() - self._sent_at
                self._sent_at = None
                self.limit_silence(self.silence, silent)
        self._alarms.set(self, after)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._alarms.drop(self)
        if not self._expired:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
