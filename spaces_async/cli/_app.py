"""What every command has: the options of the connection, output, and the client."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click
from attrs import define, field

from spaces_async.cli import _interrupt
from spaces_async.cli._output import Output, human_seconds
from spaces_async.client import SpacesClient, background_view
from spaces_async.settings import ClientSettings, QuotaWait, RetryPolicy, Timeouts

__all__ = ["App", "pass_app"]

T = TypeVar("T")

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_DETAILED: Final = "%(levelname)s %(name)s: %(message)s"
_PLAIN: Final = "Warning: %(message)s."
"""Of warnings and errors; without `-v` nothing else is shown."""
_NOTES: Final = 3
_CONNECTIONS: Final = 100
_NOTICED: Final = 2.0
"""Waits shorter than this are not worth a message."""


@define(kw_only=True)
class App:
    """One run of a command.

    Attributes:
        output: Where to write.
        endpoint: Where the Hub is; None looks at the environment.
        token_file: A file with the token; None looks the token up.
        anonymous: Use no token.
        max_wait: Longest wait for the quota in seconds; None waits it out.
        call_timeout: Seconds for one call with its retries.
        ledger: A file through which the programs of a host share the quota, if any.
        sharing: What to do about programs with the same token elsewhere.
        verbose: How much of the log is shown.
        concurrency: Calls at the same time.
        on_wait: Takes the waits for the quota while progress is shown.
    """

    output: Output
    endpoint: str | None = None
    token_file: Path | None = None
    anonymous: bool = False
    max_wait: float | None = None
    call_timeout: float = 600.0
    ledger: Path | None = None
    sharing: Literal["greedy", "strict"] = "greedy"
    verbose: int = 0
    concurrency: int = 16
    on_wait: Callable[[str], None] | None = None
    _waits_until: float = field(default=0.0, init=False)

    def run(self, work: Callable[[SpacesClient], Awaitable[T]]) -> T:
        """Run the async part of a command: the one place with an event loop.

        Raises:
            CancelledError: Ctrl-C or SIGTERM; the work has been cancelled and has ended.
        """
        # Made here: to read a token file would block the loop.
        client = self._client()

        async def main() -> T:
            async with client:
                view = background_view(client, max_rate_limit_wait=self.max_wait)
                return await work(view)

        with self._log(), self._notes():
            return _interrupt.run(main(), self.output)

    def _client(self) -> SpacesClient:
        settings = ClientSettings(
            timeouts=Timeouts(total=self.call_timeout),
            retry=RetryPolicy(max_rate_limit_wait=self.max_wait),
            reserve=0,
            sharing=self.sharing,
            ledger=self.ledger,
            max_connections=max(_CONNECTIONS, self.concurrency),
            user_agent="spaces-async-cli",
            on_wait=self._waits,
        )
        return SpacesClient(
            token=self._token(), endpoint=self.endpoint, settings=settings
        )

    def _token(self) -> str | Literal[False] | None:
        if self.anonymous:
            return False
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise click.UsageError(
                f"--token-file {self.token_file} cannot be read: {why}."
            ) from None

    def _waits(self, wait: QuotaWait) -> None:
        # Every call that waits says so; one message for all that end together will do.
        until = asyncio.get_running_loop().time() + wait.seconds
        if wait.seconds < _NOTICED or until < self._waits_until + _NOTICED:
            return
        self._waits_until = until
        why = "the Hub's quota" if wait.reason == "window" else "the Hub's rate limit"
        text = f"Waiting up to {human_seconds(wait.seconds)} for {why}"
        if self.on_wait is not None:
            self.on_wait(text)
        else:
            self.output.say(f"{text} ...")

    @contextmanager
    def _log(self) -> Generator[None]:
        """Show the package's log on stderr, around a live display and not through."""
        logger = logging.getLogger("spaces_async")
        handler = _LogHandler(self.output, _DETAILED if self.verbose else _PLAIN)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(_LEVELS[min(self.verbose, len(_LEVELS) - 1)])
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    @contextmanager
    def _notes(self) -> Generator[None]:
        """Turn warnings for the user into notes, and many of them into a few."""
        notes: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            show = warnings.showwarning

            def collect(
                message: Warning | str, category: type[Warning], *rest: Any
            ) -> None:
                if category is UserWarning:
                    notes.append(str(message))
                else:
                    show(message, category, *rest)

            hook: Any = collect
            warnings.showwarning = hook
            try:
                yield
            finally:
                for note in notes[:_NOTES]:
                    self.output.say(f"Note: {note}.")
                if len(notes) > _NOTES:
                    self.output.say(f"Note: the same for {len(notes) - _NOTES} more.")


class _LogHandler(logging.Handler):
    def __init__(self, output: Output, form: str) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.complain(self.format(record), style="dim")
        except Exception:  # noqa: BLE001  (a log line must not end the work)
            self.handleError(record)


pass_app = click.make_pass_decorator(App)
