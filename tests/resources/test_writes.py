"""Each write, once: what it is made of, what goes out, what undoes it."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

import pytest
import pytest_asyncio
from huggingface_hub import HfApi

import spaces_async as sa
from spaces_async._operations import writes
from spaces_async._operations.state import has_changed, shown
from spaces_async._operations.write import Write
from spaces_async._redacted import STARS
from spaces_async.bulk import operations
from spaces_async.bulk._bulk import Bulk
from spaces_async.testing import FakeHub, ManualClock
from tests.support.hub_mock import FEW_BAD_REPO_IDS, HubMock, check_not_sent
from tests.support.official import needs_official
from tests.support.writes_table import (
    IN_BULK,
    IN_PLACE,
    ROWS,
    SECRET,
    Row,
    add_spaces,
    one_per_write,
    put,
    rows,
    seen,
)

DEMO: Final = "acme/demo"
IN_RESOURCES: Final = [row for row in ROWS if row.call]

# The parameters -------------------------------------------------------------------

TARGETS: Final = {"repo_id", "targets", "options", "from_id"}
"""What a write is not made of: which Space, and how a bulk goes about it."""

LONE: Final[Mapping[str, str]] = {
    "volumes": "volume",
    "mount_paths": "mount_path",
}
"""Where a resource takes one and a bulk several."""

MEANT_IN_RESOURCES: Final[Mapping[str, set[str]]] = {
    "add_variable": {"+check_collision=False"},
    "add_secret": {"+check_collision=False"},
    "add_variables": {"-description=None"},
    "add_secrets": {"-description=None"},
    "create": {"+exist_ok=False"},
    "duplicate": {"-to_id", "+to_id=None"},
}
"""Each is a read before the write, or a write that is left out, or made up."""

OF_HF_API: Final[Mapping[str, str]] = {
    "flavor": "hardware",
    "seconds": "sleep_time",
    "tier": "storage",
    "sdk": "space_sdk",
    "template": "space_template",
}
NEW: Final = ("hardware", "sleep_time", "secrets", "variables", "volumes")
"""In `create_repo` and `duplicate_repo` these begin with `space_`."""

MEANT_IN_HF_API: Final[Mapping[str, set[str]]] = {
    # It has a method for each.
    "enable_space_dev_mode": {"-enabled"},
    "disable_space_dev_mode": {"-enabled"},
    # Without a template it needs an SDK, and with one it does not.
    "create_repo": {
        "-sdk", "+space_sdk=None", "+exist_ok=False",
        "-short_description=None", "-sdk_version=None", "-dev_mode=None",
        "-license=None", "-files=None",
    },
    "duplicate_repo": {
        "-to_id", "+to_id=None", "+exist_ok=False", "-storage=None"
    },
    "duplicate_space": {
        "-to_id", "+to_id=None", "+exist_ok=False", "-visibility=None",
        "-volumes=None", "-resource_group_id=None",
    },
}  # fmt: skip


def parameters(function: Callable[..., Any], *, without: Iterable[str]) -> list[str]:
    """Return parameters with their defaults, such as "private=None"."""
    return [
        str(parameter.replace(annotation=inspect.Parameter.empty))
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in {"self", *without}
    ]


def made_of(row: Row) -> list[str]:
    without = {"repo_id"} if row.name == "create" else set[str]()
    return parameters(getattr(writes, row.name), without=without)


def differences(ours: Iterable[str], theirs: Iterable[str]) -> set[str]:
    """Return what theirs lacks as "-name", and what it has beside it as "+name"."""
    one, other = set(ours), set(theirs)
    return {f"-{gone}" for gone in one - other} | {f"+{more}" for more in other - one}


def is_keyword_only(function: Callable[..., Any], names: Iterable[str]) -> set[str]:
    kinds = inspect.signature(function).parameters
    return {n for n in names if kinds[n].kind is inspect.Parameter.KEYWORD_ONLY}


@rows(one_per_write(IN_BULK))
def test_parameters_in_a_bulk(row: Row) -> None:
    """Names, order and defaults are those of the write; all of them by keyword."""
    method = getattr(Bulk, row.name)
    names = parameters(method, without=TARGETS)
    assert names == made_of(row)
    plain = [name.partition("=")[0] for name in names]
    assert is_keyword_only(method, plain) == set(plain)
    first, *_, last = inspect.signature(method).parameters.values()
    assert first.name == "self"
    assert last.kind is inspect.Parameter.VAR_KEYWORD


@rows(one_per_write(IN_RESOURCES))
def test_parameters_of_a_resource(row: Row) -> None:
    """Names, kinds, order and defaults are those of the write, after the id.

    What differs is named here: nothing else may drift apart.
    """
    assert row.call is not None
    resource, name = row.call.split(".")
    kind = type(getattr(sa.SpacesClient(token=False), resource))
    method = getattr(kind, name)
    wanted = [LONE.get(p, p) if name.endswith("_volume") else p for p in made_of(row)]
    found = parameters(method, without=TARGETS)
    assert differences(wanted, found) == MEANT_IN_RESOURCES.get(row.name, set())
    shared = [p for p in found if p in wanted]
    assert shared == [p for p in wanted if p in found]
    plain = [p.partition("=")[0] for p in shared]
    ours = getattr(writes, row.name)
    before = {LONE.get(n, n) if name.endswith("_volume") else n: n for n in
              inspect.signature(ours).parameters}  # fmt: skip
    keywords = is_keyword_only(ours, (before[p] for p in plain))
    assert is_keyword_only(method, plain) == {p for p in plain if before[p] in keywords}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(row, name, id=name)
        for row in one_per_write(ROWS)
        for name in row.hf_api
    ]
    + [pytest.param(next(r for r in ROWS if r.id == "set_dev_mode-on"),
                    "disable_space_dev_mode", id="dev-mode-off")],
)  # fmt: skip
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(HfApi, id="theirs", marks=needs_official),
        pytest.param(sa.AsyncHfApi, id="ours"),
    ],
)
def test_parameters_of_hf_api(row: Row, name: str, kind: type) -> None:
    """They are those of the write by other names, and a token comes with each."""
    method = getattr(kind, name, None)
    if method is None:
        assert kind is HfApi, "the storage methods and duplicate_space are of 1.x"
        assert name in {
            "request_space_storage",
            "delete_space_storage",
            "duplicate_space",
        }
        return
    renamed = dict(OF_HF_API)
    if name in {"create_repo", "duplicate_repo"}:
        renamed |= {word: f"space_{word}" for word in NEW}
    ours = []
    for parameter in made_of(row):
        plain, equals, default = parameter.partition("=")
        ours.append(f"{renamed.get(plain, plain)}{equals}{default}")
    given = {*TARGETS, "token", "repo_type"}
    found = parameters(method, without=given)
    meant = {
        f"{one[0]}{renamed.get(one[1:], one[1:])}"
        for one in MEANT_IN_HF_API.get(name, set())
    }
    assert differences(ours, found) == meant
    assert "token" in inspect.signature(method).parameters


def test_every_write_has_a_row() -> None:
    """A write without a row, or one that a bulk cannot do, is noticed here."""
    defined = {
        name
        for name, made in vars(writes).items()
        if inspect.isfunction(made)
        and hasattr(made, "__wrapped__")
        and made.__module__ == writes.__name__
    }
    assert {row.name for row in ROWS} == defined
    names = {row.name for row in IN_BULK}
    assert operations.BY_NAME.keys() == names
    assert names < {name for name in dir(Bulk) if not name.startswith("_")}
    for name in names:
        assert getattr(operations, name) is getattr(writes, name)


# What goes out ----------------------------------------------------------------------


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    """Time that passes as soon as something waits for it."""
    return ManualClock(auto=True)


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub with one Space, which builds in a second."""
    async with FakeHub(clock=clock, build_seconds=1, config_restarts=False) as hub:
        add_spaces(hub, [DEMO])
        yield hub


@pytest_asyncio.fixture
async def timed(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client of its owner's."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


@rows(IN_RESOURCES)
async def test_a_resource_sends_exactly_its_write(
    timed: sa.SpacesClient, hub: FakeHub, row: Row
) -> None:
    """The requests of the row go out and no other write; the state is as wanted."""
    if row.in_bulk:
        row.prepare(hub, DEMO)
    target = "acme/new" if row.name == "create" else DEMO
    result = await row.invoke(timed, target)
    assert isinstance(result, row.returns)
    sent = [request for request in hub.requests if request.method != "GET"]
    assert [(r.method, r.json) for r in sent] == [(row.method, b) for b in row.bodies]
    assert all(request.path.endswith(row.path) for request in sent)
    assert all(
        "&".join(f"{k}={v}" for k, v in request.query) == row.query for request in sent
    )
    if row.in_bulk:
        row.check_done(hub, DEMO)


@rows(ROWS)
def test_what_has_a_default_can_be_left_out(row: Row) -> None:
    """A write is made of the arguments of its row alone; a preview stars its secret."""
    made = row.make()
    if not isinstance(made, Write):
        return
    shown = made.preview(None if made.makes_a_space else DEMO)
    (body,) = json.loads(json.dumps(row.bodies).replace(SECRET, STARS))
    query = f"?{row.query}" if row.query else ""
    assert (shown.method, shown.body) == (row.method, body)
    assert shown.path.endswith(f"{row.path}{query}")
    if not made.hidden or row.name in {"create", "duplicate"}:  # of no secrets
        again = getattr(writes, row.name)(**made.parameters or {})
        assert again.preview(None if made.makes_a_space else DEMO) == shown


@pytest.mark.parametrize("repo_id", FEW_BAD_REPO_IDS, ids=repr)
@rows(one_per_write(r for r in IN_RESOURCES if r.name != "create"))
async def test_malformed_id_is_not_sent(
    mock: HubMock, client: sa.SpacesClient, row: Row, repo_id: Any
) -> None:
    """A malformed id is refused before anything is sent, and shows no secret."""
    error = await check_not_sent(mock, client, lambda: row.invoke(client, repo_id))
    assert SECRET not in str(error)


@pytest.mark.parametrize("repo_id", FEW_BAD_REPO_IDS, ids=repr)
@pytest.mark.parametrize(
    "name",
    [
        "lifecycle.get_runtime",
        "lifecycle.wait_until",
        "config.get_variables",
        "config.get_secrets",
        "storage.get_volumes",
    ],
)
async def test_malformed_id_is_not_read(
    mock: HubMock, client: sa.SpacesClient, name: str, repo_id: Any
) -> None:
    """So it is by what only reads."""
    method = attrgetter(name)(client)
    await check_not_sent(mock, client, lambda: method(repo_id))


# What undoes it --------------------------------------------------------------------


@rows(IN_PLACE)
async def test_the_inverse_brings_the_state_before_back(
    timed: sa.SpacesClient, hub: FakeHub, clock: ManualClock, row: Row
) -> None:
    """State before, write, inverse, state before; a write has one or says that not.

    The inverse is made from what a journal keeps of the state.
    """
    made = row.make()
    inverse = made.inverse if isinstance(made, Write) else None
    assert (inverse is not None) is row.invertible
    if not isinstance(made, Write) or inverse is None:
        return
    session = timed._session
    row.prepare(hub, DEMO)
    before = seen(hub.space(DEMO))
    evidence = made.evidence
    assert evidence is not None
    state = await session.send(evidence.read(DEMO))
    await session.send(made.to(DEMO))
    row.check_done(hub, DEMO)
    assert made.snapshot is not None
    kept = json.loads(json.dumps(made.snapshot.keep(state)))
    undo = inverse(made.snapshot.restore(kept))
    assert undo is not None
    await session.send(undo.to(DEMO))
    clock.advance(10)
    assert seen(hub.space(DEMO)) == before


@rows(IN_PLACE, only=lambda row: row.already or row.invertible)
async def test_the_fields_show_what_a_write_sets(
    timed: sa.SpacesClient, hub: FakeHub, clock: ManualClock, row: Row
) -> None:
    """Before the write they differ from what is wanted, after it they do not."""
    made = row.make()
    if not isinstance(made, Write):
        return
    session, evidence = timed._session, made.evidence
    assert evidence is not None
    assert made.fields
    wanted = {field.name: field.wanted for field in made.fields}
    row.prepare(hub, DEMO)
    state = await session.send(evidence.read(DEMO))
    assert has_changed(made.fields, wanted, state)
    await session.send(made.to(DEMO))
    clock.advance(10)
    state = await session.send(evidence.read(DEMO))
    assert not has_changed(made.fields, wanted, state)
    assert shown(made.fields, state).keys() == wanted.keys()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("pause", {"stage": "SLEEPING"}),
        ("pause", {"stage": "PAUSED"}),
        ("delete_variable", {"variables": {"L": "w"}}),
        ("delete_volumes", {"volumes": []}),
        ("set_visibility", {"visibility": "private"}),
    ],
)
async def test_what_was_so_before_has_no_inverse(
    timed: sa.SpacesClient, hub: FakeHub, name: str, state: Mapping[str, Any]
) -> None:
    """A Space that did not run is not started, and what was not there is not made."""
    row = next(row for row in IN_PLACE if row.name == name)
    made = row.make()
    assert isinstance(made, Write)
    row.prepare(hub, DEMO)
    put(hub.space(DEMO), state)
    evidence, inverse = made.evidence, made.inverse
    assert evidence is not None
    assert inverse is not None
    assert inverse(await timed._session.send(evidence.read(DEMO))) is None


def test_parameters_are_those_at_the_time_of_the_call() -> None:
    """What the caller changes afterwards is not in them, and defaults are."""
    given = {"A": "1"}
    made = writes.add_variables(given)
    given["B"] = "2"
    assert made.parameters == {"variables": {"A": "1"}, "description": None}
    assert writes.restart(factory_reboot=True).parameters == {"factory_reboot": True}
    assert writes.restart().parameters == {"factory_reboot": False}


def test_a_row_says_what_it_lacks() -> None:
    """A row that sets what no Space is compared by is refused where it stands."""
    with pytest.raises(ValueError, match="'set_moon' sets moon, which START lacks"):
        Row(id="set_moon", path="/moon", after={"moon": "full"}, call=None)
