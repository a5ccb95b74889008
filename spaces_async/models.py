"""The records that calls return, and the words that the Hub uses.

Records are frozen attrs classes. Enumerations are open: the Hub adds stages and
flavors without notice, so an unknown word becomes a member of its own that keeps its
text and answers `is_known` with False. Each record decoded from an answer keeps the
whole JSON object in `.raw`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from attrs import field, frozen

from spaces_async.errors import ConfigurationError

__all__ = [
    "CreatedSpace",
    "Domain",
    "HotReloading",
    "Replicas",
    "SpaceHardware",
    "SpaceInfo",
    "SpaceRuntime",
    "SpaceSdk",
    "SpaceSecret",
    "SpaceStage",
    "SpaceStorage",
    "SpaceVariable",
    "Volume",
    "VolumeType",
]


class _OpenStrEnum(StrEnum):
    """An enumeration that also takes words it does not know."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether this version of the package knows the word."""
        return self._value_ in type(self)._value2member_map_


class SpaceStage(_OpenStrEnum):
    """Where a Space is in its life."""

    NO_APP_FILE = "NO_APP_FILE"
    CONFIG_ERROR = "CONFIG_ERROR"
    BUILDING = "BUILDING"
    BUILD_ERROR = "BUILD_ERROR"
    APP_STARTING = "APP_STARTING"
    RUNNING = "RUNNING"
    RUNNING_BUILDING = "RUNNING_BUILDING"
    RUNNING_APP_STARTING = "RUNNING_APP_STARTING"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    DELETING = "DELETING"
    STOPPED = "STOPPED"
    PAUSED = "PAUSED"
    SLEEPING = "SLEEPING"

    @property
    def is_running(self) -> bool:
        """The app answers requests: also while the next version builds or starts."""
        return self in _RUNNING

    @property
    def is_building(self) -> bool:
        """An image is being built."""
        return self in _BUILDING

    @property
    def is_starting(self) -> bool:
        """The image is built and the app is starting."""
        return self in _STARTING

    @property
    def is_transitional(self) -> bool:
        """Building or starting: the stage will change by itself."""
        return self in _BUILDING or self in _STARTING

    @property
    def is_failed(self) -> bool:
        """Something is wrong; `SpaceRuntime.error_message` often says what."""
        return self in _FAILED

    @property
    def is_idle(self) -> bool:
        """Paused, sleeping or stopped: nothing runs and nothing is wrong."""
        return self in _IDLE


_BUILDING = frozenset({SpaceStage.BUILDING, SpaceStage.RUNNING_BUILDING})
_STARTING = frozenset({SpaceStage.APP_STARTING, SpaceStage.RUNNING_APP_STARTING})
_RUNNING = frozenset(
    {
        SpaceStage.RUNNING,
        SpaceStage.RUNNING_BUILDING,
        SpaceStage.RUNNING_APP_STARTING,
    }
)
_FAILED = frozenset(
    {
        SpaceStage.NO_APP_FILE,
        SpaceStage.CONFIG_ERROR,
        SpaceStage.BUILD_ERROR,
        SpaceStage.RUNTIME_ERROR,
    }
)
_IDLE = frozenset({SpaceStage.PAUSED, SpaceStage.SLEEPING, SpaceStage.STOPPED})


class SpaceHardware(_OpenStrEnum):
    """The hardware flavors that the Hub listed in August 2026."""

    CPU_BASIC = "cpu-basic"
    CPU_UPGRADE = "cpu-upgrade"
    CPU_PERFORMANCE = "cpu-performance"
    CPU_XL = "cpu-xl"
    SPRX8 = "sprx8"
    ZERO_A10G = "zero-a10g"
    T4_SMALL = "t4-small"
    T4_MEDIUM = "t4-medium"
    L4X1 = "l4x1"
    L4X4 = "l4x4"
    L40SX1 = "l40sx1"
    L40SX4 = "l40sx4"
    L40SX8 = "l40sx8"
    A10G_SMALL = "a10g-small"
    A10G_LARGE = "a10g-large"
    A10G_LARGEX2 = "a10g-largex2"
    A10G_LARGEX4 = "a10g-largex4"
    A100_LARGE = "a100-large"
    A100X4 = "a100x4"
    A100X8 = "a100x8"
    H200 = "h200"
    H200X2 = "h200x2"
    H200X4 = "h200x4"
    H200X8 = "h200x8"
    RTX_PRO_6000 = "rtx-pro-6000"
    RTX_PRO_6000X2 = "rtx-pro-6000x2"
    RTX_PRO_6000X4 = "rtx-pro-6000x4"
    RTX_PRO_6000X8 = "rtx-pro-6000x8"
    INF2X6 = "inf2x6"


class SpaceStorage(_OpenStrEnum):
    """The tiers of the legacy persistent storage. New code uses volumes."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class SpaceSdk(_OpenStrEnum):
    """What a Space is made with."""

    GRADIO = "gradio"
    STREAMLIT = "streamlit"
    DOCKER = "docker"
    STATIC = "static"


class VolumeType(_OpenStrEnum):
    """What a volume mounts."""

    BUCKET = "bucket"
    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"


_MOUNT = re.compile(
    r"hf://(?:(?P<type>models|datasets|spaces|buckets)/)?"
    r"(?P<source>[^/:@]+/[^/:@]+)"
    r"(?:@(?P<revision>refs/(?:pr/\d+|convert/[^:/]+)|[^:/]+))?(?:/(?P<path>[^:]+))?"
    r":(?P<mount>/[^:]+)(?::(?P<mode>ro|rw))?"
)


@frozen
class Volume:
    """A bucket or repository mounted into a Space.

    Attributes:
        type: What is mounted.
        source: Its id, "owner/name".
        mount_path: Where it appears in the container; absolute.
        revision: Branch, tag or commit of a repository; None is its main branch.
        read_only: None leaves it to the Hub: repositories are always read-only,
            buckets are writable unless this is True.
        path: A folder inside the source; None mounts all of it.
    """

    type: VolumeType = field(converter=VolumeType)
    source: str
    mount_path: str
    revision: str | None = None
    read_only: bool | None = None
    path: str | None = None

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Read a mount as the official client writes it.

        `hf://[models/|datasets/|spaces/|buckets/]owner/name[@revision][/path]:/mount[:ro|:rw]`

        Args:
            uri: Such as "hf://models/acme/large:/models:ro".

        Raises:
            ConfigurationError: It has another form.
        """
        match = _MOUNT.fullmatch(uri)
        if match is None:
            raise ConfigurationError(
                "a volume is hf://[models/|datasets/|spaces/|buckets/]owner/name"
                f"[@revision][/path]:/mount[:ro|:rw], not {uri!r}"
            )
        kind = VolumeType(match["type"][:-1] if match["type"] else "model")
        read_only = {None: None, "ro": True, "rw": False}[match["mode"]]
        return cls(
            kind,
            match["source"],
            match["mount"],
            revision=match["revision"],
            read_only=read_only,
            path=match["path"],
        )

    def to_uri(self) -> str:
        """Write the mount as the official client does; see `from_uri`."""
        revision = f"@{self.revision}" if self.revision else ""
        path = f"/{self.path}" if self.path else ""
        mode = {None: "", True: ":ro", False: ":rw"}[self.read_only]
        return (
            f"hf://{self.type}s/{self.source}{revision}{path}:{self.mount_path}{mode}"
        )


@frozen
class Replicas:
    """How many copies of the app run.

    Attributes:
        current: How many run now; None while none does.
        requested: How many were asked for; "auto" where the Hub scales.
    """

    current: int | None = None
    requested: int | Literal["auto"] | None = None


@frozen
class Domain:
    """A domain under which the app answers.

    Attributes:
        domain: Host name.
        stage: READY, PENDING, PENDING_CHALLENGE, EXPIRED_CHALLENGE, MISCONFIGURED.
        is_custom: Whether it is the owner's own domain; None if the Hub did not say.
    """

    domain: str
    stage: str | None = None
    is_custom: bool | None = None


@frozen
class HotReloading:
    """The state of a hot reload (Gradio only, experimental on the Hub).

    Attributes:
        status: "created" or "canceled".
        replica_statuses: Pairs of replica hash and its status.
    """

    status: str | None = None
    replica_statuses: tuple[tuple[str, str | None], ...] = ()


@frozen
class SpaceRuntime:
    """What a Space does at this moment.

    Attributes:
        stage: Where it is in its life.
        hardware: The flavor it runs on; None while it does not run, or is static.
        requested_hardware: The flavor it was told to run on.
        sleep_time: Seconds without a visit after which it sleeps; None is never.
        storage: Legacy storage tier; the Hub stopped sending it in March 2026.
        sdk: What it is made with; the Hub rarely sends it here (see `SpaceInfo`).
        sdk_version: Version of the SDK; rarely sent, as above.
        raw_logs: Log text; no recorded answer of the Hub has it.
        dev_mode: Whether dev mode is on; None if paused or static.
        replicas: How many copies run.
        domains: Where the app answers.
        error_message: Why it failed, in the Hub's words.
        sha: The commit that runs. Differs from `SpaceInfo.sha` until it is live.
        volumes: What is mounted; None if the answer did not say.
        hot_reloading: State of a hot reload; None if there is none.
        raw: The answer as it came.
    """

    stage: SpaceStage = field(converter=SpaceStage)
    hardware: SpaceHardware | None = None
    requested_hardware: SpaceHardware | None = None
    sleep_time: int | None = None
    storage: SpaceStorage | None = None
    sdk: SpaceSdk | None = None
    sdk_version: str | None = None
    raw_logs: str | None = None
    dev_mode: bool | None = None
    replicas: Replicas | None = None
    domains: tuple[Domain, ...] = ()
    error_message: str | None = None
    sha: str | None = None
    volumes: tuple[Volume, ...] | None = None
    hot_reloading: HotReloading | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)


@frozen
class CreatedSpace:
    """Where a new Space is.

    Attributes:
        repo_id: "owner/name".
        url: Its page on the Hub; None if the answer did not say.
        raw: The answer as it came.
        existed: Whether it was there already, which `exist_ok` allows.
    """

    repo_id: str
    url: str | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    existed: bool = False


@frozen
class SpaceVariable:
    """A variable of a Space: readable by everyone who may see the Space.

    Attributes:
        key: Its name.
        value: Its value.
        description: What its author says of it.
        updated_at: When it was last written.
        raw: The answer as it came.
    """

    key: str
    value: str | None = None
    description: str | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)


@frozen
class SpaceSecret:
    """A secret of a Space. The Hub never gives its value back.

    Attributes:
        key: Its name.
        description: What its author says of it.
        updated_at: When it was last written.
        raw: The answer as it came.
    """

    key: str
    description: str | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)


@frozen
class SpaceInfo:
    """What the Hub tells about a Space.

    Every field but `id` may be None: with `expand` the Hub sends only what was asked
    for, and a listing tells less than `get_info`.

    Attributes:
        id: "owner/name".
        author: User or org that owns it; taken from the id where it is not sent.
        sdk: What it is made with.
        private: Whether only its owner and their org see it.
        likes: How many like it.
        tags: Its tags, such as "region:us".
        created_at: When it was made.
        last_modified: When its files last changed.
        subdomain: Its name under hf.space.
        host: URL of the app.
        runtime: What it does now.
        card_data: The metadata of its README.
        sha: Newest commit.
        disabled: Whether the Hub has disabled it.
        gated: Whether access has to be asked for: False, "auto" or "manual".
        region: Where it runs.
        models: Models that it uses.
        datasets: Datasets that it uses.
        siblings: Names of its files.
        used_storage: Bytes of its repository.
        trending_score: How much it trends now.
        title: Its title.
        short_description: What its card says of it in a line.
        resource_group: The org's resource group that it is in.
        raw: The answer as it came.
    """

    id: str
    author: str | None = None
    sdk: SpaceSdk | None = None
    private: bool | None = None
    likes: int | None = None
    tags: tuple[str, ...] | None = None
    created_at: datetime | None = None
    last_modified: datetime | None = None
    subdomain: str | None = None
    host: str | None = None
    runtime: SpaceRuntime | None = None
    card_data: Mapping[str, Any] | None = field(default=None, hash=False)
    sha: str | None = None
    disabled: bool | None = None
    gated: bool | str | None = None
    region: str | None = None
    models: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    siblings: tuple[str, ...] | None = None
    used_storage: int | None = None
    trending_score: float | None = None
    title: str | None = None
    short_description: str | None = None
    resource_group: Mapping[str, Any] | None = field(default=None, hash=False)
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)

    @property
    def name(self) -> str:
        """The part of the id after the slash."""
        return self.id.rpartition("/")[2]

    @property
    def stage(self) -> SpaceStage | None:
        """The stage, where the answer had the runtime."""
        return self.runtime.stage if self.runtime else None
