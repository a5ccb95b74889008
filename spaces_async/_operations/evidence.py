"""Which state of a Space proves that a write took effect. Pure.

A write whose response was lost may or may not have been acted on. The state of the
Space often tells: a Space that is PAUSED was paused. What it cannot tell depends on the
write and on time, so each judge also gets the circumstances. A judge never guesses:
`Verdict.NOT_DONE` allows a repeat of what must not happen twice.

Worked example: a restart is sent and its response is lost. One second later the Space is
RUNNING. That may be the state before the restart took hold, so the judge answers
`TooEarly(2.0)`. Two seconds after the write it is still RUNNING: a Space that was told to
restart has left RUNNING by then, so nothing happened. From the third second on it may be
back already. Its log tells: it begins with the time of the last start, which is either
later than the write or earlier. Where the log does not tell, RUNNING means within ten
seconds that nothing happened, since almost no restart is that short. A minute later it
means nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from spaces_async._operations.requests import (
    info_call,
    info_or_none_call,
    runtime_call,
    secrets_call,
    startup_call,
    variables_call,
    whoami_call,
)
from spaces_async._wire.calls import (
    Circumstances,
    Done,
    Evidence,
    Finding,
    TooEarly,
    Verdict,
)
from spaces_async._wire.compute_quota import read_compute_quota
from spaces_async._wire.converter import is_unreadable
from spaces_async.models import (
    CreatedSpace,
    SpaceInfo,
    SpaceRuntime,
    SpaceSecret,
    SpaceStage,
    SpaceVariable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaces_async._operations.state import Field
    from spaces_async.records import Account

T = TypeVar("T")

RESTART_SETTLE_SECONDS: Final = 2.0
"""A Space that was told to restart has left RUNNING after this time."""

RESTART_LEAST_SECONDS: Final = 3.0
"""No restart is over sooner than this, not even with a cached build."""

RESTART_USUAL_SECONDS: Final = 10.0
"""Hardly a restart is over sooner than this."""

_LATE_LOOK_SECONDS: Final = 3.0
"""The Hub answers a restart sooner than this, as a rule."""

_CREATED_SKEW: Final = timedelta(seconds=30)
"""Clocks differ: a Space that is this much older than the request is still its effect."""

_UPDATED_SKEW: Final = timedelta(seconds=2)
"""The Hub's `Date` is in whole seconds, and some time old when it arrives."""

Variables = dict[str, SpaceVariable]
Secrets = dict[str, SpaceSecret]


def runtime_has(
    field: Field[SpaceRuntime], *, before_repeat: bool = True
) -> Evidence[SpaceRuntime, SpaceRuntime]:
    """Take the wanted value of a field of the runtime for proof.

    Args:
        field: The field.
        before_repeat: See `Evidence`.
    """
    return runtime_shows(field.shows, before_repeat=before_repeat)


def runtime_shows(
    wanted: Callable[[SpaceRuntime], bool | None],
    *fields: str,
    before_repeat: bool = True,
) -> Evidence[SpaceRuntime, SpaceRuntime]:
    """Take an end state of the runtime for proof.

    Args:
        wanted: Whether the runtime has that state; None if it does not show it.
        fields: What `wanted` looks at, besides the stage. Where the Hub sent one of
            them in a form that cannot be read, the runtime does not show the state.
        before_repeat: See `Evidence`.
    """

    def shows(runtime: SpaceRuntime) -> bool | None:
        return None if is_unreadable(runtime, *fields) else wanted(runtime)

    def judge(runtime: SpaceRuntime, _: Circumstances) -> Finding[SpaceRuntime]:
        match shows(runtime):
            case True:
                return Done(runtime)
            case False:
                return Verdict.NOT_DONE
            case None:
                return Verdict.UNKNOWN

    return Evidence(
        read=runtime_call,
        judge=judge,
        result=Done,
        listed=lambda info: info.runtime,
        already=lambda runtime: shows(runtime) is True,
        before_repeat=before_repeat,
    )


def _judge_restart(
    runtime: SpaceRuntime, circumstances: Circumstances
) -> Finding[SpaceRuntime]:
    stage, age = runtime.stage, circumstances.age
    if stage.is_transitional:
        return _judge_building(runtime, circumstances)
    if stage is SpaceStage.RUNNING and age < RESTART_SETTLE_SECONDS:
        return TooEarly(RESTART_SETTLE_SECONDS)
    if stage is SpaceStage.RUNNING:
        return _judge_running(runtime, circumstances)
    # A restart that was taken may have ended at the account's quota: this or an earlier.
    paused = stage is SpaceStage.PAUSED
    by_quota = paused and read_compute_quota(runtime.error_message) is not None
    if by_quota or age > RESTART_USUAL_SECONDS:
        return Verdict.UNKNOWN
    if stage is SpaceStage.RUNTIME_ERROR and age >= RESTART_LEAST_SECONDS:
        # The app may have been started, and have failed once more.
        return _started_since(runtime, otherwise=Verdict.NOT_DONE)
    # No restart is likely to have come to its end, so a Space at rest was not restarted.
    at_rest = stage.is_idle or stage.is_failed
    return Verdict.NOT_DONE if at_rest else Verdict.UNKNOWN


def _judge_building(
    runtime: SpaceRuntime, circumstances: Circumstances
) -> Finding[SpaceRuntime]:
    """Judge a restart of a Space that builds or starts, perhaps for another reason."""
    before = circumstances.before
    if before is not None:
        was_so = before.stage.is_transitional
        return Verdict.UNKNOWN if was_so else Done(runtime)
    # A restart begins with BUILDING. A push leaves the old version up meanwhile.
    return Verdict.UNKNOWN if runtime.stage.is_running else Done(runtime)


def _judge_running(
    runtime: SpaceRuntime, circumstances: Circumstances
) -> Finding[SpaceRuntime]:
    """Judge a restart of a Space that is RUNNING, and may have left RUNNING before."""
    age, before = circumstances.age, circumstances.before
    if before is not None and not before.stage.is_running:
        # It was at rest or on its way to RUNNING before.
        return Verdict.UNKNOWN if before.stage.is_transitional else Done(runtime)
    if age < RESTART_LEAST_SECONDS:
        return Verdict.NOT_DONE
    may_be_over = age > RESTART_USUAL_SECONDS
    otherwise = Verdict.UNKNOWN if may_be_over else Verdict.NOT_DONE
    return _started_since(runtime, otherwise=otherwise)


def _started_since(
    runtime: SpaceRuntime, *, otherwise: Verdict
) -> Evidence[datetime | None, SpaceRuntime]:
    """Ask the log when the app of a RUNNING Space was started.

    Args:
        runtime: The runtime of the Space.
        otherwise: The answer where the log does not tell.
    """

    def judge(
        started: datetime | None, circumstances: Circumstances
    ) -> Finding[SpaceRuntime]:
        sent_at = circumstances.sent_at
        if started is None or sent_at is None:
            return otherwise
        if started > sent_at + _UPDATED_SKEW:
            return Done(runtime)
        return (
            Verdict.NOT_DONE if started < sent_at - _UPDATED_SKEW else Verdict.UNKNOWN
        )

    return Evidence(read=startup_call, judge=judge)


def _judge_factory_reboot(
    runtime: SpaceRuntime, circumstances: Circumstances
) -> Finding[SpaceRuntime]:
    # It may be over already, and a second rebuild costs too much to find out.
    if not runtime.stage.is_transitional:
        return Verdict.UNKNOWN
    return _judge_building(runtime, circumstances)


def _result_of_restart(runtime: SpaceRuntime) -> Finding[SpaceRuntime]:
    # The Hub answers a restart that changes nothing with a success, too.
    paused = runtime.stage is SpaceStage.PAUSED
    return Verdict.UNKNOWN if paused else Done(runtime)


def restarted(*, factory_reboot: bool) -> Evidence[SpaceRuntime, SpaceRuntime]:
    """Take building or starting for proof of a restart."""
    return Evidence(
        read=runtime_call,
        judge=_judge_factory_reboot if factory_reboot else _judge_restart,
        result=_result_of_restart,
        listed=lambda info: info.runtime,
        settle=0.0 if factory_reboot else RESTART_SETTLE_SECONDS,
        late_look=_LATE_LOOK_SECONDS,
    )


def variable_is(
    key: str, value: str, description: str | None
) -> Evidence[Variables, Variables]:
    """Take a variable with that value (and description, if one is given) for proof."""

    def already(variables: Variables) -> bool:
        found = variables.get(key)
        if found is None or found.value != value:
            return False
        return description is None or found.description == description

    return Evidence(
        read=variables_call,
        judge=lambda v, _: Done(v) if already(v) else Verdict.NOT_DONE,
        result=lambda v: Done(v) if already(v) else Verdict.UNKNOWN,
        already=already,
    )


def variable_is_gone(key: str) -> Evidence[Variables, Variables]:
    """Take the absence of a variable for proof that it was deleted."""
    return Evidence(
        read=variables_call,
        judge=lambda v, _: Verdict.NOT_DONE if key in v else Done(v),
        result=Done,
        already=lambda v: key not in v,
    )


def secret_was_written(key: str) -> Evidence[Secrets, None]:
    """Take a secret that was written since the request was sent for proof.

    Its value cannot be read, only the time of its last write. The Hub's clock is known
    to about two seconds, so a write of that moment may be another program's: then the
    secret is sent again, which leads to the same end state.
    """

    def judge(secrets: Secrets, circumstances: Circumstances) -> Finding[None]:
        secret, sent_at = secrets.get(key), circumstances.sent_at
        if secret is None or secret.updated_at is None or sent_at is None:
            return Verdict.NOT_DONE
        if secret.updated_at < sent_at - _UPDATED_SKEW:
            return Verdict.NOT_DONE
        after = secret.updated_at > sent_at + _UPDATED_SKEW
        return Done(None) if after and not circumstances.soon else Verdict.UNKNOWN

    return Evidence(read=secrets_call, judge=judge)


def secret_is_gone(key: str) -> Evidence[Secrets, None]:
    """Take the absence of a secret for proof that it was deleted."""
    return Evidence(
        read=secrets_call,
        judge=lambda s, _: Verdict.NOT_DONE if key in s else Done(None),
        already=lambda s: key not in s,
    )


def visibility_is(visibility: str) -> Evidence[SpaceInfo, None]:
    """Take `private` of a Space for proof of its visibility, as far as it tells.

    Only public is told for certain: the Hub does not say whether a Space that is not
    public is private or protected.
    """

    def judge(info: SpaceInfo, _: Circumstances) -> Finding[None]:
        if info.private is None:
            return Verdict.UNKNOWN
        if (visibility == "public") is info.private:
            return Verdict.NOT_DONE
        return Done(None) if visibility == "public" else Verdict.UNKNOWN

    return Evidence(
        read=lambda repo_id: info_call(repo_id, "private"),
        judge=judge,
        listed=lambda info: info if info.private is not None else None,
        already=lambda info: visibility == "public" and info.private is False,
        before_repeat=False,
    )


def space_is_gone() -> Evidence[SpaceInfo | None, None]:
    """Take a Space that is not found for proof that it was deleted."""
    return Evidence(
        read=lambda repo_id: info_or_none_call(repo_id, "createdAt"),
        judge=lambda info, _: Done(None) if info is None else Verdict.UNKNOWN,
        already=lambda info: info is None,
    )


def space_moved(target: str) -> Evidence[SpaceInfo | None, None]:
    """Take a Space at its new id, and none at the old one, for proof of a move."""
    arrived: Evidence[SpaceInfo | None, None] = Evidence(
        read=lambda _: info_or_none_call(target, "createdAt"),
        judge=lambda info, _: (
            Done(None) if info is not None and info.id == target else Verdict.UNKNOWN
        ),
    )

    def judge(info: SpaceInfo | None, _: Circumstances) -> Finding[None]:
        # The Hub may redirect from the old id to the new one.
        left = info is None or info.id == target
        return arrived if left else Verdict.UNKNOWN

    return Evidence(
        read=lambda source: info_or_none_call(source, "createdAt"), judge=judge
    )


def space_was_created(repo_id: str) -> Evidence[SpaceInfo, CreatedSpace]:
    """Take a Space that was created since the request was sent for proof.

    Args:
        repo_id: "owner/name" of the new Space.
    """

    def result(info: SpaceInfo) -> Finding[CreatedSpace]:
        return Done(CreatedSpace(info.id, raw=info.raw))

    def judge(info: SpaceInfo, circumstances: Circumstances) -> Finding[CreatedSpace]:
        if info.created_at is None or circumstances.sent_at is None:
            return Verdict.UNKNOWN
        if info.created_at < circumstances.sent_at - _CREATED_SKEW:
            return Verdict.UNKNOWN
        return result(info)

    return Evidence(
        read=lambda _: info_call(repo_id, "createdAt"), judge=judge, result=result
    )


def own_space_was_created(name: str) -> Evidence[Account, CreatedSpace]:
    """Do the same for a Space under the caller's own account.

    Args:
        name: Name of the new Space.
    """

    def find(account: Account, _: Circumstances | None = None) -> Finding[CreatedSpace]:
        return space_was_created(f"{account.name}/{name}")

    return Evidence(read=lambda _: whoami_call(), judge=find, result=find)
