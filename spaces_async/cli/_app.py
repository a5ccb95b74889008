"""What every command has: the common options, the output and the client."""

from __future__ import annotations

import logging
import os
import ssl
import time
import warnings
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

import click
from attrs import define, field

from spaces_async._core.auth import Environment
from spaces_async._core.retry import UNREACHED_WARNING
from spaces_async._quota.waits import WAIT_MESSAGE
from spaces_async._redacted import Redacted
from spaces_async.cli import _signals
from spaces_async.cli._errors import REFUSED, in_shell_words
from spaces_async.cli._output import Output
from spaces_async.cli._waiting import QuotaHold
from spaces_async.client import SpacesClient, background_view, session_of
from spaces_async.errors import ConfigurationError
from spaces_async.settings import ClientSettings, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

__all__ = ["App", "NoTokenError"]

T = TypeVar("T")

_LOG_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_VERBOSE_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
_PLAIN_FORMAT: Final = "Warning: %(message)s."
"""Without `-v` only warnings and errors are shown."""
_TOLD_ONCE: Final = frozenset({UNREACHED_WARNING})
_COUNTED_DOWN: Final = frozenset({WAIT_MESSAGE})
"""What the shell tells in its own way, so that only `-v` shows the line of the log."""
_SHOWN_NOTES: Final = 3
_LEAST_CONNECTIONS: Final = 100
_APP_URL: Final = "SPACES_ASYNC_APP_URL"
"""The environment variable for `ClientSettings.app_url`: a test has no *.hf.space."""
_LEAST_WAIT_SECONDS: Final = 2.0
"""Shorter waits are not worth a message."""


class _Client(SpacesClient):
    """A client that imports what its command needs, when it needs it.

    A process with one command has no other work in its event loop that would wait.
    """

    _imported_beforehand: ClassVar[tuple[str, ...]] = ()


def _app_url() -> dict[str, Any]:
    """Return the setting that the environment has for the apps of Spaces."""
    given = os.environ.get(_APP_URL, "")
    if not given:
        return {}
    try:
        ClientSettings(app_url=given)
    except ConfigurationError:
        # Its message has the value, in which a password may be.
        raise click.UsageError(
            f"{_APP_URL} in the environment must be a URL with {{subdomain}} in it, such"
            " as https://{subdomain}.hf.space."
        ) from None
    return {"app_url": given}


class NoTokenError(click.ClickException):
    """A write would need a token, and there is none."""

    exit_code = REFUSED

    def __init__(self, why: str) -> None:
        super().__init__(f"There is no token, and a write needs one: {why}.")


@define(kw_only=True)
class App:
    """One run of a command.

    Attributes:
        output: Where to write.
        endpoint: URL of the Hub; None takes it from the environment.
        token_file: A file with the token; None looks the token up.
        anonymous: Whether to use no token.
        max_wait: Longest wait for the quota in seconds; None is no limit.
        call_timeout: Seconds for one call with its retries.
        ledger: The file or the Redis through which programs share the quota, if any.
        sharing: How to share the quota with programs on other hosts.
        verbose: How much of the log to show.
        no_proxy: Whether to ignore the proxies that the environment names.
        ca_file: Certificates to trust instead of the usual ones, if any.
        insecure_http: Whether the token may go to an http endpoint.
        concurrency: Calls at the same time.
        on_wait: Shows a wait for the quota while progress is displayed, given
            what is used up ("window" or "action") and its end by `now`.
        stop: Stops the bulk that runs now; None if none does.
        now: What tells the time for what is shown, from any thread.
        finish_times: When each Space of the bulk ended, by `now`.
        report_is_missing: Whether the file of `--report` could not be written.
    """

    output: Output
    endpoint: str | None = None
    token_file: Path | None = None
    anonymous: bool = False
    max_wait: float | None = None
    call_timeout: float = 600.0
    ledger: Path | Redacted[str] | None = None
    sharing: Literal["greedy", "strict"] = "greedy"
    verbose: int = 0
    no_proxy: bool = False
    ca_file: Path | None = None
    insecure_http: bool = False
    concurrency: int = 16
    on_wait: Callable[[str, float], None] | None = None
    stop: Callable[[], None] | None = None
    now: Callable[[], float] = time.monotonic
    finish_times: dict[str, float] = field(factory=dict[str, float], init=False)
    report_is_missing: bool = field(default=False, init=False)
    _waits_until: float = field(default=0.0, init=False)

    def run(self, work: Callable[[SpacesClient], Awaitable[T]]) -> T:
        """Run the async part of a command in an event loop.

        Raises:
            CancelledError: Ctrl-C or SIGTERM; the work has been cancelled and has ended.
        """
        # Outside of the loop, which reading a token file would block.
        client = self._make_client()

        async def main() -> T:
            async with client:
                view = background_view(client, max_rate_limit_wait=self.max_wait)
                return await work(view)

        with self._log(), self._notes():
            return _signals.run(main(), self.output, self._stop_gently)

    def _stop_gently(self) -> bool:
        if self.stop is None:
            return False
        self.stop()
        return True

    async def require_token(self, session: HubSession) -> None:
        """Refuse a write without a token, before anything is listed.

        Without one an org shows less, and what is not seen would look done.

        Raises:
            NoTokenError: There is none.
        """
        if not await session.has_token():
            raise NoTokenError(self.why_no_token())

    def why_no_token(self) -> str:
        """Return why there is no token, where there is none."""
        if self.anonymous:
            return "--anonymous uses none"
        if hints := Environment.read(os.environ).hints:
            return "; ".join(map(in_shell_words, hints))
        return "set HF_TOKEN, run `hf auth login`, or use --token-file"

    def _make_client(self) -> SpacesClient:
        settings = ClientSettings(
            **self._tls(),
            **_app_url(),
            trust_env=not self.no_proxy,
            allow_insecure_http=self.insecure_http,
            timeouts=Timeouts(total=self.call_timeout),
            retry=RetryPolicy(max_rate_limit_wait=self.max_wait),
            reserve=0,
            sharing=self.sharing,
            ledger=self.ledger,
            max_connections=max(_LEAST_CONNECTIONS, self.concurrency),
            user_agent="spaces-async-cli",
        )
        client = _Client(token=self._token(), endpoint=self.endpoint, settings=settings)
        # Not as an observer: that would be told of each call, and only this is shown.
        session_of(client).shared.on_wait = self._show_wait
        return client

    def _tls(self) -> dict[str, Any]:
        """Return the setting for `--ca-file`."""
        if self.ca_file is None:
            return {}
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            why = error.strerror if error.errno and error.strerror else "no PEM file"
            raise click.UsageError(
                f"--ca-file {self.ca_file} cannot be read: {why}."
            ) from None
        return {"ssl": context}

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

    def _show_wait(
        self,
        seconds: float,
        reason: Literal["window", "action"],
        action: str,  # noqa: ARG002  (what waits is on the display anyway)
    ) -> None:
        # Each waiting call reports its wait; one message is enough for those that end
        # together.
        until = self.now() + seconds
        known = self._waits_until
        if seconds < _LEAST_WAIT_SECONDS or until < known + _LEAST_WAIT_SECONDS:
            return
        self._waits_until = until
        if self.on_wait is not None:
            self.on_wait(reason, until)
            return
        hold = QuotaHold()
        hold.begin(reason, until)
        text = hold.text(self.now())
        self.output.say(f"{text[:1].upper()}{text[1:]}")

    @contextmanager
    def _log(self) -> Generator[None]:
        """Show the package's log on stderr, above a live display."""
        logger = logging.getLogger("spaces_async")
        handler = _LogHandler(
            self.output, _VERBOSE_FORMAT if self.verbose else _PLAIN_FORMAT
        )
        if not self.verbose:
            handler.addFilter(lambda record: record.msg not in _COUNTED_DOWN)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(_LOG_LEVELS[min(self.verbose, len(_LOG_LEVELS) - 1)])
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    @contextmanager
    def _notes(self) -> Generator[None]:
        """Show warnings for the user as notes, at most a few of them."""
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
                for note in notes[:_SHOWN_NOTES]:
                    self.output.say(f"Note: {note}.")
                if len(notes) > _SHOWN_NOTES:
                    self.output.say(f"Note: {len(notes) - _SHOWN_NOTES} more of these.")


class _LogHandler(logging.Handler):
    def __init__(self, output: Output, form: str) -> None:
        super().__init__()
        self._output = output
        self._told: set[str] = set()
        self.setFormatter(logging.Formatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.msg in _TOLD_ONCE:
                # Each call says so, and many may be under way.
                if record.msg in self._told:
                    return
                self._told.add(record.msg)
            self._output.complain(in_shell_words(self.format(record)), style="dim")
        except Exception:  # noqa: BLE001  (a log line must not end the work)
            self.handleError(record)
