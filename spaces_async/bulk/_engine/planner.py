"""Makes a plan: reads what the Spaces are, and works out what a bulk would do.

It reads as little as it can: one listing for each 500 Spaces of an owner, and a read of
each Space only where a listing does not tell what the write sets (variables, secrets,
volumes). No write is sent.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from spaces_async import _costs, _validate
from spaces_async._operations.requests import (
    flavors_call,
    info_or_none_call,
    listing_call,
    whoami_call,
)
from spaces_async._operations.state import has_changed, shown
from spaces_async._operations.write import Tailored, Write
from spaces_async._wire.calls import Done, OnLost
from spaces_async.bulk._engine.resolver import (
    LISTED_FIELDS,
    WORTH_A_LISTING,
    Listed,
    owner_of,
)
from spaces_async.bulk._engine.space_run import (
    ALREADY_SO,
    DRIFT,
    STATIC,
    Step,
    steps_of,
)
from spaces_async.bulk._engine.stream import Prepared
from spaces_async.bulk._engine.targets import TargetSource
from spaces_async.bulk.operations import Function
from spaces_async.bulk.plan import Plan, PlannedChange
from spaces_async.bulk.report import Outcome, OutcomeStatus
from spaces_async.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    SpacesError,
)
from spaces_async.models import SpaceInfo, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from decimal import Decimal

    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Operation, RequestPreview
    from spaces_async.bulk._amount import Amount
    from spaces_async.bulk._engine.stream import BulkStream
    from spaces_async.bulk._engine.targets import Claim, Targets
    from spaces_async.bulk.report import BulkReport
    from spaces_async.records import Account

LeaveOut = Callable[[PlannedChange], str | None]

NO_ACCESS: Final = "no write access"
NOT_FOUND: Final = "not found"
NEEDS_PLAN: Final = "needs PRO or Team"
"""How the reason ends where the owner's plan does not cover what would be set."""

_CONCURRENCY: Final = 16
_WINDOW_SECONDS: Final = 300.0
_COSTLY_FIELDS: Final = frozenset({"stage", "hardware", "replicas", "exists"})


@frozen
class PlannedSpace:
    """A Space with its change, and what is needed to apply it.

    Attributes:
        change: What would be done.
        listed: What was read of the Space; None if it was not found.
        expected: The fields that the Space must still show when the plan is applied.
    """

    change: PlannedChange
    listed: Listed | None = None
    expected: Mapping[str, Any] = field(factory=dict[str, Any])


class Planner:
    """Makes one plan."""

    def __init__(self, session: HubSession, operation: Operation[Any]) -> None:
        """Prepare a plan.

        Args:
            session: Reads, as bulk work.
            operation: What would be done.

        Raises:
            ConfigurationError: It is a function, which may do anything.
        """
        if isinstance(operation, Function):
            raise ConfigurationError(
                f"{operation.name} is a function of yours: what it would do cannot be"
                " planned; pass an operation, such as operations.pause()"
            )
        self._session = session
        self._operation = operation
        self._listings: dict[str, dict[str, Listed]] = {}  # by owner

    async def plan(
        self,
        targets: Targets,
        *,
        expected: Mapping[str, Mapping[str, Any]] | None = None,
        limit: Amount | None = None,
        leave_out: LeaveOut | None = None,
    ) -> list[PlannedSpace]:
        """Work out what would be done to each Space.

        Args:
            targets: Which Spaces; they are read to their end.
            expected: Values of fields that a Space must show, by its id; one that shows
                others is left out.
            limit: How many may be changed, as a number or as a share of all Spaces of
                the owners; None is no limit.
            leave_out: Returns why a change is to be left out; None if it is not.

        Raises:
            ConfigurationError: More would be changed.
            SpacesError: Something that is needed cannot be read.
        """
        expected = expected or {}
        claims = await self._read_targets(targets)
        infos = await self._look_up(claims)
        account = await self._account()
        prices = await self._prices([i for i in infos.values() if i is not None])
        found: dict[str, PlannedSpace] = {}

        async def one(repo_id: str) -> None:
            listed = infos[repo_id]
            if (left_out := claims[repo_id].left_out) is not None:
                left = PlannedChange(repo_id, reason=left_out)
                found[repo_id] = PlannedSpace(left, listed)
                return
            planned = await self._plan_one(
                repo_id,
                listed,
                account=account,
                prices=prices,
                expected=expected.get(repo_id, {}),
            )
            found[repo_id] = _without(planned, leave_out)

        await _for_each(infos, one)
        changed = [i for i in infos if found[i].change.reason is None]
        if limit is not None and changed:
            await self._check_limit(limit, changed)
        return [found[repo_id] for repo_id in infos]

    async def _check_limit(self, limit: Amount, changed: list[str]) -> None:
        total = 0
        if limit.share is not None:
            owners = {owner_of(repo_id) for repo_id in changed}
            total = sum([len(await self._list_all(owner)) for owner in owners])
        most = limit.of(total)
        if len(changed) > most:
            share = "" if limit.share is None else f", {limit} of {total}"
            raise ConfigurationError(
                f"{self._operation.name} would change {len(changed)} Spaces, and"
                f" max_targets allows {most}{share}"
            )

    # What is read ------------------------------------------------------------------

    async def _read_targets(self, targets: Targets) -> dict[str, Claim]:
        # A plan waits for no end of an outage.
        source = TargetSource(targets, self._session, max_outage=0.0)
        await source.require_known()
        claims: dict[str, Claim] = {}
        try:
            while (claim := source.take() or await source.next()) is not None:
                _validate.repo_id(claim.repo_id)
                claims.setdefault(claim.repo_id, claim)
        finally:
            await source.aclose()
        return claims

    async def _look_up(self, claims: Mapping[str, Claim]) -> dict[str, Listed | None]:
        """Return what is known of each Space; None for one that is not found."""
        found: dict[str, Listed | None] = {i: c.listed for i, c in claims.items()}
        missing = [i for i, listed in found.items() if listed is None]
        owners = Counter(owner_of(repo_id) for repo_id in missing)
        for owner, count in owners.items():
            if count >= WORTH_A_LISTING:
                listed = await self._list_all(owner)
                found |= {i: listed.get(i) for i in missing if owner_of(i) == owner}
        alone = [i for i in missing if owners[owner_of(i)] < WORTH_A_LISTING]

        async def one(repo_id: str) -> None:
            asked = self._session.clock.monotonic()
            info = await self._session.send(info_or_none_call(repo_id, *LISTED_FIELDS))
            found[repo_id] = None if info is None else Listed(info, asked)

        await _for_each(alone, one)
        return found

    async def _list_all(self, owner: str) -> dict[str, Listed]:
        if owner in self._listings:
            return self._listings[owner]
        listed: dict[str, Listed] = {}
        asked = self._session.clock.monotonic()
        async with aclosing(
            self._session.pages(listing_call(owner, *LISTED_FIELDS))
        ) as pages:
            async for page in pages:
                listed.update((info.id, Listed(info, asked)) for info in page)
                asked = self._session.clock.monotonic()
        self._listings[owner] = listed
        return listed

    async def _account(self) -> Account | None:
        """Return whose token it is; None where that cannot be told."""
        if not await self._session.has_token():
            return None
        try:
            return await self._session.send(whoami_call())
        except SpacesError:
            return None

    async def _prices(self, spaces: list[Listed]) -> _costs.Prices:
        """Return the prices, if any Space here could change its cost."""
        names = {name for step in _every_step(self._operation) for name in _names(step)}
        if not spaces or not names & _COSTLY_FIELDS:
            return {}
        try:
            flavors = await self._session.send(flavors_call())
        except SpacesError:
            return {}
        return _costs.prices(flavors)

    # What would be done --------------------------------------------------------------

    async def _plan_one(
        self,
        repo_id: str,
        listed: Listed | None,
        *,
        account: Account | None,
        prices: _costs.Prices,
        expected: Mapping[str, Any],
    ) -> PlannedSpace:
        operation = self._operation.of(repo_id)
        info = None if listed is None else listed.info
        reason = _left_out(operation, repo_id, info, account)
        if info is None or reason is not None:
            return PlannedSpace(PlannedChange(repo_id, reason=reason))
        found = _Found()
        for _, step in steps_of(operation):
            try:
                state = await self._state(repo_id, step, info)
            except (PermissionDeniedError, AuthenticationError):
                return PlannedSpace(PlannedChange(repo_id, reason=NO_ACCESS))
            except NotFoundError:
                return PlannedSpace(PlannedChange(repo_id, reason=NOT_FOUND))
            if state is not None and has_changed(step.fields, expected, state.value):
                found.note_drift(step, state.value)
            else:
                found.add(repo_id, step, state)
        change = found.change(repo_id, info, prices)
        # Where it has drifted the plan still expects what it expected.
        return PlannedSpace(change, listed, {**change.before, **expected})

    async def _state(
        self, repo_id: str, step: Step, info: SpaceInfo
    ) -> Done[Any] | None:
        """Return the state that a step's fields are read from; None if unknown."""
        evidence = step.evidence
        if evidence is None or not step.fields:
            return None
        if evidence.listed is not None:
            state = evidence.listed(info)
            return None if state is None else Done(state)
        if isinstance(step, Write) and step.removes_the_space:
            return Done(info)  # It was found.
        return Done(await self._session.send(evidence.read(repo_id)))


def _without(planned: PlannedSpace, leave_out: LeaveOut | None) -> PlannedSpace:
    change = planned.change
    if leave_out is None or change.reason is not None:
        return planned
    reason = leave_out(change)
    if reason is None:
        return planned
    left = PlannedChange(change.repo_id, before=change.before, reason=reason)
    return evolve(planned, change=left)


class _Found:
    """What the steps for one Space come to."""

    def __init__(self) -> None:
        self.requests: list[RequestPreview] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.restarts = False
        self.drifted = False

    def note_drift(self, step: Step, state: Any) -> None:
        """Leave a step out: the Space is not as it was expected to be."""
        self.before |= shown(step.fields, state)
        self.drifted = True

    def add(
        self,
        repo_id: str,
        step: Step,
        state: Done[Any] | None,
    ) -> None:
        """Add a step, unless the state makes it needless."""
        write: Write[Any]
        if isinstance(step, Write):
            write = step
        else:
            assert state is not None  # noqa: S101  (an edit always reads)
            made = step.make(state.value)
            if isinstance(made, Done):
                self.before |= shown(step.fields, state.value)
                return
            write = made
        if state is not None:
            self.before |= shown(write.fields, state.value)
            already = None if step.evidence is None else step.evidence.already
            if already is not None and already(state.value):
                return
        self.after |= {field.name: field.wanted for field in write.fields}
        self.requests.append(write.preview(repo_id))
        self.restarts |= write.restarts

    def change(
        self, repo_id: str, info: SpaceInfo, prices: _costs.Prices
    ) -> PlannedChange:
        """Return the change of the Space."""
        if not self.requests:
            reason = DRIFT if self.drifted else ALREADY_SO
            return PlannedChange(repo_id, before=self.before, reason=reason)
        return PlannedChange(
            repo_id,
            tuple(self.requests),
            self.before,
            self.after,
            restarts=_restarts(info, self.after) if self.restarts else False,
            cost=cost_change(info, self.after, prices),
        )


def _left_out(
    operation: Operation[Any],
    repo_id: str,
    info: SpaceInfo | None,
    account: Account | None,
) -> str | None:
    """Return why a Space is left out whatever its state is; None if it is not."""
    if info is None:
        return NOT_FOUND
    if operation.in_container and info.sdk is SpaceSdk.STATIC:
        return STATIC
    if account is not None and not may_write(account, owner_of(repo_id)):
        return NO_ACCESS
    if account is not None and not may_have_plan(account, owner_of(repo_id)):
        for _, step in steps_of(operation):
            if isinstance(step, Write) and step.needs_plan is not None:
                return f"{step.needs_plan} {NEEDS_PLAN}"
    return None


def _names(step: Step) -> set[str]:
    return {field.name for field in step.fields}


def _restarts(info: SpaceInfo, after: Mapping[str, Any]) -> bool | None:
    if after.get("stage") == SpaceStage.RUNNING:
        return True
    if info.runtime is None:
        return None
    # One that does not run is changed where it stands.
    return info.runtime.stage.is_running or info.runtime.stage.is_transitional


def cost_change(
    info: SpaceInfo, after: Mapping[str, Any], prices: _costs.Prices
) -> Decimal | None:
    """Return by how many dollars for an hour a Space's cost changes; None if unknown.

    Args:
        info: The Space as it is.
        after: The fields that a write sets.
        prices: What flavors cost.
    """
    if not _COSTLY_FIELDS & after.keys():
        return _costs.ZERO
    now = _costs.rate(info, prices)
    then: Decimal | None
    if after.get("exists") is False:
        then = _costs.ZERO
    elif "stage" in after:
        runs = after["stage"] == SpaceStage.RUNNING
        then = _costs.rate_when_running(info, prices) if runs else _costs.ZERO
    elif info.runtime is not None and not _costs.is_billed(info.runtime.stage):
        return _costs.ZERO  # It costs nothing until somebody starts it.
    else:
        then = _costs.rate_when_running(
            info,
            prices,
            flavor=after.get("hardware"),
            replicas=after.get("replicas"),
        )
    return None if now is None or then is None else then - now


def may_write(account: Account, owner: str) -> bool:
    """Return False where the token certainly may not write to an owner's Spaces.

    Fine-grained tokens and roles that depend on the Space are given the benefit of the
    doubt: the Hub decides.
    """
    auth: Any = account.raw.get("auth")
    token: Any = auth.get("accessToken") if isinstance(auth, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(token, Mapping) and token.get("role") == "read":  # pyright: ignore[reportUnknownMemberType]
        return False
    if account.name.lower() == owner.lower():
        return True
    if "orgs" not in account.raw:
        return True
    roles = {org.name.lower(): org.role_in_org for org in account.orgs}
    return roles.get(owner.lower(), "read") not in {"read", "no_access"}


def may_have_plan(account: Account, owner: str) -> bool:
    """Return False where an owner certainly has neither PRO nor Team.

    Args:
        account: Whose token it is; it tells of itself and of its orgs.
        owner: A user or an org.
    """
    if account.name.lower() == owner.lower():
        return account.is_pro is not False
    plans = {org.name.lower(): org.plan for org in account.orgs}
    return plans.get(owner.lower(), "not known") is not None


@frozen
class Pace:
    """How long requests take for the quota's sake.

    Attributes:
        windows: How many windows they need; None if the quota is not known.
        seconds: How long they wait; None if the quota is not known.
    """

    windows: int | None = None
    seconds: float | None = None


def pace(
    requests: int,
    *,
    limit: int | None,
    left: int | None,
    ends_in: float | None,
    reserve: float,
) -> Pace:
    """Return how many windows some requests need.

    Worked example: 1,000 restarts, 500 calls in 300 s. Bulk work leaves a tenth of them
    to other calls. 450 fit into the first window, 450 into the second, 100 into the
    third: three windows, and the third begins after two have ended.

    Args:
        requests: How many.
        limit: Calls in a window; None if it is not known.
        left: Calls left in this window; None if it is not known.
        ends_in: Seconds until it ends; None if it is not known.
        reserve: Share of a window that is left to other calls.
    """
    if limit is None or limit <= 0:
        return Pace()
    kept = math.ceil(reserve * limit)
    usable = max(1, limit - kept)
    first = usable if left is None else max(0, left - kept)
    if requests <= first:
        return Pace(1, 0.0)
    more = math.ceil((requests - first) / usable)
    until_next = _WINDOW_SECONDS if ends_in is None else ends_in
    return Pace(1 + more, until_next + (more - 1) * _WINDOW_SECONDS)


def make_plan(
    name: str,
    spaces: Iterable[PlannedSpace],
    session: HubSession,
    make_stream: Callable[..., BulkStream[Any]],
) -> Plan:
    """Put a plan together.

    Args:
        name: The name of the operation.
        spaces: What would be done to each Space.
        session: Knows the quota.
        make_stream: Does what the plan says.
    """
    changes = [space.change for space in spaces]
    to_change = [change for change in changes if change.reason is None]
    limit = session.rate_limit()
    speed = pace(
        sum(len(change.requests) for change in to_change),
        limit=limit.limit,
        left=limit.remaining,
        ends_in=limit.resets_in,
        reserve=session.shared.settings.reserve,
    )
    return Plan(
        name,
        tuple(to_change),
        tuple(c for c in changes if c.reason == ALREADY_SO),
        tuple(c for c in changes if c.reason not in {None, ALREADY_SO}),
        windows=speed.windows,
        seconds=speed.seconds,
        make_stream=make_stream,
    )


def prepare(spaces: Iterable[PlannedSpace]) -> Prepared:
    """Return what a bulk has to know of its Spaces to do just what a plan says."""
    expected: dict[str, Mapping[str, Any]] = {}
    decided: dict[str, Outcome[Any]] = {}
    for space in spaces:
        change = space.change
        if change.reason is None:
            expected[change.repo_id] = space.expected
            continue
        same = change.reason == ALREADY_SO
        status = OutcomeStatus.UNCHANGED if same else OutcomeStatus.SKIPPED
        decided[change.repo_id] = Outcome(change.repo_id, status, reason=change.reason)
    return Prepared(expected, decided)


def failed_of(report: BulkReport[Any]) -> tuple[Operation[Any], list[str]]:
    """Return what a bulk did, and the Spaces to try again.

    One whose outcome is unknown is among them only where a repeat leads to the same end
    state.

    Raises:
        ConfigurationError: The report does not say.
    """
    operation = report._made_by.operation  # noqa: SLF001  (of the engine)  # pyright: ignore[reportPrivateUsage]
    if operation is None:
        raise ConfigurationError(
            "this report is of no bulk: nothing can be tried again"
        )
    if report.keep == "none":
        raise ConfigurationError(
            "this report does not keep what failed; take keep='failures', or a journal"
        )
    again = list(report.failed)
    if _is_repeatable(operation):
        again += report.unknown
    return operation, [outcome.repo_id for outcome in again]


def _is_repeatable(operation: Operation[Any]) -> bool:
    if isinstance(operation, Function):
        return False
    return all(step.on_lost is OnLost.REPEAT for step in _every_step(operation))


def _every_step(operation: Operation[Any]) -> list[Step]:
    """Return the steps for all Spaces."""
    each = (
        operation.by_space.values() if isinstance(operation, Tailored) else (operation,)
    )
    return [step for one in each for _, step in steps_of(one)]


async def _for_each(
    repo_ids: Iterable[str], work: Callable[[str], Awaitable[None]]
) -> None:
    """Do something for each of some Spaces, a few at a time."""
    left = iter(list(repo_ids))

    async def go_on() -> None:
        for repo_id in left:
            await work(repo_id)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(go_on())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
