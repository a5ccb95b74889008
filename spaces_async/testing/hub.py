"""FakeHub: a Hugging Face Hub for Spaces, in this process, on a real socket."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Any, Literal, Self

from spaces_async.models import SpaceStage
from spaces_async.testing._flavors import price_per_minute
from spaces_async.testing._machine import FREE_FLAVOR, Timing
from spaces_async.testing._names import SDKS, check, flavor_of, hint, stage_of
from spaces_async.testing._routes import check_route
from spaces_async.testing._server import HubServer
from spaces_async.testing._threads import HubClock, HubThread, guarded
from spaces_async.testing._world import Options, World
from spaces_async.testing.accounts import (
    FlavorLimit,
    Org,
    OrgRole,
    Token,
    TokenRole,
    User,
)
from spaces_async.testing.faults import Fault, FaultHandle
from spaces_async.testing.quota import Quota
from spaces_async.testing.space import FakeSpace, Visibility, volumes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from spaces_async._clock import Clock
    from spaces_async.testing._wire import ReceivedRequest

__all__ = ["FakeHub"]

_USER = "tester"
_TOKEN = "hf_test_token"  # noqa: S105 - it protects nothing


class FakeHub:
    """A Hub with Spaces, users, quota and faults that listens on 127.0.0.1.

    It keeps everything in memory. It has no timers: it reads its clock at each request,
    so it also works with virtual time. The user "tester" with the token `hub.token`
    exists from the start.

    ```python
    async with FakeHub() as hub:
        hub.add_space("acme/demo", stage="PAUSED")
        hub.faults("POST /restart", Fault.status(503), times=2)
        ...  # a client with endpoint=hub.url, token=hub.token
        assert hub.space("acme/demo").restarts == 1
    ```

    `async with` runs it in the event loop of the caller. `with` runs it in a thread of
    its own, for synchronous tests and for tests with several event loops; the pytest
    fixture `fake_hub` does that.

    All methods and properties of the Hub, of its Spaces and of its faults may be used
    from any thread at any time; each takes effect between two calls. `spaces` can be
    iterated over and changed meanwhile, and `requests` only grows. What is not safe from
    another thread than the Hub's: changing a list or dict of a Space in place (assign a
    new one instead; `variables`, `secrets` and `files` are safe), and several steps that
    belong together (hold `hub.lock` meanwhile).

    Attributes:
        token: The token of the user "tester".
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        quota: Quota | None = None,
        anonymous_quota: Quota | None = None,
        whoami_quota: Quota | None = None,
        announce_quota: bool = True,
        round_t: Literal["ceil", "floor"] = "ceil",
        seed: int = 0,
        build_seconds: float = 2.0,
        factory_seconds: float | None = None,
        start_seconds: float = 1.0,
        hardware_seconds: float = 1.0,
        config_restarts: bool = True,
        require_pro: bool = False,
        keep_alive_seconds: float = 30.0,
        page_size: int = 1000,
        latency: tuple[float, float] = (0.0, 0.0),
        host: str = "127.0.0.1",
        port: int = 0,
        path_prefix: str = "",
        link_url: str | None = None,
        legacy_runtime: bool = False,
    ) -> None:
        """Create a Hub. It listens after `start`, or when entered as a context.

        Args:
            clock: The source of time; None uses the event loop.
            quota: The quota of each user; None is 1000 calls per 300 seconds.
            anonymous_quota: The shared quota of all calls without a token; None is 500
                calls per 300 seconds.
            whoami_quota: A separate limit of `whoami-v2`; None means no limit.
            announce_quota: Whether to send `RateLimit` and `RateLimit-Policy`.
            round_t: How to round the seconds until the end of a window.
            seed: Seed of all ids, which are the same in every run.
            build_seconds: From a restart until the app starts.
            factory_seconds: The same for a factory reboot; None is twice as long.
            start_seconds: From the start of the app until it runs.
            hardware_seconds: From a request for hardware until the app moves to it.
            config_restarts: Whether writing a variable or secret restarts a running
                app.
            require_pro: Whether apps on free hardware, protected Spaces, dev mode and
                custom domains require PRO or Team. If not, `whoami` says that every
                account has PRO, and every org a Team plan.
            keep_alive_seconds: Seconds between two comments on a silent stream.
            page_size: Largest page size, and the size without `limit`.
            latency: Shortest and longest time of a call in seconds: half of it passes
                before the call is counted, half after.
            host: The address to listen on. The Hub has no encryption, so that anything
                but a loopback address shows the tokens to the network.
            port: The port to listen on; 0 picks a free one.
            path_prefix: A path before every path of the Hub, such as "/artifactory/hf",
                as on a mirror. `url` contains it, the paths of `requests` do not.
            link_url: What the links to next pages name instead of this Hub, as mirrors
                let them: "https://huggingface.co".
            legacy_runtime: Whether each runtime has the fields `rawLogs`, `sdk` and
                `sdkVersion` of the older documentation.

        Raises:
            ValueError: An option is not valid.
            TypeError: A quota is not a `Quota`.
        """
        for name, value in (
            ("quota", quota),
            ("anonymous_quota", anonymous_quota),
            ("whoami_quota", whoami_quota),
        ):
            if not isinstance(value, Quota | None):
                raise TypeError(f"{name} must be a Quota(limit, window), not {value!r}")
        check(round_t, ("ceil", "floor"), "a rounding")
        if path_prefix and not re.fullmatch(r"(/[\w.~-]+)+", path_prefix, re.ASCII):
            raise ValueError(
                f"path_prefix must be a path such as '/artifactory/hf', not"
                f" {path_prefix!r}"
            )
        timing = Timing(
            build=build_seconds,
            factory_build=(
                2 * build_seconds if factory_seconds is None else factory_seconds
            ),
            start=start_seconds,
            hardware=hardware_seconds,
            config_restarts=config_restarts,
        )
        options = Options(
            page_size=page_size,
            require_pro=require_pro,
            keep_alive=keep_alive_seconds,
            whoami_quota=whoami_quota,
            link_url=None if link_url is None else link_url.rstrip("/"),
            path_prefix=path_prefix,
            legacy_runtime=legacy_runtime,
        )
        self._world = World(clock or HubClock(), options, timing, seed)
        self._server = HubServer(
            self._world,
            quota=quota or Quota(1000, 300.0),
            anonymous_quota=anonymous_quota or Quota(500, 300.0),
            announce_quota=announce_quota,
            round_t=round_t,
            latency=latency,
            seed=seed,
        )
        self._host = host
        self._port = port
        self._started = False
        self._thread: HubThread | None = None
        self.token = _TOKEN
        self.add_user(_USER, token=_TOKEN)

    # Start and end ---------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self.start_in_thread()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def start(self) -> None:
        """Start to listen. After `aclose`, the same state returns at the same URL.

        A Hub that ran in a thread of its own runs in such a thread again.
        """
        if self._started:
            return
        if self._thread is not None:
            self.start_in_thread()
            return
        self._port = await self._server.start(self._host, self._port)
        self._begin(asyncio.get_running_loop())

    async def aclose(self) -> None:
        """Close all connections, including open streams; the state stays readable."""
        if not self._started:
            return
        thread = self._end()
        if thread is None:
            await self._server.stop()
            return
        thread.stop()
        await asyncio.wrap_future(thread.ended)

    def start_in_thread(self) -> None:
        """Start to listen in a thread of its own, which needs no event loop here.

        After `close`, the same state returns at the same URL.
        """
        if self._started:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        self._port = port = int(listener.getsockname()[1])
        self._thread = thread = HubThread()
        self._begin(thread.loop)
        thread.start(
            lambda: self._server.start(self._host, port, sock=listener),
            self._server.stop,
        )

    def close(self) -> None:
        """Do what `aclose` does, for a Hub that runs in a thread of its own.

        Raises:
            RuntimeError: The Hub runs in an event loop of the caller, or its thread did
                not end within ten seconds.
        """
        if not self._started:
            return
        if self._thread is None:
            raise RuntimeError("this Hub runs in an event loop; await aclose() instead")
        thread = self._end()
        if thread is not None:
            thread.stop()
            thread.join()

    @guarded
    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if isinstance(self.clock, HubClock):
            self.clock.bind(loop)
        self._world.url = self.url
        self._world.start_time()
        self._started = True

    @guarded
    def _end(self) -> HubThread | None:
        self._started = False
        self._world.stop_time()
        return self._thread

    # State -----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL of the Hub, for `HF_ENDPOINT`."""
        # Who listens on every address is reached from here by the loopback one.
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(  # noqa: S104
            self._host, self._host
        )
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self._port}{self._world.options.path_prefix}"

    @property
    def app_url(self) -> str:
        """Where the apps answer, for `ClientSettings(app_url=)`.

        The shell takes it from the environment variable `SPACES_ASYNC_APP_URL`.
        """
        return f"{self.url}/_app/{{subdomain}}"

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held during each call; hold it for several steps that belong together."""
        return self._world.lock

    @property
    def clock(self) -> Clock:
        """The Hub's source of time."""
        return self._world.clock

    @property
    def spaces(self) -> dict[str, FakeSpace]:
        """All Spaces by id."""
        return self._world.spaces

    @property
    def requests(self) -> list[ReceivedRequest]:
        """All requests so far, in order of arrival."""
        return self._server.requests

    @property
    def in_flight(self) -> int:
        """Number of requests in flight."""
        return self._server.in_flight

    @property
    def max_in_flight(self) -> int:
        """Largest number of requests in flight so far."""
        return self._server.max_in_flight

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self._server.connections

    def space(self, repo_id: str) -> FakeSpace:
        """Return a Space.

        Raises:
            KeyError: There is no Space with this id.
        """
        space = self._world.spaces.get(repo_id)
        if space is None:
            known = f"; {hint(repo_id, self.spaces)}" if self.spaces else ""
            raise KeyError(f"this Hub has no Space {repo_id!r}{known}")
        return space

    def count(self, method: str, path: str = "") -> int:
        """Return how many requests had this method and a path that ends like this."""
        return sum(
            request.method == method and request.path.endswith(path)
            for request in list(self.requests)
        )

    # Accounts --------------------------------------------------------------------

    @guarded
    def add_user(
        self,
        name: str,
        *,
        token: str | None = None,
        role: TokenRole = "write",
        is_pro: bool = False,
        can_pay: bool = True,
    ) -> User:
        """Add a user, with a token of this role if `token` is given."""
        user = User(name, is_pro=is_pro, can_pay=can_pay)
        self._world.accounts.users[name] = user
        if token is not None:
            self.add_token(token, user=name, role=role)
        return user

    @guarded
    def add_org(
        self,
        name: str,
        members: Mapping[str, OrgRole] | None = None,
        *,
        can_pay: bool = True,
        plan: str | None = None,
    ) -> Org:
        """Add an organization, or members to one; None adds only the default user."""
        default: Mapping[str, OrgRole] = {_USER: "admin"}
        added = default if members is None else members
        org = self._world.accounts.add_org(name, added, can_pay=can_pay)
        org.plan = plan
        return org

    @guarded
    def add_token(
        self, token: str, *, user: str = _USER, role: TokenRole = "write"
    ) -> Token:
        """Add a token for a user.

        Raises:
            KeyError: There is no such user.
        """
        owner = self._world.accounts.users[user]
        added = Token(token, owner.name, role)
        self._world.accounts.tokens[token] = added
        return added

    @guarded
    def remove_token(self, token: str) -> None:
        """Revoke a token."""
        del self._world.accounts.tokens[token]

    # Spaces ----------------------------------------------------------------------

    @guarded
    def add_space(
        self,
        repo_id: str,
        *,
        sdk: str = "gradio",
        stage: str = SpaceStage.RUNNING,
        hardware: str = FREE_FLAVOR,
        private: bool = False,
        visibility: Visibility | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        volumes: Sequence[Mapping[str, Any]] = (),
        tags: Sequence[str] = (),
        models: Sequence[str] = (),
        datasets: Sequence[str] = (),
        files: Mapping[str, int] | None = None,
        likes: int = 0,
        trending_score: int = 0,
        title: str | None = None,
        short_description: str | None = None,
        sleep_time: int | None = None,
        fails_with: str | None = None,
        error_message: str | None = None,
        creator: str | None = None,
        runtime_fields: Mapping[str, Any] | None = None,
        replicas: int = 1,
        free_grant: bool = False,
        load: Mapping[str, Any] | None = None,
    ) -> FakeSpace:
        """Add a Space. It stays in its stage until a call or a test changes it.

        An unknown owner is created as an organization of the default user.

        Args:
            repo_id: "owner/name".
            sdk: "gradio", "docker", "static" or "streamlit".
            stage: Its stage; one that the Hub may add later as `SpaceStage("...")`.
            hardware: The flavor that it runs on, or that was requested.
            private: Whether only its owner or org can see it.
            visibility: Used instead of `private`: "public", "private" or "protected".
            variables: Names and values.
            secrets: Names and values.
            volumes: Its mounts, as JSON.
            tags: Tags in addition to the SDK and the region.
            models: Models that it uses.
            datasets: Datasets that it uses.
            files: Names and sizes; None uses the files that its SDK needs.
            likes: Number of likes.
            trending_score: Its trending score.
            title: Its title; None derives one from its name.
            short_description: One-line description.
            sleep_time: Seconds until it sleeps; None means never, except on the free
                flavor, where it is always 48 hours.
            fails_with: The stage in which each later build or start ends.
            error_message: The error message of the stage, or of `fails_with`.
            creator: The user who created it; None means the default user.
            runtime_fields: Fields that its runtime has in addition, or instead of its
                own, as JSON.
            replicas: Number of replicas.
            free_grant: Whether the Hub grants its hardware for free.
            load: What its replicas measure, such as {"cpu_usage_pct": 0, "tx_bps": 9}.

        Returns:
            The Space, which the test can read and change.

        Raises:
            ValueError: The id is not valid, or is taken; the SDK, the stage, the flavor
                or the visibility is misspelt.
        """
        owner, slash, name = repo_id.partition("/")
        if not (owner and slash and name) or "/" in name:
            raise ValueError(f"the id of a Space must be 'owner/name', not {repo_id!r}")
        if repo_id in self._world.spaces:
            raise ValueError(f"this Hub already has a Space {repo_id!r}")
        target, failing = (
            stage_of(stage),
            None if fails_with is None else stage_of(fails_with),
        )
        wanted: Visibility = visibility or ("private" if private else "public")
        check(wanted, ("public", "private", "protected"), "a visibility")
        check(sdk, SDKS, "an SDK")
        flavor_of(hardware)
        self._require_owner(owner)
        space = self._world.create(
            repo_id,
            sdk=sdk,
            hardware=hardware,
            visibility=wanted,
            creator=creator or _USER,
            files=dict(files) if files is not None else None,
        )
        space.configure(variables or {}, secrets or {})
        space.volumes = volumes_of(volumes)
        space.tags += [tag for tag in tags if tag not in space.tags]
        space.models, space.datasets = list(models), list(datasets)
        space.likes, space.trending_score = likes, trending_score
        space.card["title"] = title or re.sub(r"[-_]+", " ", space.name).title()
        space.short_description = short_description
        space.set_sleep_time(sleep_time)
        space.runtime_fields |= runtime_fields or {}
        space.fails_with, space.failure_message = failing, error_message
        space.replicas, space.free_grant, space.load = replicas, free_grant, load
        space.set_stage(target, None if target is SpaceStage.RUNNING else error_message)
        return space

    def _require_owner(self, owner: str) -> None:
        """Create an unknown owner as an organization of the default user."""
        accounts = self._world.accounts
        if owner not in accounts.users and owner not in accounts.orgs:
            self.add_org(owner)

    @guarded
    def set_stage(
        self, repo_id: str, stage: str, error_message: str | None = None
    ) -> None:
        """Set the stage of a Space, which stays until a call or a test changes it."""
        self.space(repo_id).set_stage(stage, error_message)

    @guarded
    def add_use(self, repo_id: str, minutes: float, *, flavor: str) -> None:
        """Put a use that ends now on the bill of a Space's owner.

        What runs on a flavor with a price is on the bill by itself; this is for what
        was before the Hub was started.

        Args:
            repo_id: "owner/name".
            minutes: How long it was. The part before this month is on an earlier bill.
            flavor: A flavor with a price.

        Raises:
            KeyError: There is no Space with this id.
            ValueError: The time or the flavor is not valid, or the flavor has no price.
        """
        if not minutes > 0:
            raise ValueError(f"minutes must be above 0, not {minutes}")
        if not price_per_minute(flavor_of(flavor)):
            raise ValueError(f"the flavor {flavor!r} has no price on this Hub")
        now = self._world.now()
        space = self.space(repo_id)
        self._world.ledger.add(space, flavor, now - minutes * 60, now)

    # Faults and quota ------------------------------------------------------------

    @guarded
    def faults(
        self,
        route: str,
        fault: Fault,
        *,
        times: int | None = 1,
        after: int = 0,
        repo_id: str | None = None,
    ) -> FaultHandle:
        """Add a fault for calls to come.

        Args:
            route: Method and end of the path ("POST /restart"), or the whole path with
                `{id}` for any Space ("GET /api/spaces/{id}"). "*" matches every call,
                every method or every path.
            fault: The fault.
            times: How often it occurs; None means always.
            after: How many matching calls pass first.
            repo_id: Only calls about this Space; None means all.

        Returns:
            A handle that counts the hits and can remove the fault.

        Raises:
            ValueError: The route is not valid, or is misspelt: it matches no endpoint.
        """
        handle = FaultHandle(route, fault, times=times, after=after, repo_id=repo_id)
        check_route(route)
        return self._server.faults.add(handle)

    @guarded
    def clear_faults(self) -> None:
        """Remove all faults."""
        self._server.faults.clear()

    def assert_faults_met(self) -> None:
        """Fail the test if a fault was added that no call has met.

        Raises:
            AssertionError: There is one that was not removed.
        """
        __tracebackhide__ = True
        for handle in self._server.faults.unmet():
            handle.assert_met()

    @guarded
    def limit_flavor(
        self,
        owner: str,
        flavor: str,
        limit: int | None,
        *,
        form: Literal["refuse", "pause"] = "refuse",
    ) -> None:
        """Limit how many Spaces of an account may run on a flavor at the same time.

        Running, building and starting Spaces count. The limit applies to restarts, to
        requests for hardware by a Space that runs, and to new Spaces.

        Args:
            owner: The account; an unknown one is created as an organization.
            flavor: The flavor.
            limit: The number of Spaces; None removes the limit.
            form: "refuse" answers one too many with 403 (a new Space with 402); "pause"
                takes it, and pauses it with an error message when its app would start.

        Raises:
            ValueError: An argument is not valid.
        """
        key = owner, flavor_of(flavor)
        check(form, ("refuse", "pause"), "a form of the limit")
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be at least 0, not {limit}")
        self._require_owner(owner)
        limits = self._world.accounts.flavor_limits
        if limit is None:
            limits.pop(key, None)
        else:
            limits[key] = FlavorLimit(limit, pauses=form == "pause")

    @guarded
    def spend(self, calls: int, *, user: str | None = _USER) -> None:
        """Use up quota, as another program of this user would; None is anonymous."""
        self._server.window(user).spend(calls, self._world.now())

    @guarded
    def remaining(self, *, user: str | None = _USER) -> int:
        """Return a user's calls left in the current window; None is anonymous."""
        return self._server.window(user).remaining(self._world.now())
