"""The records that calls return, and the Hub's enumerations.

Records are frozen attrs classes; `to_dict()` makes JSON of them. Enumerations are open:
the Hub adds stages and flavors without notice, so an unknown value becomes a member that
keeps its string and whose `is_known` is False. Each record decoded from a response keeps
the whole JSON object in `.raw`. A field that the Hub sent in an unexpected form is None,
and `.problems` names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self

from attrs import field, frozen

from spaces_async._record import Record
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
    """An enumeration that also accepts unknown values."""

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
        """Whether this version of the package knows the value."""
        return self._value_ in type(self)._value2member_map_


class SpaceStage(_OpenStrEnum):
    """The stage of a Space's life cycle."""

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
        """The app serves requests, even while its next version builds or starts."""
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
        """Building or starting: the stage will change on its own."""
        return self in _BUILDING or self in _STARTING

    @property
    def is_failed(self) -> bool:
        """The Space has failed; `SpaceRuntime.error_message` often says why."""
        return self in _FAILED

    @property
    def is_idle(self) -> bool:
        """Paused, sleeping or stopped: it does not run, and it has not failed."""
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

STAGE_GROUPS: Final[Mapping[str, frozenset[SpaceStage]]] = {
    "failed": _FAILED,
    "running": _RUNNING,
    "building": _BUILDING | _STARTING,
    "idle": _IDLE,
}
"""The words for several stages, as a selection and the shell take them.

A Space that runs while its next version is built is in "running" and in "building".
"""


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
    """The SDK of a Space."""

    GRADIO = "gradio"
    STREAMLIT = "streamlit"
    DOCKER = "docker"
    STATIC = "static"


class VolumeType(_OpenStrEnum):
    """What kind of source a volume mounts."""

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


@frozen(repr=False)
class Volume(Record):
    """A bucket or repository mounted into a Space.

    Attributes:
        type: Kind of the source.
        source: Its id, "owner/name".
        mount_path: Absolute path of the mount in the container.
        revision: Branch, tag or commit of a repository; None is its main branch.
        read_only: None uses the Hub's default. Repositories are always read-only;
            buckets are writable unless this is True.
        path: A folder inside the source; None mounts the whole source.
    """

    type: VolumeType = field(converter=VolumeType)
    source: str
    mount_path: str
    revision: str | None = None
    read_only: bool | None = None
    path: str | None = None

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Parse a mount in the format of the official client.

        `hf://[models/|datasets/|spaces/|buckets/]owner/name[@revision][/path]:/mount[:ro|:rw]`

        Args:
            uri: For example "hf://models/acme/large:/models:ro".

        Raises:
            ConfigurationError: The format is wrong.
        """
        match = _MOUNT.fullmatch(uri)
        if match is None:
            raise ConfigurationError(
                f"{uri!r} is not a volume; expected hf://[models/|datasets/|spaces/|"
                "buckets/]owner/name[@revision][/path]:/mount[:ro|:rw]"
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
        """Format the mount as the official client does; see `from_uri`."""
        revision = f"@{self.revision}" if self.revision else ""
        path = f"/{self.path}" if self.path else ""
        mode = {None: "", True: ":ro", False: ":rw"}[self.read_only]
        return (
            f"hf://{self.type}s/{self.source}{revision}{path}:{self.mount_path}{mode}"
        )


@frozen(repr=False)
class Replicas(Record):
    """The number of replicas of the app.

    Attributes:
        current: How many are running; None if none is.
        requested: How many were requested; "auto" if the Hub scales them.
    """

    current: int | None = None
    requested: int | Literal["auto"] | None = None


@frozen(repr=False)
class Domain(Record):
    """A domain under which the app is served.

    Attributes:
        domain: Host name.
        stage: READY, PENDING, PENDING_CHALLENGE, EXPIRED_CHALLENGE, MISCONFIGURED.
        is_custom: Whether it is the owner's own domain; None if the Hub did not say.
    """

    domain: str
    stage: str | None = None
    is_custom: bool | None = None


@frozen(repr=False)
class HotReloading(Record):
    """The state of a hot reload (Gradio only, experimental on the Hub).

    Attributes:
        status: "created" or "canceled".
        replica_statuses: Pairs of a replica's hash and its status.
    """

    status: str | None = None
    replica_statuses: tuple[tuple[str, str | None], ...] = ()


@frozen(repr=False)
class SpaceRuntime(Record):
    """The current state of a Space.

    Attributes:
        stage: Its stage.
        hardware: The flavor it runs on; None if it is static or not running.
        requested_hardware: The flavor that was requested for it.
        sleep_time: Seconds without a visit after which it sleeps; None means never. Of
            one that does not run it also means that the Hub does not tell.
        storage: Legacy storage tier; the Hub stopped sending it in March 2026.
        sdk: Its SDK; the Hub rarely sends it here (see `SpaceInfo`).
        sdk_version: Version of the SDK; rarely sent, as above.
        raw_logs: Documented as a boolean, and as text in older descriptions; no recorded
            response of the Hub has it.
        dev_mode: Whether dev mode is on; None if paused or static.
        replicas: Number of replicas.
        domains: Domains under which the app is served.
        error_message: Why it failed, in the Hub's words.
        sha: The running commit. Differs from `SpaceInfo.sha` until that one is live.
        volumes: Its mounts; None if the response did not say.
        hot_reloading: State of a hot reload; None if there is none.
        raw: The JSON object as received.
        problems: What could not be read, such as "$.sha: expected a string, got a
            number"; empty if all could.
    """

    stage: SpaceStage = field(converter=SpaceStage)
    hardware: SpaceHardware | None = None
    requested_hardware: SpaceHardware | None = None
    sleep_time: int | None = None
    storage: SpaceStorage | None = None
    sdk: SpaceSdk | None = None
    sdk_version: str | None = None
    raw_logs: bool | str | None = None
    dev_mode: bool | None = None
    replicas: Replicas | None = None
    domains: tuple[Domain, ...] = ()
    error_message: str | None = None
    sha: str | None = None
    volumes: tuple[Volume, ...] | None = None
    hot_reloading: HotReloading | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    problems: tuple[str, ...] = field(default=(), eq=False, kw_only=True)


@frozen(repr=False)
class CreatedSpace(Record):
    """A Space that was created; `str()` of it is its URL.

    Attributes:
        repo_id: "owner/name".
        url: Its page on the Hub; None if the response did not say.
        raw: The JSON object as received.
        existed: Whether it already existed, which `exist_ok` allows.
    """

    repo_id: str
    url: str | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    existed: bool = False

    def __str__(self) -> str:
        """Return its URL, as the `RepoUrl` of the official client; else its id."""
        return self.url or self.repo_id


@frozen(repr=False)
class SpaceVariable(Record):
    """A variable of a Space. Anyone who can see the Space can read it.

    Attributes:
        key: Its name.
        value: Its value.
        description: Its author's description.
        updated_at: When it was last written.
        raw: The JSON object as received.
        problems: What could not be read, such as "$.sha: expected a string, got a
            number"; empty if all could.
    """

    key: str
    value: str | None = None
    description: str | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    problems: tuple[str, ...] = field(default=(), eq=False, kw_only=True)


@frozen(repr=False)
class SpaceSecret(Record):
    """A secret of a Space. The Hub never returns its value.

    Attributes:
        key: Its name.
        description: Its author's description.
        updated_at: When it was last written.
        raw: The JSON object as received.
        problems: What could not be read, such as "$.sha: expected a string, got a
            number"; empty if all could.
    """

    key: str
    description: str | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    problems: tuple[str, ...] = field(default=(), eq=False, kw_only=True)


class FileName(str):
    """The name of a file of a Space; a string."""

    __slots__ = ()

    @property
    def rfilename(self) -> str:
        """The name, by the name of the official client."""
        return str(self)


def _file_names(names: Iterable[str] | None) -> tuple[FileName, ...] | None:
    return None if names is None else tuple(map(FileName, names))


@frozen(repr=False)
class SpaceInfo(Record):
    """What the Hub knows about a Space.

    Every field except `id` may be None: with `expand` the Hub sends only the requested
    fields, and a listing has fewer fields than `get_info`.

    Attributes:
        id: "owner/name".
        author: User or org that owns it; taken from the id if the Hub did not send it.
        sdk: Its SDK.
        private: Whether only its owner or org can see it.
        likes: Number of likes.
        tags: Its tags, such as "region:us".
        created_at: When it was created.
        last_modified: When its files last changed.
        subdomain: Its name under hf.space.
        host: URL of the app.
        runtime: Its current runtime.
        card_data: The metadata of its README.
        sha: The newest commit.
        disabled: Whether the Hub has disabled it.
        gated: Whether access must be requested: False, "auto" or "manual".
        region: The region that it runs in.
        models: The models that it uses.
        datasets: The datasets that it uses.
        siblings: The names of its files.
        used_storage: Size of its repository in bytes.
        trending_score: Its trending score.
        title: Its title.
        short_description: The one-line description on its card.
        resource_group: Its resource group in the org.
        sdk_version: Version of the SDK, from its card.
        raw: The JSON object as received.
        problems: What could not be read, such as "$.sha: expected a string, got a
            number"; empty if all could.
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
    siblings: tuple[FileName, ...] | None = field(default=None, converter=_file_names)
    used_storage: int | None = None
    trending_score: float | None = None
    title: str | None = None
    short_description: str | None = None
    resource_group: Mapping[str, Any] | None = field(default=None, hash=False)
    sdk_version: str | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], eq=False, repr=False)
    problems: tuple[str, ...] = field(default=(), eq=False, kw_only=True)

    @property
    def name(self) -> str:
        """The part of the id after the slash."""
        return self.id.rpartition("/")[2]

    @property
    def stage(self) -> SpaceStage | None:
        """The stage; None if the response had no runtime."""
        return self.runtime.stage if self.runtime else None
