"""`client.storage`: volumes, and the legacy persistent storage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import (
    BadRequestError,
    ConfigurationError,
    HubResponseError,
    Replicas,
    SpaceHardware,
    SpaceRuntime,
    SpacesClient,
    SpaceStage,
    SpaceStorage,
    UnexpectedResponseError,
    Volume,
    VolumeType,
)
from spaces_async.storage import Storage
from tests.support.hub_mock import (
    BAD_TIERS,
    DEMO,
    INVALID_BODY,
    REFUSED_FOR_SPACE,
    RUNTIME,
    STATIC,
    Case,
    HubMock,
    Refusal,
    cases,
    cases_of_writes,
    check_call,
    check_not_sent,
    check_refusal,
    one_per_method,
    public_methods,
    refused,
    said,
)

VOLUMES = f"{DEMO}/volumes"


def _wire(storage: str | None) -> dict[str, Any]:
    return {
        "stage": "RUNNING",
        "hardware": {"current": "t4-small", "requested": "t4-small"},
        "storage": storage,
        "gcTimeout": None,
        "replicas": {"current": 1, "requested": 1},
    }


def _runtime(storage: SpaceStorage | None) -> SpaceRuntime:
    return SpaceRuntime(
        stage=SpaceStage.RUNNING,
        hardware=SpaceHardware.T4_SMALL,
        requested_hardware=SpaceHardware.T4_SMALL,
        storage=storage,
        replicas=Replicas(current=1, requested=1),
    )


def _request(name: str, tier: Any) -> Case:
    return Case(
        id=f"request_storage-{name}",
        name="request_storage",
        invoke=lambda c: c.storage.request_storage("acme/demo", tier),
        method="POST",
        path=f"{DEMO}/storage",
        body={"tier": "large" if tier == "large" else tier},
        answer=_wire(str(tier)),
        result=_runtime(SpaceStorage(tier)),
    )


WIRE_BUCKET = {"type": "bucket", "source": "acme/b", "mountPath": "/data"}
WIRE_MODEL = {
    "type": "model",
    "source": "acme/large",
    "mountPath": "/models",
    "revision": "v1",
    "readOnly": True,
    "path": "fp16",
}
BUCKET = Volume(VolumeType.BUCKET, "acme/b", "/data")
MODEL = Volume(
    VolumeType.MODEL,
    "acme/large",
    "/models",
    revision="v1",
    read_only=True,
    path="fp16",
)
BUCKET_URI = "hf://buckets/acme/b:/data"
MODEL_URI = "hf://models/acme/large@v1/fp16:/models:ro"


def _mounted(*volumes: dict[str, Any]) -> dict[str, Any]:
    return {**_wire(None), "volumes": list(volumes)}


def _get(name: str, answer: dict[str, Any], result: tuple[Volume, ...]) -> Case:
    return Case(
        id=f"get_volumes-{name}",
        name="get_volumes",
        invoke=lambda c: c.storage.get_volumes("acme/demo"),
        method="GET",
        path=RUNTIME,
        answer=answer,
        result=result,
    )


def _set(name: str, given: Any, *wire: dict[str, Any]) -> Case:
    return Case(
        id=f"set_volumes-{name}",
        name="set_volumes",
        invoke=lambda c: c.storage.set_volumes("acme/demo", given),
        method="PUT",
        path=VOLUMES,
        body={"volumes": list(wire)},
        text="",
    )


def _add(
    name: str, given: Any, there: dict[str, Any], result: tuple[Volume, ...], *wire: Any
) -> Case:
    return Case(
        id=f"add_volume-{name}",
        name="add_volume",
        invoke=lambda c: c.storage.add_volume("acme/demo", given),
        before=((RUNTIME, there),),
        method="PUT",
        path=VOLUMES,
        body={"volumes": list(wire)},
        result=result,
    )


CASES = [
    _get("none", _mounted(), ()),
    _get("untold", _wire(None), ()),
    _get("two", _mounted(WIRE_BUCKET, WIRE_MODEL), (BUCKET, MODEL)),
    _set("one", [BUCKET], WIRE_BUCKET),
    _set("two", (MODEL, BUCKET), WIRE_MODEL, WIRE_BUCKET),
    _set("texts", [MODEL_URI, BUCKET], WIRE_MODEL, WIRE_BUCKET),
    _add("first", BUCKET, _mounted(), (BUCKET,), WIRE_BUCKET),
    _add("text", BUCKET_URI, _mounted(), (BUCKET,), WIRE_BUCKET),
    _add(
        "second",
        BUCKET,
        _mounted(WIRE_MODEL),
        (MODEL, BUCKET),
        WIRE_MODEL,
        WIRE_BUCKET,
    ),
    _add(
        "other-source",
        BUCKET,
        _mounted({**WIRE_BUCKET, "source": "acme/old"}, WIRE_MODEL),
        (MODEL, BUCKET),
        WIRE_MODEL,
        WIRE_BUCKET,
    ),
    _add(
        "other-mode",
        "hf://buckets/acme/b:/data:rw",
        _mounted({**WIRE_BUCKET, "readOnly": True}),
        (Volume(VolumeType.BUCKET, "acme/b", "/data", read_only=False),),
        {**WIRE_BUCKET, "readOnly": False},
    ),
    Case(
        id="add_volume-there",
        name="add_volume",
        invoke=lambda c: c.storage.add_volume("acme/demo", MODEL),
        method="GET",
        path=RUNTIME,
        answer=_mounted(WIRE_BUCKET, WIRE_MODEL),
        result=(BUCKET, MODEL),
    ),
    Case(
        id="remove_volume-one",
        name="remove_volume",
        invoke=lambda c: c.storage.remove_volume("acme/demo", "/data"),
        before=((RUNTIME, _mounted(WIRE_BUCKET, WIRE_MODEL)),),
        method="PUT",
        path=VOLUMES,
        body={"volumes": [WIRE_MODEL]},
        result=(MODEL,),
    ),
    Case(
        id="remove_volume-last",
        name="remove_volume",
        invoke=lambda c: c.storage.remove_volume("acme/demo", "/data"),
        before=((RUNTIME, _mounted(WIRE_BUCKET)),),
        method="DELETE",
        path=VOLUMES,
        result=(),
    ),
    Case(
        id="remove_volume-other",
        name="remove_volume",
        invoke=lambda c: c.storage.remove_volume("acme/demo", "/dat"),
        method="GET",
        path=RUNTIME,
        answer=_mounted(WIRE_BUCKET),
        result=(BUCKET,),
    ),
    Case(
        id="remove_volume-none",
        name="remove_volume",
        invoke=lambda c: c.storage.remove_volume("acme/demo", "/data"),
        method="GET",
        path=RUNTIME,
        answer=_wire(None),
        result=(),
    ),
    Case(
        id="delete_volumes",
        name="delete_volumes",
        invoke=lambda c: c.storage.delete_volumes("acme/demo"),
        method="DELETE",
        path=VOLUMES,
    ),
    _request("text", "small"),
    _request("medium", "medium"),
    _request("enum", SpaceStorage.LARGE),
    Case(
        id="delete_storage",
        name="delete_storage",
        invoke=lambda c: c.storage.delete_storage("acme/demo"),
        method="DELETE",
        path=f"{DEMO}/storage",
        answer=_wire(None),
        result=_runtime(None),
    ),
]
CASES += cases_of_writes("storage", CASES)
REFUSALS = [
    *REFUSED_FOR_SPACE,
    STATIC,
    INVALID_BODY,
    said("410", 410, HubResponseError, "Persistent storage is no longer available"),
    said("400-smaller", 400, BadRequestError, "Cannot downgrade storage"),
    said("400-none", 400, BadRequestError, "This Space has no volumes"),
]


def test_every_method_has_a_row() -> None:
    """No method of the storage goes without a test."""
    assert {case.name for case in CASES} == public_methods(Storage)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out, and the runtime comes back."""
    await check_call(mock, client, case)


@refused(one_per_method(CASES), REFUSALS)
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status of the Hub becomes its error, sent once."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize("tier", [*BAD_TIERS, None], ids=repr)
async def test_unknown_tier_is_not_sent(
    mock: HubMock, client: SpacesClient, tier: Any
) -> None:
    """The tiers are a closed list: another one is refused, naming the three."""
    error = await check_not_sent(
        mock, client, lambda: client.storage.request_storage("acme/demo", tier)
    )
    assert "small, medium, large" in str(error)


@pytest.mark.parametrize("body", ["", "OK", "[]", '{"stage": 5}'])
async def test_answer_that_is_no_runtime(
    mock: HubMock, client: SpacesClient, body: str
) -> None:
    """Nobody knows what the endpoint answers today: what is no runtime is told apart."""
    mock.answer("POST", f"{DEMO}/storage", body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await client.storage.request_storage("acme/demo", "small")
    assert (caught.value.status, caught.value.body) == (200, body)


# Volumes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "volumes",
    [
        [],
        (),
        None,
        5,
        BUCKET_URI,
        [5],
        [None],
        [WIRE_BUCKET],
        ["acme/b:/data"],
        ["hf://buckets/acme/b"],
        [BUCKET, BUCKET],
        [BUCKET, BUCKET_URI],
        [Volume(VolumeType.BUCKET, "b", "/data")],
        [Volume(VolumeType.BUCKET, "acme/b", "data")],
        [Volume(VolumeType.BUCKET, "acme/b", "/")],
        [Volume(VolumeType.BUCKET, "acme/b", "/a/../b")],
    ],
    ids=repr,
)
async def test_malformed_volumes_are_not_sent(
    mock: HubMock, client: SpacesClient, volumes: Any
) -> None:
    """No list, an empty one, one with two mounts at a path: nothing is replaced."""
    await check_not_sent(
        mock, client, lambda: client.storage.set_volumes("acme/demo", volumes)
    )


@pytest.mark.parametrize(
    "volume",
    [
        None,
        5,
        WIRE_BUCKET,
        "acme/b:/data",
        Volume(VolumeType.BUCKET, "b", "/data"),
        Volume(VolumeType.BUCKET, "acme/b", "data"),
    ],
    ids=repr,
)
async def test_malformed_volume_is_not_sent(
    mock: HubMock, client: SpacesClient, volume: Any
) -> None:
    """What cannot be mounted is refused before the others are read."""
    await check_not_sent(
        mock, client, lambda: client.storage.add_volume("acme/demo", volume)
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_volumes", ()),
        ("add_volume", (BUCKET,)),
        ("remove_volume", ("/data",)),
    ],
)
async def test_volumes_that_cannot_be_read_are_not_written_back(
    mock: HubMock, client: SpacesClient, name: str, arguments: Any
) -> None:
    """A list that lacks one would unmount it; the error says which cannot be read."""
    odd = {**WIRE_MODEL, "revision": 3}
    mock.answer("GET", RUNTIME, _mounted(WIRE_BUCKET, odd))
    with pytest.raises(UnexpectedResponseError) as caught:
        await getattr(client.storage, name)("acme/demo", *arguments)
    assert caught.value.problems == (
        "$.volumes[1].revision: expected a string, got a number",
    )
    assert [sent.method for sent in mock.sent] == ["GET"]


@pytest.mark.parametrize("name", ["add_volume", "remove_volume"])
@pytest.mark.parametrize("status", [403, 404, 502])
async def test_without_the_list_nothing_is_written(
    mock: HubMock, client: SpacesClient, name: str, status: int
) -> None:
    """A write replaces the whole list: who could not read it must not write it."""
    mock.answer("GET", RUNTIME, {"error": "no"}, status=status)
    arguments = (BUCKET,) if name == "add_volume" else ("/data",)
    with pytest.raises(HubResponseError) as caught:
        await getattr(client.storage, name)("acme/demo", *arguments)
    assert not caught.value.outcome_unknown
    assert mock.lines() == [f"GET {RUNTIME}"]


@pytest.mark.parametrize("source", ["***", "", None])
async def test_masked_volume_is_not_written_back(
    mock: HubMock, client: SpacesClient, source: str | None
) -> None:
    """A source that one may not see cannot be kept, so the list is left alone."""
    mock.answer("GET", RUNTIME, _mounted({**WIRE_MODEL, "source": source}))
    with pytest.raises((ConfigurationError, UnexpectedResponseError)):
        await client.storage.add_volume("acme/demo", BUCKET)
    assert mock.lines() == [f"GET {RUNTIME}"]


@pytest.mark.parametrize("body", ["", "OK", "{}", "null"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_status_is_all_that_counts_for_volumes(
    mock: HubMock, client: SpacesClient, method: str, body: str
) -> None:
    """No content is declared: a 2xx is enough, whatever comes with it."""
    mock.answer(method, VOLUMES, body=body)
    if method == "PUT":
        await client.storage.set_volumes("acme/demo", [BUCKET])
    else:
        await client.storage.delete_volumes("acme/demo")
    assert mock.lines() == [f"{method} {VOLUMES}"]


@pytest.mark.parametrize(
    ("seen", "writes"),
    [
        (_mounted(WIRE_BUCKET, WIRE_MODEL), 1),
        (_mounted(WIRE_MODEL, WIRE_BUCKET), 1),
        (_mounted({**WIRE_BUCKET, "readOnly": False}, WIRE_MODEL), 1),
        (_mounted(), 2),
        (_wire(None), 2),
        (_mounted(WIRE_MODEL), 2),
        (_mounted(WIRE_BUCKET, {**WIRE_MODEL, "revision": "v2"}), 2),
        (_mounted(WIRE_BUCKET, {**WIRE_MODEL, "path": "int8"}), 2),
        (_mounted(WIRE_BUCKET, {**WIRE_MODEL, "source": "acme/small"}), 2),
        (_mounted({**WIRE_BUCKET, "mountPath": "/d"}, WIRE_MODEL), 2),
        (_mounted(WIRE_BUCKET, WIRE_MODEL, {**WIRE_BUCKET, "mountPath": "/x"}), 2),
    ],
)
async def test_lost_volumes(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any], writes: int
) -> None:
    """Exactly these volumes in any order: done; anything else is written again."""
    mock.answer("PUT", VOLUMES, status=502)
    mock.answer("GET", RUNTIME, seen)
    mock.answer("PUT", VOLUMES)
    await persistent.storage.set_volumes("acme/demo", [BUCKET, MODEL])
    lines = [f"PUT {VOLUMES}", f"GET {RUNTIME}", f"PUT {VOLUMES}"]
    assert mock.lines() == lines[: writes + 1]


@pytest.mark.parametrize(
    ("seen", "writes"), [(_mounted(), 1), (_wire(None), 1), (_mounted(WIRE_BUCKET), 2)]
)
async def test_lost_delete_of_volumes(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any], writes: int
) -> None:
    """A second delete would be refused (400), so it goes out only if there are some."""
    mock.answer("DELETE", VOLUMES, status=502)
    mock.answer("GET", RUNTIME, seen)
    mock.answer("DELETE", VOLUMES)
    await persistent.storage.delete_volumes("acme/demo")
    lines = [f"DELETE {VOLUMES}", f"GET {RUNTIME}", f"DELETE {VOLUMES}"]
    assert mock.lines() == lines[: writes + 1]


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (WIRE_MODEL, "hf://models/acme/large/fp16:/models:ro"),
        ({**WIRE_BUCKET, "readOnly": True}, BUCKET_URI),
    ],
    ids=["main-branch", "writable"],
)
async def test_what_is_left_open_has_a_meaning(
    mock: HubMock, client: SpacesClient, there: dict[str, Any], asked: str
) -> None:
    """No revision is the main branch, no mode a writable bucket: that is a change."""
    mock.answer("GET", RUNTIME, _mounted(there))
    mock.answer("PUT", VOLUMES)
    await client.storage.add_volume("acme/demo", asked)
    assert mock.lines() == [f"GET {RUNTIME}", f"PUT {VOLUMES}"]


# Volumes as texts ---------------------------------------------------------------------

_WORDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,10}", fullmatch=True)
_PARTS = st.text(
    st.characters(exclude_characters=":/", exclude_categories=["Cs"]), min_size=1
)
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join)
_REVISIONS = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
_VOLUMES = st.builds(
    Volume,
    type=st.sampled_from(list(VolumeType)),
    source=st.tuples(_WORDS, _WORDS).map("/".join),
    mount_path=_PATHS.map("/".__add__),
    revision=st.none() | _REVISIONS,
    read_only=st.none() | st.booleans(),
    path=st.none() | _PATHS,
)


@given(_VOLUMES)
def test_volume_comes_back_from_its_text(volume: Volume) -> None:
    """`from_uri` reads exactly what `to_uri` has written."""
    assert Volume.from_uri(volume.to_uri()) == volume


@pytest.mark.parametrize("path", [None, "fp16"])
@pytest.mark.parametrize("revision", ["refs/pr/1", "refs/convert/parquet"])
def test_special_revision_comes_back(revision: str, path: str | None) -> None:
    """The Hub's own refs have slashes, and are revisions all the same."""
    kind = VolumeType.DATASET
    volume = Volume(kind, "acme/d", "/d", revision=revision, path=path)
    assert Volume.from_uri(volume.to_uri()) == volume


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        (BUCKET_URI, BUCKET),
        (MODEL_URI, MODEL),
        ("hf://acme/m:/m", Volume(VolumeType.MODEL, "acme/m", "/m")),
        ("hf://models/acme/m:/m", Volume(VolumeType.MODEL, "acme/m", "/m")),
        (
            "hf://spaces/acme/s:/s:ro",
            Volume(VolumeType.SPACE, "acme/s", "/s", read_only=True),
        ),
        (
            "hf://datasets/acme/d/a/b:/x/y:rw",
            Volume(VolumeType.DATASET, "acme/d", "/x/y", read_only=False, path="a/b"),
        ),
    ],
)
def test_text_of_a_volume(text: str, volume: Volume) -> None:
    """The texts are those of the official client; without a type it is a model."""
    assert Volume.from_uri(text) == volume


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme/m:/m",
        "hf://acme/m",
        "hf://acme:/m",
        "hf://kernels/acme/m/x",
        "hf://acme/m:m",
        "hf://acme/m:/",
        "hf://acme/m:/m:rx",
        "hf://acme/m:/m:ro:rw",
        "hf://acme/m@:/m",
        "https://huggingface.co/acme/m:/m",
        "HF://acme/m:/m",
        " hf://acme/m:/m",
    ],
)
def test_text_that_is_no_volume(text: str) -> None:
    """Anything else is refused, and the error tells the form."""
    with pytest.raises(ConfigurationError, match="hf://"):
        Volume.from_uri(text)
