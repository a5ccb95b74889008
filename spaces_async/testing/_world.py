"""The state of the Hub."""

from __future__ import annotations

import random
import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field

from spaces_async._clock import Clock
from spaces_async.testing._billing import Ledger
from spaces_async.testing._machine import Timing
from spaces_async.testing._threads import SnapshotDict, guarded
from spaces_async.testing._wire import Call, MovedError, RefusedError
from spaces_async.testing.accounts import Accounts
from spaces_async.testing.quota import Quota, QuotaWindow
from spaces_async.testing.space import FakeSpace, Visibility

__all__ = ["Options", "World"]

ANONYMOUS = "Invalid username or password."
_SDK_VERSIONS = {"gradio": "4.0.0", "streamlit": "1.25.0"}
BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - a message


@define
class Options:
    """How this Hub behaves.

    Attributes:
        page_size: Largest page size, and the default.
        require_pro: Require PRO or Team for what the Hub grants with these only. If
            not, every account is said to have them.
        keep_alive: Seconds between two comments on a silent stream.
        whoami_quota: Separate limit of `whoami-v2`; None means no limit.
        link_url: Base URL of the links to next pages; None means the Hub's own.
        path_prefix: Path that precedes every path of the Hub.
        legacy_runtime: Whether runtimes have the fields of the older documentation.
    """

    page_size: int = 1000
    require_pro: bool = False
    keep_alive: float = 30.0
    whoami_quota: Quota | None = None
    link_url: str | None = None
    path_prefix: str = ""
    legacy_runtime: bool = False


@define(eq=False)
class World:
    """The Spaces, accounts and time of a Hub.

    Attributes:
        clock: The source of time.
        options: How this Hub behaves.
        timing: How long builds and starts take.
        url: Base URL of the Hub.
        spaces: The Spaces by id.
        moved: The Spaces by the ids that they had before, in lower case.
        accounts: Users, orgs and tokens.
        whoami: Quota window of `whoami-v2` by user.
        zero_gpu: ZeroGPU seconds used, by user.
        ledger: What has been billed.
        lock: Held while a call or a test reads or changes the state.
    """

    clock: Clock
    options: Options
    timing: Timing
    seed: int = 0
    url: str = ""
    spaces: dict[str, FakeSpace] = field(factory=SnapshotDict[str, FakeSpace])
    moved: dict[str, FakeSpace] = field(factory=dict[str, FakeSpace])
    accounts: Accounts = field(factory=Accounts)
    whoami: dict[str, QuotaWindow] = field(factory=dict[str, QuotaWindow])
    zero_gpu: dict[str, float] = field(factory=dict[str, float])
    ledger: Ledger = field(factory=Ledger)
    lock: AbstractContextManager[Any] = field(init=False, factory=threading.RLock)
    _random: random.Random = field(init=False)
    _started_at: float | None = None
    _stopped_at: float = 0.0
    _epoch: datetime = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Ids need not be secret, but must be the same in every run.
        self._random = random.Random(self.seed)  # noqa: S311
        self._epoch = self.clock.utcnow()

    def start_time(self) -> None:
        """Start the time, or continue it from where it was stopped."""
        self._started_at = self.clock.monotonic() - self._stopped_at
        self._epoch = self.clock.utcnow() - timedelta(seconds=self._stopped_at)

    def stop_time(self) -> None:
        """Stop the time, so that the state can be read without an event loop."""
        self._stopped_at = self.now()
        self._started_at = None

    def now(self) -> float:
        """Return the seconds since the Hub was first started."""
        if self._started_at is None:
            return self._stopped_at
        return self.clock.monotonic() - self._started_at

    def at(self, now: float) -> datetime:
        """Return the wall-clock time at `now`.

        Both clocks are aligned at the start, so with virtual time both are virtual.
        """
        return self._epoch + timedelta(seconds=now)

    def utcnow(self) -> datetime:
        """Return the wall-clock time."""
        return self.at(self.now())

    @guarded
    def hex(self, digits: int) -> str:
        """Return the next random hexadecimal id."""
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"

    def create(
        self,
        repo_id: str,
        *,
        sdk: str,
        hardware: str,
        visibility: Visibility,
        creator: str | None,
        files: dict[str, int] | None = None,
    ) -> FakeSpace:
        """Create a Space."""
        space = FakeSpace(
            self,
            repo_id,
            oid=self.hex(24),
            sha=self.hex(40),
            sdk=sdk,
            hardware=hardware,
            visibility=visibility,
            creator=creator,
            files=files,
            ledger=self.ledger,
        )
        if self.options.legacy_runtime:
            space.runtime_fields = {"rawLogs": True, "sdk": sdk}
            if sdk in _SDK_VERSIONS:
                space.runtime_fields["sdkVersion"] = _SDK_VERSIONS[sdk]
        self.spaces[repo_id] = space
        # Who takes a name that became free, ends the redirect from it.
        self.moved.pop(repo_id.lower(), None)
        return space

    def move(self, space: FakeSpace, target: str) -> None:
        """Give a Space another id; the old one then leads to it."""
        del self.spaces[space.id]
        self.moved[space.id.lower()] = space
        space.id = target
        self.spaces[target] = space
        space.note_use()
        self.moved.pop(target.lower(), None)

    def _renamed(self, repo_id: str) -> FakeSpace | None:
        """Return the Space that had this id before, or has it in another case."""
        wanted = repo_id.lower()
        space = self.moved.get(wanted)
        if space is not None and self.spaces.get(space.id) is space:
            return space
        for known, other in self.spaces.items():
            if known.lower() == wanted:
                return other
        return None

    # Permissions -----------------------------------------------------------------

    def require_token(self, call: Call) -> None:
        """Reject callers without a token."""
        self.check_token(call)
        if call.caller.token is None:
            raise RefusedError(401, ANONYMOUS)

    def check_token(self, call: Call) -> None:
        """Reject an unknown token; no token at all is allowed."""
        if call.caller.bad:
            raise RefusedError(401, BAD_TOKEN)

    def visible(self, space: FakeSpace, call: Call) -> bool:
        """Whether the caller may see this Space."""
        return not space.private or self.accounts.may_see(space.author, call.caller)

    def readable(self, call: Call, repo_id: str | None = None) -> FakeSpace:
        """Return the Space of this call, if the caller may see it."""
        self.check_token(call)
        space = self.spaces.get(repo_id or call.params["id"])
        if space is None and repo_id is None:
            renamed = self._renamed(call.params["id"])
            if renamed is not None and self.visible(renamed, call):
                raise MovedError(renamed.id)
        if space is None or not self.visible(space, call):
            if call.caller.token is None:
                # The Hub does not reveal which private repositories exist.
                raise RefusedError(401, ANONYMOUS)
            raise RefusedError(404, "Repository not found", code="RepoNotFound")
        if space.disabled:
            raise RefusedError(403, "Access to this resource is disabled.")
        space.settle()
        return space

    def writable(self, call: Call, repo_id: str | None = None) -> FakeSpace:
        """Return the Space of this call, if the caller may change it."""
        self.require_token(call)
        space = self.readable(call, repo_id)
        if not self.accounts.may_write(space.author, call.caller, space.creator):
            raise RefusedError(
                403, "You don't have the required permissions to perform this operation"
            )
        return space

    def runnable(self, call: Call) -> FakeSpace:
        """Return the Space of this call, if the caller may change it and it can run."""
        space = self.writable(call)
        if space.is_static:
            raise RefusedError(400, "This operation is not supported on static Spaces")
        return space
