"""Everything that the Hub remembers."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from attrs import define, field

from spaces_async._clock import Clock
from spaces_async.testing._machine import Timing
from spaces_async.testing._wire import Call, RefusedError
from spaces_async.testing.accounts import Accounts
from spaces_async.testing.quota import Quota, QuotaWindow
from spaces_async.testing.space import FakeSpace, Visibility

__all__ = ["Options", "World"]

ANONYMOUS = "Invalid username or password."
BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - a message


@define
class Options:
    """How this Hub behaves.

    Attributes:
        page_size: Most elements of a page; also the size if none is asked for.
        require_pro: Refuse apps on free hardware to those without PRO.
        default_namespace: Owner of what is made without one.
        keep_alive: Seconds between the comments on a silent stream.
        whoami_quota: The limit of `whoami-v2` for itself; None is no limit.
    """

    page_size: int = 1000
    require_pro: bool = False
    keep_alive: float = 30.0
    whoami_quota: Quota | None = None


@define(eq=False)
class World:
    """State of the Hub: Spaces, accounts and time.

    Attributes:
        clock: Where the time comes from.
        options: How this Hub behaves.
        timing: How long things take.
        url: Where the Hub answers.
        spaces: The Spaces by id.
        accounts: Users, orgs and tokens.
        whoami: Each user's use of their `whoami-v2` limit.
        zero_gpu: Each user's GPU-seconds that are used.
    """

    clock: Clock
    options: Options
    timing: Timing
    seed: int = 0
    url: str = ""
    spaces: dict[str, FakeSpace] = field(factory=dict[str, FakeSpace])
    accounts: Accounts = field(factory=Accounts)
    whoami: dict[str, QuotaWindow] = field(factory=dict[str, QuotaWindow])
    zero_gpu: dict[str, float] = field(factory=dict[str, float])
    _random: random.Random = field(init=False)
    _origin: float | None = None
    _stopped: float = 0.0
    _epoch: datetime = field(init=False)

    def __attrs_post_init__(self) -> None:
        # The ids only have to be the same in every run.
        self._random = random.Random(self.seed)  # noqa: S311
        self._epoch = self.clock.utcnow()

    def start_time(self) -> None:
        """Let time run; it goes on where it was stopped."""
        self._origin = self.clock.monotonic() - self._stopped
        self._epoch = self.clock.utcnow() - timedelta(seconds=self._stopped)

    def stop_time(self) -> None:
        """Let time stand still, so that the state can be read without a loop."""
        self._stopped = self.now()
        self._origin = None

    def now(self) -> float:
        """Return the seconds since the Hub was first started."""
        if self._origin is None:
            return self._stopped
        return self.clock.monotonic() - self._origin

    def at(self, now: float) -> datetime:
        """Return the wall clock's time at that point.

        The two clocks are tied at the start: with virtual time, both run virtually.
        """
        return self._epoch + timedelta(seconds=now)

    def utcnow(self) -> datetime:
        """Return the wall clock's time."""
        return self.at(self.now())

    def hex(self, digits: int) -> str:
        """Return the next hexadecimal id."""
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
        """Make a Space."""
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
        )
        self.spaces[repo_id] = space
        return space

    # Who may do what -------------------------------------------------------------

    def require_token(self, call: Call) -> None:
        """Refuse anonymous callers."""
        self.check_token(call)
        if call.who.token is None:
            raise RefusedError(401, ANONYMOUS)

    def check_token(self, call: Call) -> None:
        """Refuse a token that nobody has; none at all is fine."""
        if call.who.bad:
            raise RefusedError(401, BAD_TOKEN)

    def visible(self, space: FakeSpace, call: Call) -> bool:
        """Whether the caller may know of this Space."""
        return not space.private or self.accounts.may_see(space.author, call.who)

    def readable(self, call: Call, repo_id: str | None = None) -> FakeSpace:
        """Return the Space of this call, if the caller may know of it."""
        self.check_token(call)
        space = self.spaces.get(repo_id or call.params["id"])
        if space is None or not self.visible(space, call):
            if call.who.token is None:
                # The Hub does not tell strangers which private repositories exist.
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
        if not self.accounts.may_write(space.author, call.who, space.creator):
            raise RefusedError(
                403, "You don't have the required permissions to perform this operation"
            )
        return space

    def runnable(self, call: Call) -> FakeSpace:
        """Return the Space of this call, if it can be run and changed."""
        space = self.writable(call)
        if space.is_static:
            raise RefusedError(400, "This operation is not supported on static Spaces")
        return space
