"""`client.bulk`: the same for many Spaces at once, with bounded concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, cast

from spaces_async._redacted import Redacted
from spaces_async.bulk import operations
from spaces_async.bulk._engine.stream import BulkStream
from spaces_async.bulk._engine.targets import Limits, Targets
from spaces_async.bulk._journal.reader import JournalPath, read_header
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spaces_async.bulk.operations import Operation
    from spaces_async.bulk.report import (
        BulkReport,
        Progress,
    )
    from spaces_async.client import SpacesClient
    from spaces_async.models import (
        SpaceHardware,
        SpaceRuntime,
        SpaceStorage,
        SpaceVariable,
    )

__all__ = ["Bulk", "BulkOptions"]

T = TypeVar("T")


class BulkOptions(TypedDict, total=False):
    """Options that every bulk method takes by keyword.

    Attributes:
        concurrency: Spaces worked on at the same time, 1 to 1000; 16 unless given.
        fail_fast: Start no further Space after the first failure.
        max_failures: Start no further Space after so many failures; None is no limit.
        deadline: Seconds for the whole bulk; what is under way then is cancelled and
            the rest not attempted. None is no limit.
        progress: Called with a `BulkProgress` after each Space. Must not block; if it
            raises, the bulk goes on and the log says so.
        max_rate_limit_wait: Longest wait in seconds for the quota; a Space that would
            have to wait longer fails with `RateLimitError`. None waits it out.
        max_outage: While the Hub is out (connections fail, or it answers 5xx) nothing
            is sent but a read now and then; what it had lost is looked at and done when
            it is back. After so many seconds, 600 unless given, the bulk ends with what
            it has. None waits for ever.
        journal: A file to record in, before each call, what is going to be sent and,
            after it, what became of it. A bulk that was killed is continued by the same
            call with the same journal, or by `resume`; a finished one is not repeated.
        on_unknown: What to do about a call that an earlier bulk with this journal may
            have sent: "verify" (unless given) reads the state of the Space, and does
            what shows as not done; what it does not show is `unknown`. "retry" sends it
            again, "skip" leaves it `unknown`.
    """

    concurrency: int
    fail_fast: bool
    max_failures: int | None
    deadline: float | None
    progress: Progress | None
    max_rate_limit_wait: float | None
    max_outage: float | None
    journal: JournalPath | None
    on_unknown: Literal["verify", "retry", "skip"]


class Bulk:
    """Operations on many Spaces. Reached as `client.bulk`.

    Every distinct target gets exactly one outcome. One that fails never stops the
    others unless `fail_fast` or `max_failures` says so; only a token that is refused
    again and again does. Calls under way when a limit is reached are finished.
    Cancelling a method cancels its calls and leaves no task behind; to keep the
    outcomes up to then, use `stream`, whose `.report` stays readable.
    """

    __slots__ = ("_client",)

    def __init__(self, client: SpacesClient) -> None:
        self._client = client

    async def restart(
        self,
        targets: Targets,
        *,
        factory_reboot: bool = False,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Restart many Spaces.

        Endpoint and repeat-safety of each: `client.lifecycle.restart`.

        Args:
            targets: Which Spaces.
            factory_reboot: Build anew without the cache.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.restart(factory_reboot=factory_reboot)
        return await self.run(operation, targets, **options)

    async def pause(
        self, targets: Targets, **options: Unpack[BulkOptions]
    ) -> BulkReport[SpaceRuntime]:
        """Pause many Spaces. See `client.lifecycle.pause` and `restart` here."""
        return await self.run(operations.pause(), targets, **options)

    async def request_hardware(
        self,
        targets: Targets,
        *,
        flavor: SpaceHardware | str,
        sleep_time: int | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Ask for a flavor for many Spaces. See `client.hardware.request_hardware`."""
        operation = operations.request_hardware(flavor, sleep_time=sleep_time)
        return await self.run(operation, targets, **options)

    async def set_sleep_time(
        self, targets: Targets, *, seconds: int, **options: Unpack[BulkOptions]
    ) -> BulkReport[SpaceRuntime]:
        """Set the sleep time of many Spaces. See `client.hardware.set_sleep_time`."""
        return await self.run(operations.set_sleep_time(seconds), targets, **options)

    async def add_variable(
        self,
        targets: Targets,
        *,
        key: str,
        value: str,
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceVariable]:
        """Add a variable to many Spaces. See `client.config.add_variable`."""
        operation = operations.add_variable(key, value, description=description)
        return await self.run(operation, targets, **options)

    async def delete_variable(
        self, targets: Targets, *, key: str, **options: Unpack[BulkOptions]
    ) -> BulkReport[dict[str, SpaceVariable]]:
        """Delete a variable of many Spaces. See `client.config.delete_variable`."""
        return await self.run(operations.delete_variable(key), targets, **options)

    async def add_secret(
        self,
        targets: Targets,
        *,
        key: str,
        value: str,
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Add a secret to many Spaces. See `client.config.add_secret`."""
        hidden = Redacted(value)
        del value
        operation = operations.add_secret(key, hidden, description=description)
        return await self.run(operation, targets, **options)

    async def delete_secret(
        self, targets: Targets, *, key: str, **options: Unpack[BulkOptions]
    ) -> BulkReport[None]:
        """Delete a secret of many Spaces. See `client.config.delete_secret`."""
        return await self.run(operations.delete_secret(key), targets, **options)

    async def request_storage(
        self,
        targets: Targets,
        *,
        tier: SpaceStorage | str,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Ask for legacy storage for many Spaces. See `client.storage`."""
        return await self.run(operations.request_storage(tier), targets, **options)

    async def delete_storage(
        self, targets: Targets, **options: Unpack[BulkOptions]
    ) -> BulkReport[SpaceRuntime]:
        """Delete the legacy storage of many Spaces. See `client.storage`."""
        return await self.run(operations.delete_storage(), targets, **options)

    async def run(
        self,
        operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
        targets: Targets,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[T]:
        """Do something to many Spaces and wait for all of it.

        Args:
            operation: An `Operation`, or any async callable of a client and an id.
                The client that it gets leaves the reserve of the quota to others.
            targets: Which Spaces.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
        """
        async with self.stream(operation, targets, **options) as outcomes:
            async for _ in outcomes:
                pass
        return outcomes.report

    def stream(
        self,
        operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
        targets: Targets,
        **options: Unpack[BulkOptions],
    ) -> BulkStream[T]:
        """Do something to many Spaces and get each outcome as it finishes.

        ```python
        from spaces_async.bulk import operations

        async with client.bulk.stream(operations.restart(), targets) as outcomes:
            async for outcome in outcomes:
                print(outcome.repo_id, outcome.status)
        print(outcomes.report.summary())
        ```

        Args:
            operation: As in `run`.
            targets: Which Spaces.
            **options: See `BulkOptions`.

        Returns:
            An async context manager that gives an async iterator; its `.report` grows
            and stays readable after a cancel or an error.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised; from the loop.
        """
        if cast("Targets | None", targets) is None:
            raise ConfigurationError("targets is None; no Space is an empty list")
        return self._stream(operations.as_operation(operation), targets, options)

    async def resume(
        self,
        path: JournalPath,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        targets: Targets | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[Any]:
        """Go on with a bulk that was interrupted, from its journal.

        Nothing that is done is done again, and nothing else is left out: what failed is
        tried again, and what may have been sent when the bulk before ended is handled
        as `on_unknown` says. See `client.bulk.run` for what is done to each Space.

        Args:
            path: Where the journal is.
            operation: Needed only for a callable of yours, and for one with a secret,
                whose value is never written down.
            targets: Needed only if the bulk ended before it had seen all of them.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each Space of the whole job.

        Raises:
            JournalError: It cannot be read, written or locked.
            ConfigurationError: It belongs to another job, or something is missing.
            BulkInterruptedError: The iterator of targets raised.
        """
        if operation is None:
            header = await read_header(path)
            if header.hidden:
                raise ConfigurationError(
                    f"{header.shown} needs the value again, which is never written"
                    f" down: pass operation=operations.{header.operation}(...)"
                )
            operation = operations.rebuild(header.operation, header.parameters)
        options["journal"] = path
        chosen = operations.as_operation(operation)
        async with self._stream(chosen, targets, options) as outcomes:
            async for _ in outcomes:
                pass
        return outcomes.report

    def _stream(
        self, operation: Operation[T], targets: Targets | None, options: BulkOptions
    ) -> BulkStream[T]:
        given: dict[str, Any] = dict(options)
        if unknown := sorted(given.keys() - BulkOptions.__annotations__.keys()):
            raise TypeError(
                f"a bulk has no option {', '.join(unknown)}; it has"
                f" {', '.join(BulkOptions.__annotations__)}"
            )
        progress = given.pop("progress", None)
        longest = given.pop("max_rate_limit_wait", None)
        journal = given.pop("journal", None)
        on_unknown = given.pop("on_unknown", "verify")
        client = self._client.in_background(max_rate_limit_wait=longest)
        now = client._session.options  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return BulkStream(
            operation,
            targets,
            client=client,
            limits=Limits(**given),
            progress=progress,
            policy=now.retry,
            total=now.timeouts.total,
            journal=journal,
            on_unknown=on_unknown,
        )
