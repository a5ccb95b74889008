"""How a host comes to a run that is kept in a store: it begins it, or finds it."""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, frozen

from spaces_async import _validate
from spaces_async._operations.requests import whoami_call
from spaces_async._redacted import Redacted
from spaces_async.bulk import operations
from spaces_async.bulk._engine.header import job_header
from spaces_async.bulk._engine.shared_run import (
    SharedHistory,
    SharedRun,
    SharedSource,
    outcome_of,
)
from spaces_async.bulk._journal.format import Entry, Header
from spaces_async.bulk._journal.proof import is_proven, prove
from spaces_async.bulk._store.job import (
    MAX_LEASE_SECONDS,
    MIN_LEASE_SECONDS,
    Job,
    digest_of,
)
from spaces_async.bulk._store.protocol import StoreAwayError
from spaces_async.bulk._waves import Pacing, Rollout
from spaces_async.bulk.report import OutcomeStatus, StopReason
from spaces_async.bulk.run_state import RunState
from spaces_async.errors import (
    AuthenticationError,
    BulkInterruptedError,
    ConfigurationError,
    SpacesError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from spaces_async._clock import Clock
    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Operation
    from spaces_async.bulk._engine.lease import Lease
    from spaces_async.bulk._engine.targets import TargetSource
    from spaces_async.bulk._store.protocol import Result, RunStore
    from spaces_async.client import SpacesClient

__all__ = [
    "FOUND_SECONDS",
    "LEASE_SECONDS",
    "Joining",
    "Terms",
    "find_job",
    "lease_of",
    "operation_of",
]

T = TypeVar("T")

LEASE_SECONDS: Final = 60.0
FOUND_SECONDS: Final = 30.0
"""How long a host waits for a run that is not there yet."""

_LOOK_SECONDS: Final = 0.25
_ASK_AGAIN_SECONDS: Final = 10.0
"""How long it counts that the Hub has taken the token."""


@frozen(kw_only=True)
class Terms:
    """What the host that begins a run lays down for all hosts.

    Attributes:
        header: The operation, its waves and what it takes for healthy, as a journal has
            them.
        lease: Seconds that a block is held for.
        pacing: Waves and failures.
        fail_fast: Whether the first failure ends the run.
        on_unknown: As in `BulkOptions`.
        only_changes: Whether to leave out what is so already.
        record_before: Whether the state before each write is recorded.
    """

    header: Header
    lease: float
    pacing: Pacing
    fail_fast: bool
    on_unknown: str
    only_changes: bool
    record_before: bool

    def job(self, repo_ids: Sequence[str]) -> Job:
        """Return the job for these Spaces."""
        rollout = Rollout.of(self.pacing, len(repo_ids))
        return Job(
            header=self.header,
            digest=digest_of(repo_ids),
            lease=self.lease,
            on_unknown=self.on_unknown,
            only_changes=self.only_changes,
            record_before=self.record_before,
            ends=rollout.ends if rollout.has_waves else (),
            max_unavailable=rollout.max_unavailable,
            max_failures=rollout.max_failures,
            fail_fast=self.fail_fast,
        )

    def require_same(
        self, found: Job, listed: Sequence[str] | None, shown: str
    ) -> None:
        """Refuse a run that is not of this job.

        Args:
            found: The job of the run.
            listed: The targets, if they are a list.
            shown: Where the run is, for people.

        Raises:
            ConfigurationError: It is of another operation, other targets or terms.
        """
        if not self.header.is_same_job(found.header):
            raise ConfigurationError(
                f"the run {shown} is another job, {found.header.shown}; this is"
                f" {self.header.shown}"
            )
        if listed is not None and digest_of(listed) != found.digest:
            raise ConfigurationError(
                f"the run {shown} has other targets; take a new name, or `work`, which"
                " takes those of the run"
            )
        mine = self.job(listed or ())
        names = ["lease", "on_unknown", "only_changes", "record_before", "fail_fast"]
        names += ["healthy", "has_check", "pause_between"]
        if listed is not None:
            names += ["ends", "max_unavailable", "max_failures"]
        others = [name for name in names if getattr(mine, name) != getattr(found, name)]
        if others:
            raise ConfigurationError(
                f"the run {shown} was begun with other options:"
                f" {', '.join(_OPTIONS.get(name, name) for name in others)}"
            )


_OPTIONS: Final = {"ends": "waves", "has_check": "healthy"}


class Joining:
    """How a bulk comes to its run.

    Attributes:
        run: This host's part of the run.
        history: What the bulk knows of other hosts.
    """

    def __init__(self, run: SharedRun, header: Header, terms: Terms | None) -> None:
        """Prepare it; nothing is opened yet.

        Args:
            run: This host's part of the run.
            header: The operation.
            terms: What this host lays down if it begins the run; None: the run has
                been found.
        """
        self.run = run
        self.history = SharedHistory(run, private=bool(header.hidden))
        self._header = header
        self._terms = terms
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")

    async def note_end(self, error: Exception | None, session: HubSession) -> None:
        """Find out, where a Space ended with a 401, whether it is about the token.

        A Space that this token may not see can be answered with one, too.

        Args:
            error: How it ended.
            session: That of this host.
        """
        if not isinstance(error, AuthenticationError):
            return
        async with self._asking:
            now, history = self.run.clock.monotonic(), self.history
            if history.token_is_refused or now < self._asked_at + _ASK_AGAIN_SECONDS:
                return
            try:
                if await session.has_token():
                    await session.send(whoami_call())
            except AuthenticationError:
                history.token_is_refused = True
            except SpacesError:
                return  # Not known; the next one asks again.
            self._asked_at = now

    async def open(self, source: TargetSource) -> Mapping[str, str]:
        """Begin the run, or join the one that is there.

        Args:
            source: The targets. They are read to their end if the run is begun.

        Returns:
            Spaces that a selection neither takes nor rules out, and why.

        Raises:
            StoreError: The store cannot be reached or used.
            ConfigurationError: The run is another job, or an id is malformed.
            BulkInterruptedError: The iterator of targets raised.
        """
        run, terms, left_out = self.run, self._terms, dict[str, str]()
        if terms is None:
            return left_out
        store = run.store
        found = await _at_once(store, store.find)
        if found is None:
            repo_ids, left_out = await _read(source)
            job = terms.job(repo_ids)
            if terms.header.secret is not None:
                proof = await asyncio.to_thread(prove, terms.header.secret)
                job = evolve(job, header=evolve(job.header, proof=proof))
            found = await self._begin(job, repo_ids)
            terms.require_same(found, repo_ids, store.shown)
            run.given = repo_ids
        else:
            run.given = source.listed or ()
            terms.require_same(found, source.listed, store.shown)
        await require_proven(self._header, found, store.shown)
        run.job = found
        return left_out

    def source(
        self, on_claim: Callable[[Lease], None], *, workers: int
    ) -> SharedSource:
        """Return the Spaces that this host claims.

        Args:
            on_claim: Told of each block.
            workers: How many Spaces this host works on at a time.
        """
        return SharedSource(self.run, on_claim, workers=workers)

    async def _begin(self, job: Job, repo_ids: Sequence[str]) -> Job:
        """Begin the run, or wait for the host that is beginning it."""
        store = self.run.store
        while True:
            await _at_once(store, lambda: store.begin(job, repo_ids))
            found = await _at_once(store, store.find)
            if found is not None:
                return found
            await self.run.clock.sleep(_LOOK_SECONDS)


async def _at_once(store: RunStore, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a store before anything is sent: one that is away is more likely misspelt."""
    try:
        return await ask()
    except StoreAwayError as error:
        away = str(error)
    # Outside the handler, so that no context is chained.
    raise StoreError(
        f"the store {store.shown} cannot be used: {away}", path=store.shown
    )


async def _read(source: TargetSource) -> tuple[list[str], dict[str, str]]:
    """Read the targets to their end: the Spaces, and what is left out and why."""
    chosen, left_out = dict[str, None](), dict[str, str]()
    try:
        while (claim := source.take() or await source.next()) is not None:
            _validate.repo_id(claim.repo_id)
            if claim.left_out is not None:
                left_out.setdefault(claim.repo_id, claim.left_out)
            else:
                chosen.setdefault(claim.repo_id)
    except ConfigurationError:
        raise
    except Exception as error:
        raise BulkInterruptedError(
            f"the targets could not all be read, and the run was not begun: {error}",
        ) from error
    finally:
        await source.aclose()
    return list(chosen), left_out


async def require_proven(header: Header, found: Job, shown: str) -> None:
    """Refuse other values of secrets than those that a run was begun with.

    Raises:
        ConfigurationError: They are others.
    """
    if header.secret is None:
        return
    # Without a proof, who writes to the store could have any value of this environment
    # sent to a Space.
    try:
        same = await asyncio.to_thread(
            is_proven, header.secret, found.header.proof or ""
        )
    except ValueError:
        same = False
    if not same:
        raise ConfigurationError(
            f"the run {shown} was begun with another secret value for {header.shown}:"
            " some Spaces have that one; a new value needs a new run"
        )


def require_job(header: Header, found: Job, shown: str, *, has_check: bool) -> None:
    """Refuse a run that is not what this host is about to do.

    Args:
        header: The operation, as it was made here.
        found: The job of the run.
        shown: Where the run is, for people.
        has_check: Whether a function that checks the health was passed.

    Raises:
        ConfigurationError: The run is another job.
    """
    if not header.is_same_job(found.header):
        raise ConfigurationError(
            f"the run {shown} is another job, {found.header.shown}; this would be"
            f" {header.shown}"
        )
    if found.has_check and not has_check:
        raise ConfigurationError(
            f"the run {shown} was begun with a function that checks the health: pass it"
            " again as healthy="
        )
    if has_check and not found.has_check:
        raise ConfigurationError(
            f"the run {shown} was begun without a function that checks the health"
        )


async def find_job(store: RunStore, clock: Clock, *, seconds: float) -> Job:
    """Return the job of a run, which may not be there yet.

    Args:
        store: Where it is.
        clock: Measures the wait.
        seconds: How long to wait for it.

    Raises:
        ConfigurationError: It did not come.
        StoreError: The store cannot be reached or used.
    """
    until = clock.monotonic() + seconds
    while True:
        away: StoreAwayError | None = None
        try:
            found = await store.find()
        except StoreAwayError as error:
            found, away = None, error
        if found is not None:
            return found
        if clock.monotonic() >= until:
            break
        await clock.sleep(_LOOK_SECONDS)
    if away is not None:
        raise StoreError(
            f"the store {store.shown} cannot be used: {away}", path=store.shown
        )
    raise ConfigurationError(
        f"there is no run {store.shown}; begin it with `client.bulk.run(...,"
        " store=...)`"
    )


async def _job_in(store: RunStore) -> Job:
    job = await _at_once(store, store.find)
    if job is None:
        raise ConfigurationError(f"there is no run {store.shown}")
    return job


async def entries_in(store: RunStore) -> tuple[Job, dict[str, Entry]]:
    """Return what a run does, and what is known of each of its Spaces.

    Raises:
        ConfigurationError: There is no such run.
        JournalError: The store cannot be reached or used.
    """
    job = await _job_in(store)
    results = await _results_in(store)
    return job, {found.repo_id: found.entry for found in results}


async def _results_in(store: RunStore) -> list[Result]:
    async def read() -> list[Result]:
        return [found async for found in store.results()]

    return await _at_once(store, read)


def require_over(
    store: RunStore, job: Job, entries: Mapping[str, Entry], clock: Clock
) -> None:
    """Refuse to do anything about a run on which hosts may be at work.

    Args:
        store: Where it is; it has just been read.
        job: What it does.
        entries: What is known of its Spaces.
        clock: This host's.

    Raises:
        ConfigurationError: Hosts may still be sending.
    """
    if not store.counts.is_over:
        raise ConfigurationError(
            f"the run {store.shown} is not over: `work` goes on with it, and what failed"
            " can be tried again after that"
        )
    sent = [e.sent_at or 0.0 for e in entries.values() if e.status is None]
    # Nothing is sent after the lease under which it was announced.
    left = max(sent, default=0.0) + job.lease - clock.utcnow().timestamp()
    if left > 0:
        raise ConfigurationError(
            f"the run {store.shown} has just ended, and a host may still be sending:"
            f" try again in {math.ceil(left)} s"
        )


async def state_of(store: RunStore, *, cancel: bool = False) -> RunState:
    """Return how far a run is; cancel it first if that is asked for.

    Raises:
        ConfigurationError: There is no such run.
        JournalError: The store cannot be reached or used.
    """
    job = await _job_in(store)
    if cancel:
        await _at_once(store, lambda: store.cancel(StopReason.CANCELLED))
    state = await _state(store, job)
    if not state.is_over or sum(state.counts.values()) >= state.total:
        return state
    return _with_the_rest(state, await _results_in(store))


async def read_run(store: RunStore) -> tuple[RunState, list[Result]]:
    """Return how far a run is, and what is known of each of its Spaces.

    The state comes first: if the run is over then, the results are final.

    Raises:
        ConfigurationError: There is no such run.
        JournalError: The store cannot be reached or used.
    """
    state = await _state(store, await _job_in(store))
    results = await _results_in(store)
    return (_with_the_rest(state, results) if state.is_over else state), results


async def _state(store: RunStore, job: Job) -> RunState:
    counts = await _at_once(store, store.read_counts)
    return RunState(
        store=store.shown,
        operation=job.header.operation,
        total=counts.total,
        counts=counts.by_status,
        stopped_by=counts.stop,
        hosts=counts.hosts,
    )


def _with_the_rest(state: RunState, results: Sequence[Result]) -> RunState:
    """Count the Spaces for which a run that is over has no outcome, too."""
    counts = Counter(state.counts)
    for result in results:
        if result.entry.status is None:
            outcome = outcome_of(result)
            rest = OutcomeStatus.NOT_ATTEMPTED
            counts[rest if outcome is None else outcome.status] += 1
    return evolve(state, counts={s: counts[s] for s in OutcomeStatus})


async def made_again(
    job: Job,
    operation: Operation[Any] | Callable[[SpacesClient, str], Any] | None,
    secrets: Mapping[str, Redacted[str]],
    *,
    name: str | None,
    session: HubSession,
    shown: str,
    has_check: bool,
) -> tuple[Operation[Any], Header]:
    """Return the operation of a run, and what is said of it, once they are its own.

    Args:
        job: The job of the run.
        operation: As in `operation_of`.
        secrets: As in `operation_of`.
        name: As in `operation_of`.
        session: Of the Hub.
        shown: Where the run is, for people.
        has_check: Whether a function of the user's judges the health.

    Raises:
        ConfigurationError: The run is another job, or a value is missing.
    """
    chosen = operation_of(job, operation, secrets, name=name, shown=shown)
    header = job_header(chosen, session)
    require_job(header, job, shown, has_check=has_check)
    await require_proven(header, job, shown)
    return chosen, header


def operation_of(
    job: Job,
    operation: Operation[Any] | Callable[[SpacesClient, str], Any] | None,
    secrets: Mapping[str, Redacted[str]],
    *,
    name: str | None,
    shown: str,
) -> Operation[Any]:
    """Return the operation of a run, made again unless it is passed.

    Args:
        job: The job of the run.
        operation: What was passed; needed for a function of the user's.
        secrets: Values of secrets, by key; what is missing is taken from the
            environment.
        name: What a callable is called.
        shown: Where the run is, for people.

    Raises:
        ConfigurationError: Something is missing, or the run cannot be of this package.
    """
    header = job.header
    if operation is not None:
        return operations.as_operation(operation, name=name)
    if header.function is not None:
        raise ConfigurationError(
            f"the run {shown} is of a function of yours, {header.operation!r}: pass it"
            " as operation="
        )
    try:
        keys = operations.keys_of_secrets(header.operation, header.parameters)
    except Exception as error:  # noqa: BLE001  (it is told)
        raise _unknown_operation(shown, error) from None
    values = dict(secrets)
    for key in keys:
        if key not in values and key in os.environ:
            values[key] = Redacted(os.environ[key])
    if missing := [key for key in keys if key not in values]:
        raise ConfigurationError(
            f"the run {shown} needs the value of {', '.join(missing)}, which a store"
            " never holds: set the environment variable of the same name, or pass"
            " secrets={'KEY': 'value'}"
        )
    try:
        return operations.rebuild(header.operation, header.parameters, values)
    except SpacesError:
        raise
    except Exception as error:  # noqa: BLE001  (it is told)
        raise _unknown_operation(shown, error) from None


def _unknown_operation(shown: str, error: Exception) -> ConfigurationError:
    # The parameters come from the store, and may be anything.
    return ConfigurationError(
        f"the run {shown} has an operation that is not known here:"
        f" {type(error).__name__}"
    )


def lease_of(value: object) -> float:
    """Check the duration of a lease.

    Raises:
        ConfigurationError: The lease is out of range.
    """
    seconds = _validate.seconds(value, "lease")
    if not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS:
        raise ConfigurationError(
            f"lease must be from {MIN_LEASE_SECONDS:g} to {MAX_LEASE_SECONDS:g}"
            f" seconds, not {value!r}"
        )
    return float(seconds)
