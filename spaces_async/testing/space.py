"""A Space in the Hub's state: its repository, its settings and its machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from spaces_async.models import SpaceStage
from spaces_async.testing._machine import FREE_FLAVOR, Failure, LogLine, Machine
from spaces_async.testing._machine import Timeline as _Timeline
from spaces_async.testing._names import SDKS, check, flavor_of
from spaces_async.testing._threads import SnapshotDict, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from spaces_async.testing._billing import Ledger

__all__ = ["Failure", "FakeSpace", "LogLine", "Setting", "Visibility"]

Visibility = Literal["public", "private", "protected"]
_APP_FILES = {"docker": "Dockerfile", "static": "index.html"}


class Setting(NamedTuple):
    """A variable or secret, with its value.

    Attributes:
        value: Its value.
        description: Its author's description.
        updated_at: When it was last written.
    """

    value: str
    description: str | None
    updated_at: datetime


class FakeSpace(Machine):
    """A Space. Its state is always current; tests may change most attributes.

    While the Hub runs in a thread of its own, all of it may be read and all methods may
    be called from any thread. Assign whole values to attributes; a list or dict that you
    change in place may be half-changed when the Hub reads it. `variables`, `secrets` and
    `files` can be changed in place, too.

    Attributes:
        id: "owner/name".
        oid: The Hub's internal id.
        sdk: Its SDK.
        creator: The user who created it.
        visibility: "public", "private" or "protected".
        variables: Its variables.
        secrets: Its secrets, with the values, which no response contains.
        volumes: Its mounts, as JSON.
        storage: Tier of the legacy persistent storage.
        dev_mode: Whether dev mode is on.
        replicas: Number of replicas requested; "auto" runs and bills one.
        free_grant: Whether the Hub grants its hardware; from the next change on.
        load: What its replicas measure; None is a CPU that goes up with each
            measurement, and no network.
        domains: Its custom domains, as JSON.
        files: Sizes of its files by name.
        tags: Its tags.
        likes: Number of likes.
        trending_score: Its trending score.
        models: Models that it uses.
        datasets: Datasets that it uses.
        card: The metadata of its README.
        settings: The fields sent to `PUT /settings`, apart from the visibility.
        resource_group: Id of its resource group.
        disabled: Whether the Hub has disabled it.
        runtime_fields: Fields that its runtime has in addition, or instead of its own.
        app_status: What its app answers at `/_app/{subdomain}/...` while it runs: a
            status, or a function of the path that returns one.
        app_keys: Keys to the app that were handed out, and until when they are good.
        over_quota: The error message with which its next start ends in PAUSED; None
            lets it start.
        restarts: Number of restarts through the API, not counting factory reboots.
        factory_reboots: Number of factory reboots.
        pauses: Number of pauses.
        config_restarts: Number of restarts because of a written variable or secret.
        fails_with: The stage in which each build or start ends; None lets it run.
        failure_message: The error message of that stage.
    """

    def __init__(
        self,
        timeline: _Timeline,
        repo_id: str,
        *,
        oid: str,
        sha: str,
        sdk: str = "gradio",
        hardware: str = FREE_FLAVOR,
        visibility: Visibility = "public",
        creator: str | None = None,
        files: Mapping[str, int] | None = None,
        ledger: Ledger,
    ) -> None:
        is_static = check(sdk, SDKS, "an SDK") == "static"
        super().__init__(timeline, flavor=flavor_of(hardware), is_static=is_static)
        self.id = repo_id
        self.oid = oid
        self.sdk = str(sdk)
        self.creator = creator
        self.visibility: Visibility = visibility
        self.created_at = timeline.at(timeline.now())
        self.last_modified = self.created_at
        self.head_sha = sha
        self.variables: dict[str, Setting] = SnapshotDict()
        self.secrets: dict[str, Setting] = SnapshotDict()
        self.volumes: list[dict[str, Any]] = []
        self.storage: str | None = None
        self.dev_mode = False
        self._ledger = ledger
        self._replicas: int | Literal["auto"] = 1
        self.free_grant = False
        self.app_status: int | Callable[[str], int] = 200
        self.app_keys: dict[str, float] = {}
        self.load: Mapping[str, Any] | None = None
        self.domains: list[dict[str, Any]] = []
        self.files: dict[str, int] = SnapshotDict(files or self.default_files(sdk))
        self.tags: list[str] = [sdk, "region:us"]
        self.likes = 0
        self.trending_score = 0
        self.models: list[str] = []
        self.datasets: list[str] = []
        self.card: dict[str, Any] = {"title": self.name, "emoji": "🚀", "sdk": sdk}
        self.short_description: str | None = None
        self.settings: dict[str, Any] = {}
        self.resource_group: str | None = None
        self.disabled = False
        self.runtime_fields: dict[str, Any] = {}
        self.region = "us"

    @staticmethod
    def default_files(sdk: str) -> dict[str, int]:
        """Return the files that an app with this SDK needs."""
        return {".gitattributes": 1519, "README.md": 240, app_file(sdk): 410}

    @property
    def author(self) -> str:
        """User or org that owns it."""
        return self.id.partition("/")[0]

    @property
    def name(self) -> str:
        """The part of the id after the slash."""
        return self.id.partition("/")[2]

    @property
    def private(self) -> bool:
        """Whether its repository is hidden from the public."""
        return self.visibility != "public"

    @property
    def subdomain(self) -> str:
        """Its name under hf.space."""
        return re.sub(r"[^a-z0-9]+", "-", self.id.lower()).strip("-")

    @property
    def sha(self) -> str:
        """The newest commit."""
        return self.head_sha

    @property
    def replicas(self) -> int | Literal["auto"]:
        """Number of replicas requested."""
        return self._replicas

    @replicas.setter
    def replicas(self, count: int | Literal["auto"]) -> None:
        with self.lock:
            self.settle()
            self._replicas = count
            self.note_use()

    @property
    def replica_count(self) -> int:
        """Number of replicas that run and are billed: "auto" is one."""
        return 1 if self._replicas == "auto" else self._replicas

    @guarded
    def note_use(self) -> None:
        """Note what is billed from now on: after a change of its id or replicas."""
        self._note_use(self._timeline.now())

    def _note_use(self, at: float) -> None:
        self._ledger.note(self, self._billed_flavor(), at)

    def collides(self) -> bool:
        """Whether a name is both a variable and a secret."""
        return not self.variables.keys().isdisjoint(self.secrets)

    def has_app(self) -> bool:
        """Whether it has the file that its SDK starts."""
        return app_file(self.sdk) in self.files

    @guarded
    def set_config(
        self,
        kind: Literal["variables", "secrets"],
        key: str,
        value: str,
        description: str | None = None,
    ) -> None:
        """Write a variable or secret; None keeps the old description."""
        store = self.variables if kind == "variables" else self.secrets
        if description is None and key in store:
            description = store[key].description
        when = self._timeline.at(self._timeline.now())
        store[key] = Setting(value, description, when)

    @guarded
    def configure(
        self, variables: Mapping[str, str], secrets: Mapping[str, str]
    ) -> None:
        """Write several variables and secrets, without a restart."""
        for key, value in variables.items():
            self.set_config("variables", key, value)
        for key, value in secrets.items():
            self.set_config("secrets", key, value)

    @guarded
    def commit(self, sha: str, files: Mapping[str, int] | None = None) -> None:
        """Push a commit, which is built while the old version keeps running."""
        self.settle()
        self.files.update(files or {})
        self.head_sha = sha
        self.last_modified = self._timeline.at(self._timeline.now())
        if not self.is_static and self.stage not in {
            SpaceStage.PAUSED,
            SpaceStage.STOPPED,
        }:
            self.build()

    def _failure(self) -> Failure | None:
        if not self.has_app():
            return Failure(SpaceStage.NO_APP_FILE)
        return super()._failure()


def app_file(sdk: str) -> str:
    """Return the file that a Space with this SDK starts."""
    return _APP_FILES.get(sdk, "app.py")


def volumes_of(volumes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add `readOnly` to volumes as the Hub does: repositories are read-only."""
    return [
        {**volume, "readOnly": True}
        if volume.get("type") != "bucket"
        else {"readOnly": False, **volume}
        for volume in volumes
    ]
