"""`client.bulk`: the same for many Spaces at once, with bounded concurrency."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, Unpack, cast

from attrs import evolve, frozen

from spaces_async import _validate
from spaces_async._hints import Resource
from spaces_async._redacted import Redacted
from spaces_async.bulk import operations
from spaces_async.bulk._amount import Amount
from spaces_async.bulk._engine.header import job_header
from spaces_async.bulk._engine.planner import (
    PlannedSpace,
    Planner,
    failed_of,
    make_plan,
    prepare,
)
from spaces_async.bulk._engine.stream import BulkStream, Prepared
from spaces_async.bulk._engine.targets import Limits, Targets
from spaces_async.bulk._engine.undo import undo_of
from spaces_async.bulk._journal.format import Entry, Header
from spaces_async.bulk._journal.reader import JournalPath, read_header, read_state
from spaces_async.bulk._rollout_record import (
    PACING,
    options_of,
    record_of,
    require_judge,
    taken_over,
)
from spaces_async.bulk._waves import Pacing
from spaces_async.bulk.health import HealthCheck, Healthy, make_healthy
from spaces_async.bulk.operations import Operation
from spaces_async.bulk.plan import Plan, PlannedChange
from spaces_async.bulk.report import BulkReport, OutcomeStatus
from spaces_async.bulk.selection import Selection
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from spaces_async._core.session import HubSession
    from spaces_async.bulk._engine.context import MakeClient, OnUnknown
    from spaces_async.bulk._engine.joining import Joining
    from spaces_async.bulk._store.protocol import Result
    from spaces_async.bulk.report import Keep, Progress
    from spaces_async.bulk.run_state import RunState
    from spaces_async.client import SpacesClient
    from spaces_async.models import (
        SpaceHardware,
        SpaceRuntime,
        SpaceStorage,
        SpaceVariable,
        Volume,
    )
    from spaces_async.records import KeyOutcome

__all__ = ["Bulk", "BulkOptions"]

T = TypeVar("T")


class ResumeOptions(TypedDict, total=False):
    """Options of `BulkOptions` that `resume` takes, too."""

    concurrency: int
    fail_fast: bool
    max_failures: int | str | None
    waves: Sequence[int | str] | None
    healthy: bool | Healthy | HealthCheck | None
    max_unavailable: int | str | None
    pause_between: float
    wait: bool
    deadline: float | None
    progress: Progress | None
    max_rate_limit_wait: float | None
    max_outage: float | None
    on_unknown: Literal["verify", "retry", "skip"]
    only_changes: bool | None
    record_before: bool
    keep: Keep


class BulkOptions(ResumeOptions, total=False):
    """Options that every bulk method takes by keyword.

    Attributes:
        concurrency: Spaces worked on at the same time, 1 to 1000; 16 unless given.
        fail_fast: Start no further Space after the first failure.
        max_failures: Start no further Space after so many failures: a number, or a
            share of all such as "5%", rounded up. None is no limit; with waves it is
            the first failure.
        waves: Go on in waves, such as [1, 5, "20%", "100%"]: how many Spaces in all
            have been started by the end of each, in the order of the targets. Numbers
            must rise, and so must shares. The next one begins when all Spaces of a wave
            are healthy; one that is not halts the rest, which is not attempted
            (`stopped_by="unhealthy"`). Spaces to which nothing is sent are in no wave.
        healthy: What has to be so after each write: True, where it aims at (RUNNING
            again after a restart, PAUSED after a pause); `Healthy(...)`; an async
            function of a client and an id, asked once when the Space is RUNNING again.
            A Space that does not get there is `failed` with the reason "unhealthy".
            With waves it is True unless given; False does not look.
        max_unavailable: Spaces that may be on their way to health at the same time: a
            number, or a share of all. None is no limit but `concurrency`.
        pause_between: Seconds between two waves.
        wait: Wait until all are healthy; the same as `healthy=True`.
        deadline: Seconds for the whole bulk; what is in flight then is cancelled and
            the rest not attempted. None is no limit.
        progress: Called with a `BulkProgress` after each Space. Must not block; if it
            raises, the bulk goes on and the log says so.
        max_rate_limit_wait: Longest wait in seconds for the quota; a Space that would
            have to wait longer fails with `RateLimitError`. None waits it out.
        max_outage: While the Hub is down (connections fail, or it answers 5xx) nothing
            is sent except a probe now and then; writes whose responses were lost are
            looked up and finished when it is back. After so many seconds, 600 unless
            given, the bulk ends with what it has. None waits for ever.
        journal: A file to record in what is going to be sent, before each write, and
            the outcome after it. A bulk that was killed is continued by the same call
            with the same journal, or by `resume`; a finished one is not repeated.
        on_unknown: What to do about a write that an earlier bulk with this journal, or a
            lost host of this run, may have sent: "verify" (unless given) reads the state
            of the Space and sends what it shows as not done; what it does not show is
            `unknown`. "retry" sends it again, "skip" leaves it `unknown`.
        only_changes: Leave out Spaces that are so already: they are `unchanged`. The
            listing tells it for most writes, at most one call for each 500 Spaces; for
            variables and volumes each Space is read. None, the default, does so for a
            `Selection` and not for ids.
        record_before: Whether a journal or a store gets the state before each write,
            which `undo` brings back: True unless given. A listing tells it for most
            writes, one call for each 500 Spaces; for variables and volumes each Space is
            read.
        keep: Which outcomes the report keeps: "all" (unless given); "failures", those
            that are not ok; "none". A stream hands out all of them in any case, and
            the counts are those of all. Without "all" the memory does not grow with
            the Spaces, but for 24 bytes at most by which a duplicate is told.
        store: Where the run is kept, so that other hosts can work on it, too, and take
            over what this one leaves: the URL of Redis or Valkey with a database and
            a name, such as "redis://host:6379/1/nightly-2026-11-26", which needs the
            extra `redis`; or "file:///path/nightly.jsonl", a journal, for one process
            at a time. A run that is there already is joined. The report has all
            Spaces of the run; those of other hosts are `from_journal`.
        lease: With a store, seconds for which a host holds what it works on: 60 unless
            given. What a lost host held is taken over after that. An attempt takes
            half of it at most.
    """

    journal: JournalPath | None
    store: str | None
    lease: float | None


class WorkOptions(TypedDict, total=False):
    """Options of `BulkOptions` that each host of a run chooses for itself."""

    concurrency: int
    deadline: float | None
    progress: Progress | None
    max_rate_limit_wait: float | None
    max_outage: float | None
    keep: Keep


_OF_THE_STREAM: Final = frozenset(
    {"progress", "journal", "on_unknown", "only_changes", "record_before", "keep"}
)


class Bulk(Resource):
    """Operations on many Spaces. Reached as `client.bulk`.

    Each distinct target gets exactly one outcome. One that fails never stops the others
    unless `fail_fast` or `max_failures` says so; only a token that is refused again and
    again does. What is in flight when a limit is reached is finished. Cancelling a
    method cancels its requests and leaves no task behind; to keep the outcomes up to
    then, use `stream`, whose `.report` stays readable.
    """

    __slots__ = ("_make_client", "_session")

    def __init__(self, session: HubSession, make_client: MakeClient) -> None:
        self._session = session
        self._make_client = make_client

    async def restart(
        self,
        targets: Targets,
        *,
        factory_reboot: bool = False,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Restart many Spaces.

        Each as `client.lifecycle.restart`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            factory_reboot: Build again without the cache. A PAUSED Space fails with a
                `ConflictError`: it has to be restarted first.
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
        """Pause many Spaces.

        Each as `client.lifecycle.pause`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.pause(), targets, **options)

    async def delete(
        self,
        targets: Targets,
        *,
        missing_ok: bool = False,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Delete many Spaces for good, with all that is in them.

        Each as `client.lifecycle.delete`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            missing_ok: Take one that does not exist for success.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.delete(missing_ok=missing_ok)
        return await self.run(operation, targets, **options)

    async def request_hardware(
        self,
        targets: Targets,
        *,
        flavor: SpaceHardware | str,
        sleep_time: int | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Ask for a hardware flavor for many Spaces.

        Each as `client.hardware.request_hardware`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            flavor: Such as "t4-small".
            sleep_time: Seconds without a visit until they sleep, -1 for never; None
                leaves it to the Hub.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.request_hardware(flavor, sleep_time=sleep_time)
        return await self.run(operation, targets, **options)

    async def set_sleep_time(
        self,
        targets: Targets,
        *,
        seconds: int,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Set the sleep time of many Spaces.

        Each as `client.hardware.set_sleep_time`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            seconds: Above 0, or -1 for never.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.set_sleep_time(seconds), targets, **options)

    async def set_replicas(
        self,
        targets: Targets,
        *,
        replicas: int,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Set how many copies of the app run, for many Spaces.

        Each as `client.hardware.set_replicas`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            replicas: At least 1.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.set_replicas(replicas), targets, **options)

    async def set_dev_mode(
        self,
        targets: Targets,
        *,
        enabled: bool,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Switch dev mode on or off for many Spaces.

        Each as `client.config.set_dev_mode`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            enabled: On needs PRO or Team, off is always allowed.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.set_dev_mode(enabled), targets, **options)

    async def set_visibility(
        self,
        targets: Targets,
        *,
        visibility: str | None = None,
        private: bool | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Set who sees many Spaces.

        Each as `client.config.set_visibility`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            visibility: "public", "private" or "protected".
            private: True or False instead of `visibility`.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.set_visibility(visibility, private=private)
        return await self.run(operation, targets, **options)

    async def set_custom_domain(
        self,
        targets: Targets,
        *,
        domain: str,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Let the apps of Spaces answer under a domain of one's own.

        Each as `client.config.set_custom_domain`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            domain: A host name whose CNAME is hf.space.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.set_custom_domain(domain), targets, **options)

    async def add_variable(
        self,
        targets: Targets,
        *,
        key: str,
        value: str,
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceVariable]:
        """Add a variable to many Spaces, or change the one of that key.

        Each as `client.config.add_variable`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            key: Its name.
            value: Its value.
            description: What it is for; None keeps what there is.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.add_variable(key, value, description=description)
        return await self.run(operation, targets, **options)

    async def add_variables(
        self,
        targets: Targets,
        *,
        variables: Mapping[str, str],
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[list[KeyOutcome]]:
        """Add or change several variables of many Spaces, one request each.

        Each as `client.config.add_variables`: the same endpoint, safe to repeat or not as there.
        A Space ends with the first key that fails.

        Args:
            targets: Which Spaces.
            variables: Values by key.
            description: What it is for; None keeps what there is.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        operation = operations.add_variables(variables, description=description)
        return await self.run(operation, targets, **options)

    async def delete_variable(
        self,
        targets: Targets,
        *,
        key: str,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[dict[str, SpaceVariable]]:
        """Delete a variable of many Spaces.

        Each as `client.config.delete_variable`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            key: Its name.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_variable(key), targets, **options)

    async def delete_variables(
        self,
        targets: Targets,
        *,
        keys: Iterable[str],
        **options: Unpack[BulkOptions],
    ) -> BulkReport[list[KeyOutcome]]:
        """Delete several variables of many Spaces, one request each.

        Each as `client.config.delete_variable`: the same endpoint, safe to repeat or not as there.
        A Space ends with the first key that fails.

        Args:
            targets: Which Spaces.
            keys: Their names.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_variables(keys), targets, **options)

    async def add_secret(
        self,
        targets: Targets,
        *,
        key: str,
        value: str,
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Add a secret to many Spaces, or change the one of that key.

        Each as `client.config.add_secret`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            key: Its name.
            value: Its value; never shown.
            description: What it is for; None keeps what there is.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        hidden = Redacted(value)
        del value
        operation = operations.add_secret(key, hidden, description=description)
        return await self.run(operation, targets, **options)

    async def add_secrets(
        self,
        targets: Targets,
        *,
        secrets: Mapping[str, str],
        description: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[list[KeyOutcome]]:
        """Add or change several secrets of many Spaces, one request each.

        Each as `client.config.add_secrets`: the same endpoint, safe to repeat or not as there.
        A Space ends with the first key that fails.

        Args:
            targets: Which Spaces.
            secrets: Values by key; never shown.
            description: What it is for; None keeps what there is.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        hidden: Any = Redacted(secrets)
        del secrets
        operation = operations.add_secrets(hidden, description=description)
        return await self.run(operation, targets, **options)

    async def delete_secret(
        self,
        targets: Targets,
        *,
        key: str,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Delete a secret of many Spaces.

        Each as `client.config.delete_secret`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            key: Its name.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_secret(key), targets, **options)

    async def delete_secrets(
        self,
        targets: Targets,
        *,
        keys: Iterable[str],
        **options: Unpack[BulkOptions],
    ) -> BulkReport[list[KeyOutcome]]:
        """Delete several secrets of many Spaces, one request each.

        Each as `client.config.delete_secret`: the same endpoint, safe to repeat or not as there.
        A Space ends with the first key that fails.

        Args:
            targets: Which Spaces.
            keys: Their names.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_secrets(keys), targets, **options)

    async def set_volumes(
        self,
        targets: Targets,
        *,
        volumes: Iterable[Volume | str],
        **options: Unpack[BulkOptions],
    ) -> BulkReport[None]:
        """Mount exactly these volumes into many Spaces.

        Each as `client.storage.set_volumes`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            volumes: At least one; a text is read by `Volume.from_uri`.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.set_volumes(volumes), targets, **options)

    async def add_volumes(
        self,
        targets: Targets,
        *,
        volumes: Iterable[Volume | str],
        **options: Unpack[BulkOptions],
    ) -> BulkReport[tuple[Volume, ...]]:
        """Mount more volumes into many Spaces.

        Each as `client.storage.add_volume`: the same endpoint, safe to repeat or not as there.
        One read and one write for each Space; one that has them all is `unchanged`.

        Args:
            targets: Which Spaces.
            volumes: They replace what is mounted at their paths.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.add_volumes(volumes), targets, **options)

    async def remove_volumes(
        self,
        targets: Targets,
        *,
        mount_paths: Iterable[str],
        **options: Unpack[BulkOptions],
    ) -> BulkReport[tuple[Volume, ...]]:
        """Unmount volumes of many Spaces.

        Each as `client.storage.remove_volume`: the same endpoint, safe to repeat or not as there.
        One read and one write for each Space; one that has none is `unchanged`.

        Args:
            targets: Which Spaces.
            mount_paths: Where they are mounted.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(
            operations.remove_volumes(mount_paths), targets, **options
        )

    async def delete_volumes(
        self, targets: Targets, **options: Unpack[BulkOptions]
    ) -> BulkReport[None]:
        """Unmount all volumes of many Spaces.

        Each as `client.storage.delete_volumes`: the same endpoint, safe to repeat or not as there.
        The Space is read first: one that has none is `unchanged`.

        Args:
            targets: Which Spaces.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_volumes(), targets, **options)

    async def request_storage(
        self,
        targets: Targets,
        *,
        tier: SpaceStorage | str,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[SpaceRuntime]:
        """Ask for a tier of the legacy storage for many Spaces.

        Each as `client.storage.request_storage`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            tier: "small", "medium" or "large".
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.request_storage(tier), targets, **options)

    async def delete_storage(
        self, targets: Targets, **options: Unpack[BulkOptions]
    ) -> BulkReport[SpaceRuntime]:
        """Delete the legacy storage of many Spaces.

        Each as `client.storage.delete_storage`: the same endpoint, safe to repeat or not as there.

        Args:
            targets: Which Spaces.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.run(operations.delete_storage(), targets, **options)

    async def run(
        self,
        operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
        targets: Targets,
        *,
        name: str | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkReport[T]:
        """Do something to many Spaces and wait for all of it.

        Args:
            operation: One of `spaces_async.bulk.operations`, or any async callable of a
                client and an id. Its client leaves the reserve of the quota to others.
            targets: Which Spaces.
            name: What reports and the journal call a callable; None takes its own name.
                With a journal, lambdas, partials and objects need one: it has to be the
                same when the bulk is resumed.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each distinct Space.

        Raises:
            ConfigurationError: An argument cannot work; nothing was sent.
            BulkInterruptedError: The iterator of targets raised.
        """
        return await self.stream(operation, targets, name=name, **options).drain()

    def stream(
        self,
        operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
        targets: Targets,
        *,
        name: str | None = None,
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
            name: As in `run`.
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
        chosen = operations.as_operation(operation, name=name)
        return self._stream(chosen, targets, options)

    async def resume(
        self,
        journal: JournalPath,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        secrets: Mapping[str, str] | None = None,
        targets: Targets | None = None,
        name: str | None = None,
        **options: Unpack[ResumeOptions],
    ) -> BulkReport[Any]:
        """Continue a bulk that was interrupted, from its journal.

        Nothing that is done is done again, and nothing else is left out: what failed is
        tried again, and what may have been sent when the bulk before ended is handled
        as `on_unknown` says. See `client.bulk.run` for what is done to each Space.

        Waves and health are those that the journal was begun with; each option about
        them that is passed goes first. `waves=None` has none.

        Args:
            journal: Its file.
            operation: Needed only for a function of yours.
            secrets: The values of the secrets that the bulk writes, by key: a journal
                never has them. Needed only for `add_secret` and `add_secrets`. Other
                values than before are refused.
            targets: Needed only if the bulk ended before it had seen all of them.
            name: The name that the function was given before, if it was given one.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each Space of the whole job.

        Raises:
            JournalError: It cannot be read, written or locked.
            ConfigurationError: It belongs to another job, or something is missing: also
                the function that judged health before.
            BulkInterruptedError: The iterator of targets raised.
        """
        hidden = _boxed(secrets)
        del secrets
        _require_callable(operation, name)
        header = await read_header(journal)
        chosen = _of_journal(header, operation, name, hidden)
        given = _going_on(journal, header, options)
        return await self._stream(chosen, targets, given).drain()

    async def work(
        self,
        store: str,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        secrets: Mapping[str, str] | None = None,
        name: str | None = None,
        healthy: HealthCheck | None = None,
        **options: Unpack[WorkOptions],
    ) -> BulkReport[Any]:
        """Work on a run that another host has begun with `store=`, until it is over.

        Each write as `client.bulk.run` does it: the same endpoints, safe to repeat or
        not as there. What a lost host has announced and left without an outcome is
        looked up first. Cancelling it leaves what this host held to the others.

        Args:
            store: The URL of the run; see `BulkOptions`. A run that is not there is
                waited for, 30 s.
            operation: Needed only for a function of yours.
            secrets: The values of the secrets that the run writes, by key: a store never
                has them. None takes each from the variable of the environment that is
                named like its key.
            name: The name that the function was given before, if it was given one.
            healthy: The function that the run was begun with as `healthy`, if it was.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each Space that this host has finished.

        Raises:
            ConfigurationError: There is no such run, it is of another Hub, or something
                is missing.
            StoreError: The store cannot be used, or was away for longer than
                `max_outage`; `report` has the outcomes so far.
        """
        hidden = _boxed(secrets)
        del secrets
        stream, _ = await self._work_stream(
            store,
            WorkOptions(**options),
            operation=operation,
            secrets=hidden,
            name=name,
            check=healthy,
        )
        return await stream.drain()

    async def get_run(self, store: str) -> RunState:
        """Read how far a run is that many hosts work on. The Hub is not asked.

        Args:
            store: The URL of the run; see `BulkOptions`.

        Returns:
            Its counts, over all hosts.

        Raises:
            ConfigurationError: There is no such run, or the URL is none.
            StoreError: The store cannot be reached or used.
        """
        return await self._state_of(store)

    async def cancel(self, store: str) -> RunState:
        """End a run early, on all hosts. The Hub is not asked.

        What is in flight is finished and recorded; each host ends within 5 s. A run that
        is over stays as it is. Safe to repeat.

        Args:
            store: The URL of the run; see `BulkOptions`.

        Returns:
            How far the run is.

        Raises:
            ConfigurationError: There is no such run, or the URL is none.
            StoreError: The store cannot be reached or used; a file is in use by the
                process that works on it.
        """
        return await self._state_of(store, cancel=True)

    async def _state_of(self, where: str, *, cancel: bool = False) -> RunState:
        """Return how far a run is; cancel it first if that is asked for."""
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._store.url import make_store

        async with aclosing(make_store(where, self._session.clock)) as store:
            return await joining.state_of(store, cancel=cancel)

    async def _read_run(self, where: str) -> tuple[RunState, list[Result]]:
        """Return how far a run is, and what is known of each of its Spaces."""
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._store.url import make_store

        async with aclosing(make_store(where, self._session.clock)) as store:
            return await joining.read_run(store)

    async def _work_stream(
        self,
        where: str,
        options: WorkOptions,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        secrets: Mapping[str, Redacted[str]] | None = None,
        name: str | None = None,
        check: HealthCheck | None = None,
    ) -> tuple[BulkStream[Any], int]:
        """Find a run; `work` as a stream, and how many Spaces are left."""
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._engine.shared_run import SharedRun
        from spaces_async.bulk._store.url import make_store

        _require_callable(operation, name)
        given = _known_options(options, WorkOptions)
        longest = given.pop("max_rate_limit_wait", None)
        streamed = {key: given.pop(key) for key in _OF_THE_STREAM & given.keys()}
        limits = Limits(**given)
        await self._session.require_usable()
        clock = self._session.clock
        store = make_store(where, clock)
        try:
            job = await joining.find_job(store, clock, seconds=joining.FOUND_SECONDS)
            session = self._session.in_background(max_rate_limit_wait=longest)
            chosen, header = await joining.made_again(
                job,
                operation,
                secrets or {},
                name=name,
                session=session,
                shown=store.shown,
                has_check=check is not None,
            )
            run = SharedRun(store, clock, max_outage=limits.max_outage, whole=False)
            run.job = job
            left = store.counts.total - store.counts.finished
            stream = BulkStream(
                chosen,
                (),
                session=session,
                make_client=self._make_client,
                limits=limits,
                on_unknown=cast("OnUnknown", job.on_unknown),
                only_changes=job.only_changes,
                record_before=job.record_before,
                healthy=job.healthy,
                health_check=check,
                joining=joining.Joining(run, header, None),
                **streamed,
            )
            if job.header.rollout is not None:
                asked = options_of(job.header.rollout)
                _note_rollout(stream, asked, check or job.healthy)
        except BaseException:
            await store.aclose()
            raise
        return stream, left

    async def retry_failed(
        self,
        source: BulkReport[Any] | JournalPath,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        secrets: Mapping[str, str] | None = None,
        name: str | None = None,
        **options: Unpack[ResumeOptions],
    ) -> BulkReport[Any]:
        """Try the Spaces of a bulk again that failed, and no others.

        Those whose outcome is unknown are tried again, too: with a journal or a run as
        `on_unknown` says, from a report where a repeat leads to the same end state.
        Those that were not attempted are left to `resume`. Each write as
        `client.bulk.run` does it: the same endpoints, safe to repeat or not as there.
        Waves and health are those of the bulk before, as in `resume`. Cancelling it
        cancels what is in flight; a run in a store stays as it is in any case.

        Args:
            source: The report of the bulk; its journal, which goes on; or the URL of a
                run that is over, for which this is a new bulk on this host alone.
            operation: Needed only for the journal or the run of a function of yours.
            secrets: As in `resume`; for a run as in `work`.
            name: As in `resume`.
            **options: See `BulkOptions`.

        Returns:
            A report with one outcome for each Space that was tried again.

        Raises:
            ConfigurationError: The report does not keep what failed, the journal
                belongs to another job, or the run is not there or not over.
            JournalError: The journal cannot be read, written or locked.
            StoreError: The store cannot be reached or used.
        """
        hidden = _boxed(secrets)
        del secrets
        _require_callable(operation, name)
        if isinstance(source, BulkReport):
            report: BulkReport[Any] = source
            made_by, failed = failed_of(report)
            before = report._made_by.rollout  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            again = cast("BulkOptions", taken_over(before, options))
            return await self.run(made_by, failed, **again)
        if "://" in os.fspath(source):
            run = await self._ended_run(
                os.fspath(source), operation=operation, secrets=hidden, name=name
            )
            taken = _taken_over(run.shown, run.header, options)
            return await self._retry_of_run(run, taken).drain()
        header, state = await asyncio.to_thread(read_state, source)
        chosen = _of_journal(header, operation, name, hidden)
        given = _going_on(source, header, options)
        return await self._retry(chosen, failed_in(state.entries), given).drain()

    def _retry(
        self, operation: Operation[Any], failed: Iterable[str], options: BulkOptions
    ) -> BulkStream[Any]:
        """Try some Spaces of a journal again, which goes on."""
        only = Prepared(only=frozenset(failed))
        return self._stream(operation, None, options, prepared=only)

    async def _ended_run(
        self,
        where: str,
        *,
        operation: (
            Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None
        ) = None,
        secrets: Mapping[str, Redacted[str]],
        name: str | None = None,
    ) -> EndedRun:
        """Read what a run in a store has left, now that it is over."""
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._store.url import make_store

        clock = self._session.clock
        async with aclosing(make_store(where, clock)) as store:
            job, entries = await joining.entries_in(store)
            joining.require_over(store, job, entries, clock)
            chosen, _ = await joining.made_again(
                job,
                operation,
                secrets,
                name=name,
                session=self._session,
                shown=store.shown,
                # Who judges the health now is for the options to say.
                has_check=job.has_check,
            )
            left = {repo_id: entries[repo_id] for repo_id in failed_in(entries)}
            return EndedRun(
                store.shown, job.header, chosen, left, only_changes=job.only_changes
            )

    def _retry_of_run(self, run: EndedRun, options: BulkOptions) -> BulkStream[Any]:
        """Try again what a run in a store has left, in a bulk of its own."""
        options = cast("BulkOptions", {"only_changes": run.only_changes, **options})
        prepared = Prepared(left=run.left)
        return self._stream(run.operation, list(run.left), options, prepared=prepared)

    async def plan(
        self,
        operation: Operation[Any],
        targets: Targets,
        *,
        max_targets: int | str | None = None,
        leave_out: Callable[[PlannedChange], str | None] | None = None,
    ) -> Plan:
        """Work out what a bulk would do to each Space. No write is sent.

        Endpoints: `GET /api/spaces`, one call for each 500 Spaces of an owner; `GET` of
        the variables, secrets or volumes of each Space for writes about these;
        `GET /api/whoami-v2` once for the token; `GET /api/spaces/hardware` where the
        cost may change. Safe to repeat. Cancelling it leaves nothing behind.

        Args:
            operation: One of `spaces_async.bulk.operations`.
            targets: Which Spaces. They are read to their end.
            max_targets: How many Spaces may be changed at most: a number, or a share of
                all Spaces of the owners, such as "20%". None is no limit.
            leave_out: Called with each change; returns why the Space is to be `skipped`,
                or None to change it. None leaves out none.

        Returns:
            The plan; `await plan.apply()` does what it says.

        Raises:
            ConfigurationError: The operation is a function, or the plan would change
                more Spaces than `max_targets`.
            SpacesError: Something that is needed cannot be read.
        """
        chosen = operations.as_operation(operation)
        limit = (
            None if max_targets is None else Amount.parse(max_targets, "max_targets")
        )
        planned = await self._planner(chosen).plan(
            targets, limit=limit, leave_out=leave_out
        )
        return self._plan(chosen, planned)

    async def plan_undo(
        self, journal: JournalPath, *, max_targets: int | str | None = None
    ) -> Plan:
        """Work out what brings back the state before a bulk, from its journal.

        It reads as `plan` does, and sends no write. Only what that bulk changed is
        brought back. A Space that somebody has changed since is skipped as "drift",
        judged by the fields that the bulk set. Where nothing brings the state back (a
        restart, a secret, a deletion; a Space that slept), the reason says so.

        Args:
            journal: Its file, or the URL of a run in a store. It is read, not locked.
            max_targets: As in `plan`.

        Returns:
            The plan; `await plan.apply()` does what it says.

        Raises:
            JournalError: The journal cannot be read.
            ConfigurationError: It is of a function of yours, or of another Hub.
            SpacesError: Something that is needed cannot be read.
        """
        limit = (
            None if max_targets is None else Amount.parse(max_targets, "max_targets")
        )
        shown, header, entries = await self._kept_in(journal)
        here = str(self._session.endpoint)
        if header.endpoint != here:
            raise ConfigurationError(
                f"the journal {shown} is of a bulk at {header.endpoint}, and what was"
                f" changed there cannot be undone at {here}"
            )
        names = operations.keys_of_secrets(header.operation, header.parameters)
        # The values are not needed: nothing brings the ones before back.
        values = {name: Redacted("unknown") for name in names}
        made = operations.rebuild(header.operation, header.parameters, values)
        undo = await asyncio.to_thread(undo_of, made, entries)
        chosen = undo.operation(header.operation)
        planned = await self._planner(chosen).plan(
            list(undo.writes), expected=undo.expected, limit=limit
        )
        skipped = [PlannedChange(i, reason=why) for i, why in undo.left_out.items()]
        return self._plan(chosen, [*planned, *map(PlannedSpace, skipped)])

    async def _kept_in(
        self, journal: JournalPath
    ) -> tuple[str, Header, Mapping[str, Entry]]:
        """Read a journal, or a run: what to call it, and what is in it."""
        name = os.fspath(journal)
        if "://" not in name:
            header, state = await asyncio.to_thread(read_state, journal)
            return name, header, state.entries
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._store.url import make_store

        async with aclosing(make_store(name, self._session.clock)) as store:
            job, entries = await joining.entries_in(store)
            return store.shown, job.header, entries

    async def undo(
        self, journal: JournalPath, **options: Unpack[ResumeOptions]
    ) -> BulkReport[Any]:
        """Bring back the state before a bulk, from its journal, at once.

        The same as `plan_undo` and then `Plan.apply`.

        Args:
            journal: The file of the bulk that is undone, or the URL of its run.
            **options: See `BulkOptions`; not `journal` and `only_changes`. To keep a
                journal of the undo, pass it to `Plan.apply`.

        Returns:
            A report with one outcome for each Space that the bulk changed.

        Raises:
            JournalError: The journal cannot be read.
            ConfigurationError: The journal is of a function of yours, or of another
                Hub.
            SpacesError: Something that is needed cannot be read.
        """
        plan = await self.plan_undo(journal)
        return await plan.apply(**options)

    def _planner(self, operation: Operation[Any]) -> Planner:
        session = self._session
        if not session.options.background:  # The shell's is, with a limit of its own.
            session = session.in_background(max_rate_limit_wait=None)
        return Planner(session, operation)

    def _plan(self, operation: Operation[Any], spaces: list[PlannedSpace]) -> Plan:
        def stream(**options: Unpack[BulkOptions]) -> BulkStream[Any]:
            if "only_changes" in options:
                raise ConfigurationError("a plan leaves out what is needless by itself")
            options["only_changes"] = True
            targets = [space.listed or space.change.repo_id for space in spaces]
            prepared = prepare(spaces)
            return self._stream(operation, targets, options, prepared=prepared)

        return make_plan(operation.name, spaces, self._session, stream)

    def _stream(
        self,
        operation: Operation[T],
        targets: Targets | None,
        options: BulkOptions,
        *,
        prepared: Prepared | None = None,
    ) -> BulkStream[T]:
        given = _known_options(options, BulkOptions)
        store, lease = given.pop("store", None), given.pop("lease", None)
        longest = given.pop("max_rate_limit_wait", None)
        kept = {name: given.pop(name) for name in _OF_THE_STREAM & given.keys()}
        asked: dict[str, Any] = {n: given.pop(n) for n in PACING if n in given}
        pacing = Pacing.make(**asked)
        healthy, check = _healthy_of(given, pacing)
        limits = Limits(**given, max_failures=pacing.most_failures)
        session = self._session.in_background(max_rate_limit_wait=longest)
        joining: Joining | None = None
        if store is not None:
            _refuse_with_store(kept, prepared, targets)
            joining = self._joining(
                store,
                operation,
                session,
                lease=lease,
                limits=limits,
                pacing=pacing,
                rollout=record_of(pacing, healthy, has_check=check is not None),
                only_changes=kept.get("only_changes"),
                is_selection=isinstance(targets, Selection),
                on_unknown=kept.get("on_unknown", "verify"),
                record_before=kept.get("record_before", True),
            )
            # The store counts for all hosts.
            limits = evolve(limits, max_failures=None, fail_fast=False)
        elif lease is not None:
            raise ConfigurationError("lease is for a run in a store: add store=")
        stream = BulkStream(
            operation,
            targets,
            session=session,
            make_client=self._make_client,
            limits=limits,
            prepared=prepared,
            pacing=pacing if joining is None else None,
            healthy=healthy,
            health_check=check,
            joining=joining,
            **kept,
        )
        if pacing.waves or healthy is not None:
            _note_rollout(stream, asked, check or healthy)
        return stream

    def _joining(
        self,
        where: str,
        operation: Operation[Any],
        session: HubSession,
        *,
        rollout: Mapping[str, Any] | None,
        lease: float | None,
        limits: Limits,
        only_changes: bool | None,
        is_selection: bool,
        **terms: Any,
    ) -> Joining:
        """Return what begins a run in a store, or joins it."""
        from spaces_async.bulk._engine import joining
        from spaces_async.bulk._engine.shared_run import SharedRun
        from spaces_async.bulk._store.url import make_store

        header = job_header(operation, session, rollout)
        store = make_store(where, session.clock)
        laid_down = joining.Terms(
            header=header,
            lease=joining.lease_of(joining.LEASE_SECONDS if lease is None else lease),
            fail_fast=limits.fail_fast,
            only_changes=is_selection if only_changes is None else only_changes,
            **terms,
        )
        run = SharedRun(store, session.clock, max_outage=limits.max_outage, whole=True)
        return joining.Joining(run, header, laid_down)


@frozen
class EndedRun:
    """What a run in a store has left.

    Attributes:
        shown: Its URL, without a password.
        header: What it does.
        operation: The same, made again.
        left: What is known of each Space that failed, or whose outcome is unknown.
        only_changes: Whether it left out what was so already.
    """

    shown: str
    header: Header
    operation: Operation[Any]
    left: Mapping[str, Entry]
    only_changes: bool


def _going_on(
    journal: JournalPath, header: Header, options: ResumeOptions
) -> BulkOptions:
    """Return the options of a bulk that goes on with a journal."""
    found = _taken_over(os.fspath(journal), header, options)
    return cast("BulkOptions", {**found, "journal": journal})


def _taken_over(where: str, header: Header, options: ResumeOptions) -> BulkOptions:
    """Return the options of a bulk with the waves and the health of the one before."""
    if "healthy" not in options:
        require_judge(where, header.rollout)
    return cast("BulkOptions", taken_over(options_of(header.rollout), options))


def _note_rollout(
    stream: BulkStream[Any], asked: Mapping[str, Any], health: Any
) -> None:
    """Note waves and health, with which `retry_failed` of the report goes on."""
    made_by = stream.report._made_by  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    made_by.rollout = {**asked, "healthy": health or False}


def _known_options(options: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Return options as a dict of one's own; refuse those that do not exist."""
    given, names = dict(options), list(known.__annotations__)
    if unknown := sorted(given.keys() - set(names)):
        raise TypeError(
            f"a bulk has no option {', '.join(unknown)}; it has {', '.join(names)}"
        )
    return given


def _refuse_with_store(
    kept: Mapping[str, Any], prepared: Prepared | None, targets: Targets | None
) -> None:
    """Refuse what cannot be had together with a store.

    Raises:
        ConfigurationError: It was asked for.
    """
    if kept.get("journal") is not None:
        raise ConfigurationError("journal and store contradict each other: name one")
    if prepared is not None or targets is None:
        raise ConfigurationError(
            "a plan, an undo and a resume cannot be kept in a store"
        )


def _healthy_of(
    options: dict[str, Any], pacing: Pacing
) -> tuple[Healthy | None, HealthCheck | None]:
    """Take `healthy` and `wait` out of the options of a bulk."""
    asked = options.pop("healthy", None)
    wait = _validate.flag(options.pop("wait", False), "wait")
    if asked is None:
        asked = wait or bool(pacing.waves)
    elif wait and asked is False:
        raise ConfigurationError("wait=True and healthy=False contradict each other")
    healthy, check = make_healthy(asked)
    if pacing.max_unavailable is not None and healthy is None:
        raise ConfigurationError("max_unavailable needs healthy=True, or waves")
    return healthy, check


def _boxed(secrets: Mapping[str, str] | None) -> dict[str, Redacted[str]]:
    return {key: Redacted(value) for key, value in (secrets or {}).items()}


def _require_callable(operation: object, name: str | None) -> None:
    if operation is None and name is not None:
        raise ConfigurationError("name= is for a callable: pass operation=, too")


def _of_journal(
    header: Header,
    operation: Operation[Any] | Callable[[SpacesClient, str], Awaitable[Any]] | None,
    name: str | None,
    hidden: Mapping[str, Redacted[str]],
) -> Operation[Any]:
    """Return the operation of a journal, made again unless it is passed."""
    if operation is None:
        operation = operations.rebuild(header.operation, header.parameters, hidden)
    return operations.as_operation(operation, name=name)


def failed_in(entries: Mapping[str, Entry]) -> list[str]:
    """Return the Spaces of a bulk that failed, or whose outcome is unknown."""
    return [
        repo_id
        for repo_id, entry in entries.items()
        if entry.status is OutcomeStatus.FAILED or entry.in_doubt
    ]


def retry_stream(
    bulk: Bulk, operation: Operation[Any], failed: Iterable[str], options: BulkOptions
) -> BulkStream[Any]:
    """Try some Spaces of a journal again: `Bulk.retry_failed` as a stream.

    Args:
        bulk: Does it.
        operation: What the journal is of.
        failed: Which of its Spaces.
        options: The journal among them.
    """
    return bulk._retry(operation, failed, options)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def ended_run(
    bulk: Bulk, store: str, secrets: Mapping[str, Redacted[str]]
) -> EndedRun:
    """Read what a run in a store has left, now that it is over.

    Args:
        bulk: Does it.
        store: The URL of the run.
        secrets: Values of secrets that it writes, by key; what is missing is taken from
            the environment.
    """
    return await bulk._ended_run(store, secrets=secrets)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def retry_stream_of_run(
    bulk: Bulk, run: EndedRun, options: BulkOptions
) -> BulkStream[Any]:
    """Try again what a run in a store has left: `Bulk.retry_failed` as a stream."""
    return bulk._retry_of_run(run, options)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def read_run(bulk: Bulk, store: str) -> tuple[RunState, list[Result]]:
    """Read how far a run is, and what is known of each of its Spaces.

    Args:
        bulk: Does it.
        store: The URL of the run.
    """
    return await bulk._read_run(store)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def work_stream(
    bulk: Bulk, store: str, options: WorkOptions
) -> tuple[BulkStream[Any], int]:
    """Find a run and work on it: `Bulk.work` as a stream.

    Args:
        bulk: Does it.
        store: The URL of the run.
        options: What this host chooses for itself.

    Returns:
        The stream, and how many Spaces have no outcome yet.
    """
    return await bulk._work_stream(store, options)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
