"""Each write that the package knows, in one table.

A row has the request, the state of the Space before and after, the method, bulk method
and command for it, and what shows afterwards whether it was done. The tests of
resources, retries, bulks, journals and the shell take their rows from here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, Literal

import pytest
from attrs import Factory, field, frozen

import spaces_async as sa
from spaces_async._operations import writes
from spaces_async._operations.write import AnyWrite
from spaces_async.testing import FakeHub, FakeSpace

_KEYWORD_ONLY: Final = inspect.Parameter.KEYWORD_ONLY

EvidenceFrom = Literal["listing", "read", "nothing"]

SECRET: Final = "s3cret-Value-1"
MODEL: Final = {
    "type": "model",
    "source": "acme/m",
    "mountPath": "/m",
    "readOnly": True,
}
BUCKET: Final = {
    "type": "bucket",
    "source": "acme/b",
    "mountPath": "/data",
    "readOnly": False,
}
ORG: Final = "acme"
HARDWARE: Final = "t4-small"
"""On paid hardware: on cpu-basic there are no replicas, and the sleep time is fixed."""

START: Final[Mapping[str, Any]] = {
    "stage": "RUNNING",
    "hardware": HARDWARE,
    "sleep_time": None,
    "replicas": 1,
    "dev_mode": False,
    "visibility": "public",
    "variables": {},
    "secrets": {},
    "volumes": [],
    "domains": [],
    "storage": None,
}
"""How each Space is where a row says nothing else: all that is compared."""


def put(space: FakeSpace, state: Mapping[str, Any]) -> None:
    """Bring a Space into a state; what the state does not name stays."""
    given = dict(state)
    stage = given.pop("stage", str(space.stage))
    if "hardware" in given:
        space.requested_hardware = given.pop("hardware")
    if "sleep_time" in given:
        space.set_sleep_time(given.pop("sleep_time"))
    kinds: tuple[Literal["variables", "secrets"], ...] = ("variables", "secrets")
    for kind in kinds:
        if (entries := given.pop(kind, None)) is not None:
            getattr(space, kind).clear()
            for key, value in entries.items():
                told: tuple[str, ...] = value if isinstance(value, tuple) else (value,)
                space.set_config(kind, key, *told)
    if "domains" in given:
        names = given.pop("domains")
        space.domains = [{"domain": n, "stage": "READY"} for n in names]
    for name, value in given.items():
        setattr(space, name, value)
    space.set_stage(stage)


def seen(space: FakeSpace) -> dict[str, Any]:
    """Return the state of a Space, of which a secret's value is a part."""
    return {name: _READ.get(name, attrgetter(name))(space) for name in START}


def _entries(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: (one.value, one.description) if one.description else one.value
        for key, one in settings.items()
    }


_READ: Final[Mapping[str, Callable[[FakeSpace], Any]]] = {
    "stage": lambda space: str(space.stage),
    "hardware": lambda space: space.requested_hardware,
    "variables": lambda space: _entries(space.variables),
    "secrets": lambda space: _entries(space.secrets),
    "volumes": lambda space: [dict(volume) for volume in space.volumes],
    "domains": lambda space: [domain["domain"] for domain in space.domains],
}
"""How what a Space has no attribute of that name for is read."""


def add_spaces(hub: FakeHub, repo_ids: Iterable[str]) -> None:
    """Add Spaces in the state that all rows start from."""
    for repo_id in repo_ids:
        hub.add_space(repo_id, hardware=HARDWARE)


@frozen(kw_only=True)
class Row:
    """One write, or one use of it.

    Attributes:
        id: What the test is called.
        name: The function in `writes`, which is the name of the operation, too. Unless
            given, it is the id up to its first hyphen.
        arguments: What it is made of.
        method: HTTP method.
        path: End of the path.
        query: The query.
        bodies: The JSON of each request that is sent; None is no body.
        returns: Type of the result.
        before: How the Space is before, where that is not `START`.
        after: What is different when it is done; None: it is gone.
        call: The resource's method, such as "lifecycle.pause".
        passed: Its positional arguments after the id. Where neither these nor the
            keyword arguments are given, `arguments` are passed, as its signature has
            them.
        options: Its keyword arguments.
        command: What is typed in the shell for it, without the ids.
        hf_api: The methods of `HfApi` for it.
        idempotent: Whether it may be repeated when its outcome is not known.
        evidence_from: What shows whether it was done: a listing of the owner, a read of
            each Space, or nothing.
        sent_again: Whether a lost one is sent again even though it was done: where
            nothing shows it, or a repeat costs less than a look.
        reads: Requests that read the state before each write.
        in_container: Whether a static Space cannot have it.
        already: Whether a state can make it needless.
        invertible: Whether the state before can be brought back.
        in_bulk: Whether `client.bulk` has it.
    """

    id: str
    name: str = field(
        default=Factory(lambda row: row.id.partition("-")[0], takes_self=True)
    )
    arguments: Mapping[str, Any] = field(factory=dict[str, Any])
    method: str = "POST"
    path: str
    query: str = ""
    bodies: tuple[Any, ...] = (None,)
    returns: type = sa.SpaceRuntime
    before: Mapping[str, Any] = field(factory=dict[str, Any])
    after: Mapping[str, Any] | None
    call: str | None
    passed: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(factory=dict[str, Any])
    command: tuple[str, ...] | None = None
    hf_api: tuple[str, ...] = ()
    idempotent: bool = True
    evidence_from: EvidenceFrom = "listing"
    sent_again: bool = field(
        default=Factory(lambda row: row.evidence_from == "nothing", takes_self=True)
    )
    reads: int = 0
    in_container: bool = True
    already: bool = True
    invertible: bool = False
    in_bulk: bool = True

    def __attrs_post_init__(self) -> None:
        if unknown := {*self.before, *(self.after or {})} - START.keys():
            raise ValueError(
                f"the row {self.id!r} sets {', '.join(sorted(unknown))}, which START"
                " lacks: add there how each Space is before"
            )

    def make(self) -> AnyWrite:
        """Make the operation."""
        made: AnyWrite = getattr(writes, self.name)(**self.arguments)
        return made

    async def invoke(self, client: sa.SpacesClient, repo_id: Any) -> Any:
        """Use the method of the resource."""
        assert self.call is not None
        method = attrgetter(self.call)(client)
        passed, options = self.passed, self.options
        if not passed and not options:
            kinds = inspect.signature(method).parameters
            by_name = {n for n in self.arguments if kinds[n].kind is _KEYWORD_ONLY}
            passed = tuple(v for n, v in self.arguments.items() if n not in by_name)
            options = {n: self.arguments[n] for n in by_name}
        return await method(repo_id, *passed, **options)

    async def bulk(
        self, client: sa.SpacesClient, targets: Any, **options: Any
    ) -> sa.BulkReport[Any]:
        """Use the method of `client.bulk`."""
        method: Callable[..., Any] = getattr(client.bulk, self.name)
        report: sa.BulkReport[Any] = await method(targets, **self.arguments, **options)
        return report

    @property
    def requests(self) -> int:
        """How many requests one Space takes in a bulk."""
        return len(self.bodies) + self.reads

    @property
    def route(self) -> str:
        """Its route, as faults take it."""
        return f"{self.method} {self.path}"

    def prepare(self, hub: FakeHub, *repo_ids: str) -> None:
        """Bring Spaces into the state before."""
        for repo_id in repo_ids:
            put(hub.space(repo_id), {**START, **self.before})

    def finish(self, hub: FakeHub, *repo_ids: str) -> None:
        """Bring Spaces into the state after, as if it had been done."""
        for repo_id in repo_ids:
            if self.after is None:
                del hub.spaces[repo_id]
            else:
                put(hub.space(repo_id), {**START, **self.before, **self.after})

    def check_done(self, hub: FakeHub, *repo_ids: str) -> None:
        """Check that all these Spaces are in the state after."""
        found = {i: seen(hub.space(i)) for i in repo_ids if i in hub.spaces}
        if self.after is None:
            assert found == {}
        else:
            wanted = {**START, **self.before, **self.after}
            assert found == dict.fromkeys(repo_ids, wanted)

    def sent_to(self, hub: FakeHub) -> int:
        """Return how many of its writes have reached the Hub."""
        return hub.count(self.method, self.path)


_RUN = (
    Row(
        id="restart",
        path="/restart",
        before={"stage": "PAUSED"},
        after={"stage": "BUILDING"},
        call="lifecycle.restart",
        command=("restart",),
        hf_api=("restart_space",),
        idempotent=False,
        already=False,
    ),
    Row(
        id="factory_reboot",
        name="restart",
        arguments={"factory_reboot": True},
        path="/restart",
        query="factory=true",
        after={"stage": "BUILDING"},
        call="lifecycle.restart",
        command=("restart", "--factory"),
        hf_api=("restart_space",),
        idempotent=False,
        already=False,
    ),
    Row(
        id="pause",
        path="/pause",
        after={"stage": "PAUSED"},
        call="lifecycle.pause",
        command=("pause",),
        hf_api=("pause_space",),
        invertible=True,
    ),
    Row(
        id="request_hardware",
        arguments={"flavor": "a10g-small"},
        path="/hardware",
        bodies=({"flavor": "a10g-small"},),
        after={"hardware": "a10g-small"},
        call="hardware.request_hardware",
        command=("hardware", "a10g-small"),
        hf_api=("request_space_hardware",),
        invertible=True,
    ),
    Row(
        id="request_hardware-sleep",
        arguments={"flavor": "a10g-small", "sleep_time": 600},
        path="/hardware",
        bodies=({"flavor": "a10g-small", "sleepTimeSeconds": 600},),
        before={"sleep_time": 7200},
        after={"hardware": "a10g-small", "sleep_time": 600},
        call="hardware.request_hardware",
        command=("hardware", "a10g-small", "--sleep-time", "10m"),
        hf_api=("request_space_hardware",),
        invertible=True,
    ),
    Row(
        id="set_sleep_time",
        arguments={"seconds": 7200},
        path="/sleeptime",
        bodies=({"seconds": 7200},),
        after={"sleep_time": 7200},
        call="hardware.set_sleep_time",
        command=("sleep-time", "2h"),
        hf_api=("set_space_sleep_time",),
        invertible=True,
        sent_again=True,
    ),
    Row(
        id="set_sleep_time-never",
        arguments={"seconds": -1},
        path="/sleeptime",
        bodies=({"seconds": -1},),
        before={"sleep_time": 600},
        after={"sleep_time": None},
        call="hardware.set_sleep_time",
        command=("sleep-time", "never"),
        hf_api=("set_space_sleep_time",),
        invertible=True,
        sent_again=True,
    ),
    Row(
        id="set_replicas",
        arguments={"replicas": 3},
        path="/replicas",
        bodies=({"replicas": 3},),
        after={"replicas": 3},
        call="hardware.set_replicas",
        command=("replicas", "3"),
        invertible=True,
    ),
    Row(
        id="set_dev_mode-on",
        arguments={"enabled": True},
        path="/dev-mode",
        bodies=({"enabled": True},),
        after={"dev_mode": True},
        call="config.set_dev_mode",
        command=("dev-mode", "on"),
        hf_api=("enable_space_dev_mode", "disable_space_dev_mode"),
        invertible=True,
    ),
    Row(
        id="set_dev_mode-off",
        arguments={"enabled": False},
        path="/dev-mode",
        bodies=({"enabled": False},),
        before={"dev_mode": True},
        after={"dev_mode": False},
        call="config.set_dev_mode",
        command=("dev-mode", "off"),
        invertible=True,
    ),
)
_KEYS = (
    Row(
        id="add_variable",
        arguments={"key": "K", "value": "v"},
        path="/variables",
        bodies=({"key": "K", "value": "v"},),
        returns=sa.SpaceVariable,
        after={"variables": {"K": "v"}},
        call="config.add_variable",
        command=("variables", "add", "--set", "K=v"),
        hf_api=("add_space_variable",),
        evidence_from="read",
        in_container=False,
        invertible=True,
    ),
    Row(
        id="add_variable-other-value",
        arguments={"key": "K", "value": "v", "description": "d"},
        path="/variables",
        bodies=({"key": "K", "value": "v", "description": "d"},),
        returns=sa.SpaceVariable,
        before={"variables": {"K": ("u", "c"), "L": "w"}},
        after={"variables": {"K": ("v", "d"), "L": "w"}},
        call="config.add_variable",
        command=("variables", "add", "--set", "K=v", "--description", "d"),
        hf_api=("add_space_variable",),
        evidence_from="read",
        in_container=False,
        invertible=True,
    ),
    Row(
        id="add_variables",
        arguments={"variables": {"K": "v", "L": "w"}},
        path="/variables",
        bodies=({"key": "K", "value": "v"}, {"key": "L", "value": "w"}),
        returns=list,
        after={"variables": {"K": "v", "L": "w"}},
        call="config.add_variables",
        command=("variables", "add", "--set", "K=v", "--set", "L=w"),
        evidence_from="read",
        in_container=False,
    ),
    Row(
        id="delete_variable",
        arguments={"key": "K"},
        method="DELETE",
        path="/variables",
        bodies=({"key": "K"},),
        returns=dict,
        before={"variables": {"K": "v", "L": "w"}},
        after={"variables": {"L": "w"}},
        call="config.delete_variable",
        command=("variables", "delete", "--key", "K"),
        hf_api=("delete_space_variable",),
        evidence_from="read",
        in_container=False,
        invertible=True,
    ),
    Row(
        id="delete_variables",
        arguments={"keys": ["K", "L"]},
        method="DELETE",
        path="/variables",
        bodies=({"key": "K"}, {"key": "L"}),
        returns=list,
        before={"variables": {"K": "v", "L": "w"}},
        after={"variables": {}},
        call=None,
        command=("variables", "delete", "--key", "K", "--key", "L"),
        evidence_from="read",
        in_container=False,
    ),
    Row(
        id="add_secret",
        arguments={"key": "K", "value": SECRET},
        path="/secrets",
        bodies=({"key": "K", "value": SECRET},),
        returns=type(None),
        after={"secrets": {"K": SECRET}},
        call="config.add_secret",
        command=("secrets", "add", "--set", f"K={SECRET}"),
        hf_api=("add_space_secret",),
        evidence_from="read",
        in_container=False,
        already=False,
        sent_again=True,
    ),
    Row(
        id="add_secrets",
        arguments={"secrets": {"K": SECRET, "L": SECRET}},
        path="/secrets",
        bodies=({"key": "K", "value": SECRET}, {"key": "L", "value": SECRET}),
        returns=list,
        after={"secrets": {"K": SECRET, "L": SECRET}},
        call="config.add_secrets",
        command=("secrets", "add", "--set", f"K={SECRET}", "--set", f"L={SECRET}"),
        evidence_from="read",
        in_container=False,
        already=False,
    ),
    Row(
        id="delete_secret",
        arguments={"key": "K"},
        method="DELETE",
        path="/secrets",
        bodies=({"key": "K"},),
        returns=type(None),
        before={"secrets": {"K": SECRET}},
        after={"secrets": {}},
        call="config.delete_secret",
        command=("secrets", "delete", "--key", "K"),
        hf_api=("delete_space_secret",),
        evidence_from="read",
        in_container=False,
    ),
    Row(
        id="delete_secrets",
        arguments={"keys": ["K", "L"]},
        method="DELETE",
        path="/secrets",
        bodies=({"key": "K"}, {"key": "L"}),
        returns=list,
        before={"secrets": {"K": SECRET, "L": SECRET}},
        after={"secrets": {}},
        call=None,
        command=("secrets", "delete", "--key", "K", "--key", "L"),
        evidence_from="read",
        in_container=False,
    ),
)
_SEEN = (
    Row(
        id="set_visibility-private",
        arguments={"private": True},
        method="PUT",
        path="/settings",
        bodies=({"visibility": "private"},),
        returns=type(None),
        after={"visibility": "private"},
        call="config.set_visibility",
        command=("visibility", "private"),
        in_container=False,
        already=False,
        invertible=True,
        sent_again=True,
    ),
    Row(
        id="set_visibility-public",
        arguments={"visibility": "public"},
        method="PUT",
        path="/settings",
        bodies=({"visibility": "public"},),
        returns=type(None),
        before={"visibility": "private"},
        after={"visibility": "public"},
        call="config.set_visibility",
        command=("visibility", "public"),
        in_container=False,
        sent_again=True,
    ),
    Row(
        id="set_custom_domain",
        arguments={"domain": "demo.acme.com"},
        path="/custom-domain",
        bodies=({"domain": "demo.acme.com"},),
        returns=type(None),
        after={"domains": ["demo.acme.com"]},
        call="config.set_custom_domain",
        evidence_from="nothing",
        in_container=False,
        already=False,
    ),
)
_NEW_MODEL: Final = {k: v for k, v in MODEL.items() if k != "readOnly"}
_NEW_BUCKET: Final = {k: v for k, v in BUCKET.items() if k != "readOnly"}
_KEPT = (
    Row(
        id="set_volumes",
        arguments={"volumes": ["hf://acme/m:/m"]},
        method="PUT",
        path="/volumes",
        bodies=({"volumes": [_NEW_MODEL]},),
        returns=type(None),
        before={"volumes": [BUCKET]},
        after={"volumes": [MODEL]},
        call="storage.set_volumes",
        passed=(["hf://acme/m:/m"],),
        command=("volumes", "set", "hf://acme/m:/m"),
        hf_api=("set_space_volumes",),
        evidence_from="read",
        invertible=True,
    ),
    Row(
        id="add_volumes",
        arguments={"volumes": ["hf://buckets/acme/b:/data"]},
        method="PUT",
        path="/volumes",
        bodies=({"volumes": [MODEL, _NEW_BUCKET]},),
        returns=tuple,
        before={"volumes": [MODEL]},
        after={"volumes": [MODEL, BUCKET]},
        call="storage.add_volume",
        passed=("hf://buckets/acme/b:/data",),
        command=("volumes", "add", "hf://buckets/acme/b:/data"),
        evidence_from="read",
        reads=1,
    ),
    Row(
        id="remove_volumes",
        arguments={"mount_paths": ["/data"]},
        method="PUT",
        path="/volumes",
        bodies=({"volumes": [MODEL]},),
        returns=tuple,
        before={"volumes": [BUCKET, MODEL]},
        after={"volumes": [MODEL]},
        call="storage.remove_volume",
        passed=("/data",),
        command=("volumes", "remove", "/data"),
        evidence_from="read",
        reads=1,
    ),
    Row(
        id="delete_volumes",
        method="DELETE",
        path="/volumes",
        returns=type(None),
        before={"volumes": [MODEL]},
        after={"volumes": []},
        call="storage.delete_volumes",
        command=("volumes", "delete"),
        hf_api=("delete_space_volumes",),
        evidence_from="read",
        reads=1,
        invertible=True,
    ),
    Row(
        id="request_storage",
        arguments={"tier": "small"},
        path="/storage",
        bodies=({"tier": "small"},),
        after={"storage": "small"},
        call="storage.request_storage",
        command=("storage", "request", "small"),
        hf_api=("request_space_storage",),
    ),
    Row(
        id="delete_storage",
        method="DELETE",
        path="/storage",
        before={"storage": "small"},
        after={"storage": None},
        call="storage.delete_storage",
        command=("storage", "delete"),
        hf_api=("delete_space_storage",),
    ),
)
IN_PLACE: Final = (*_RUN, *_KEYS, *_SEEN, *_KEPT)
"""Those after which the Space is still there, at its place."""

DELETE: Final = Row(
    id="delete",
    name="delete",
    method="DELETE",
    path="/api/repos/delete",
    bodies=({"name": "demo", "organization": ORG, "type": "space"},),
    returns=type(None),
    after=None,
    call="lifecycle.delete",
    command=("delete",),
    hf_api=("delete_repo",),
    idempotent=False,
    evidence_from="read",
    in_container=False,
)
SINGLE: Final = (
    Row(
        id="create",
        arguments={"repo_id": "acme/new", "sdk": "docker"},
        path="/api/repos/create",
        bodies=(
            {"name": "new", "organization": "acme", "type": "space", "sdk": "docker"},
        ),
        returns=sa.CreatedSpace,
        after={},
        call="lifecycle.create",
        options={"sdk": "docker"},
        command=("create",),
        hf_api=("create_repo",),
        idempotent=False,
        evidence_from="read",
        in_container=False,
        in_bulk=False,
    ),
    Row(
        id="duplicate",
        arguments={"to_id": "tester/copy"},
        path="/duplicate",
        bodies=({"repository": "tester/copy"},),
        returns=sa.CreatedSpace,
        after={},
        call="lifecycle.duplicate",
        passed=("tester/copy",),
        command=("duplicate",),
        hf_api=("duplicate_repo", "duplicate_space"),
        idempotent=False,
        evidence_from="read",
        in_container=False,
        in_bulk=False,
    ),
    Row(
        id="move",
        arguments={"to_id": "acme/moved"},
        path="/api/repos/move",
        bodies=(
            {"fromRepo": "acme/demo", "toRepo": "acme/moved", "type": "space"},
        ),
        returns=type(None),
        after={},
        call="lifecycle.move",
        passed=("acme/moved",),
        command=("move",),
        hf_api=("move_repo",),
        idempotent=False,
        evidence_from="read",
        in_container=False,
        in_bulk=False,
    ),
    Row(
        id="update_settings",
        arguments={"gated": "auto"},
        method="PUT",
        path="/settings",
        bodies=({"gated": "auto"},),
        returns=type(None),
        after={},
        call=None,
        hf_api=("update_repo_settings",),
        evidence_from="nothing",
        in_container=False,
        in_bulk=False,
    ),
)  # fmt: skip
IN_BULK: Final = (*IN_PLACE, DELETE)
"""Those of `client.bulk`."""
ROWS: Final = (*IN_BULK, *SINGLE)


def rows(
    chosen: Iterable[Row], only: Callable[[Row], object] = bool
) -> pytest.MarkDecorator:
    """Parametrize a test over rows.

    Args:
        chosen: The rows.
        only: Which of them.
    """
    found = [pytest.param(row, id=row.id) for row in chosen if only(row)]
    return pytest.mark.parametrize("row", found)


def one_per_write(chosen: Iterable[Row]) -> list[Row]:
    """Return the first row of each write."""
    return list({row.name: row for row in reversed(list(chosen))}.values())[::-1]
