"""`client.lifecycle`: the runtime and all that changes it, and a Space's life."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import aiohttp
import pytest

from spaces_async import (
    AuthenticationError,
    BadRequestError,
    ClientSettings,
    ComputeQuotaError,
    ConflictError,
    CreatedSpace,
    Domain,
    HotReloading,
    HubServerError,
    InvalidHardwareError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    Replicas,
    RetryPolicy,
    SpaceFailedError,
    SpaceHardware,
    SpaceNotFoundError,
    SpaceRuntime,
    SpacesClient,
    SpaceSdk,
    SpacesError,
    SpaceStage,
    SpaceStorage,
    SpaceVariable,
    Timeouts,
    UnexpectedResponseError,
    Volume,
    VolumeType,
    WaitTimeoutError,
)
from spaces_async.lifecycle import Lifecycle
from spaces_async.testing import ManualClock
from tests.support.hub_mock import (
    AGENT,
    BAD_FLAVORS,
    BAD_KEYS,
    BAD_REPO_IDS,
    BAD_SLEEP_TIMES,
    BAD_TIERS,
    DEMO,
    EXISTS,
    FEW_BAD_REPO_IDS,
    HUB,
    INVALID_BODY,
    LATE,
    NEEDS_PRO,
    NO_PAYMENT_METHOD,
    NOW,
    REFUSED_ANYWHERE,
    REFUSED_FOR_SPACE,
    RUNTIME,
    SECRET,
    STATIC,
    TOKEN,
    Case,
    HubMock,
    Refusal,
    cases,
    cases_of_writes,
    check_call,
    check_headers,
    check_not_sent,
    check_refusal,
    one_per_method,
    public_methods,
    refused,
    said,
)

RESTART = f"{DEMO}/restart"
PAUSE = f"{DEMO}/pause"
DUPLICATE = f"{DEMO}/duplicate"
WHOAMI = "/api/whoami-v2"

# Recorded answers (hub-api.md 3.1), word for word.
BUILDING_2025 = json.loads(
    '{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},'
    '"storage":null,"gcTimeout":172800,"replicas":{"requested":1},"devMode":false,'
    '"domains":[{"domain":"user-tmp-test-space.hf.space","stage":"READY"}]}'
)
BUILDING_2023 = json.loads(
    '{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},'
    '"storage":null,"gcTimeout":172800,"replicas":{"current":1,"requested":1}}'
)
STATIC_2025 = json.loads(
    '{"stage":"RUNNING","hardware":{"current":null,"requested":null},"storage":null,'
    '"replicas":{"requested":1,"current":1}}'
)
PAUSED_2026 = json.loads(
    '{"stage":"PAUSED","hardware":{"current":null,"requested":"cpu-basic"},'
    '"replicas":{"current":null,"requested":1}}'
)
AUTO_2026 = json.loads(
    '{"stage":"RUNNING","hardware":{"current":"zero-a10g","requested":"zero-a10g"},'
    '"replicas":{"current":3,"requested":"auto"}}'
)
# Every key of the schema, and those that some clients type.
EVERY_KEY = {
    "stage": "RUNNING_BUILDING",
    "hardware": {"current": "t4-small", "requested": "l4x1"},
    "errorMessage": "Scheduling failure: unable to schedule",
    "gcTimeout": 3600,
    "replicas": {"current": 2, "requested": 4},
    "devMode": True,
    "domains": [{"domain": "x.example.com", "isCustom": True, "stage": "PENDING"}],
    "sha": "d4c8bedc",
    "hotReloading": {"status": "created", "replicaStatuses": [["h1", None]]},
    "volumes": [
        {"type": "bucket", "source": "a/b", "mountPath": "/data", "readOnly": False}
    ],
    "storage": "small",
    "sdk": "gradio",
    "sdkVersion": "6.1.0",
    "rawLogs": "x",
    "pySpacesVersion": "0.48.2",
}
BUILDING = SpaceRuntime(
    stage=SpaceStage.BUILDING,
    requested_hardware=SpaceHardware.CPU_BASIC,
    sleep_time=172800,
    replicas=Replicas(None, 1),
    dev_mode=False,
    domains=(Domain("user-tmp-test-space.hf.space", "READY"),),
)
PAUSED = SpaceRuntime(
    stage=SpaceStage.PAUSED,
    requested_hardware=SpaceHardware.CPU_BASIC,
    replicas=Replicas(None, 1),
)


def wire(stage: str, **more: Any) -> dict[str, Any]:
    hardware = {"current": None, "requested": "cpu-basic"}
    return {"stage": stage, "hardware": hardware, **more}


def _runtime(name: str, answer: Any, result: SpaceRuntime) -> Case:
    return Case(
        id=f"get_runtime-{name}",
        name="get_runtime",
        invoke=lambda c: c.lifecycle.get_runtime("acme/demo"),
        method="GET",
        path=RUNTIME,
        answer=answer,
        result=result,
    )


COPY_URL = f"{HUB}/spaces/me/copy"


def _duplicate(name: str, body: dict[str, Any], **arguments: Any) -> Case:
    return Case(
        id=f"duplicate-{name}",
        name="duplicate",
        invoke=lambda c: c.lifecycle.duplicate("acme/demo", "me/copy", **arguments),
        method="POST",
        path=DUPLICATE,
        body={"repository": "me/copy", **body},
        answer={"url": COPY_URL},
        result=CreatedSpace("me/copy", COPY_URL),
    )


GROUP = "0123456789abcdef01234567"
CREATE = "/api/repos/create"
DELETE = "/api/repos/delete"
MOVE = "/api/repos/move"
NEW_URL = f"{HUB}/spaces/acme/demo"
MADE = {"url": NEW_URL, "name": "acme/demo", "id": "67cae57522fde9195aaf95c5"}
OWN = {"name": "demo", "organization": "acme", "type": "space"}


def _create(name: str, body: dict[str, Any], **arguments: Any) -> Case:
    given = {"sdk": "gradio", **arguments}
    return Case(
        id=f"create-{name}",
        name="create",
        invoke=lambda c: c.lifecycle.create("acme/demo", **given),
        method="POST",
        path=CREATE,
        body={**OWN, "sdk": "gradio", **body},
        answer=MADE,
        result=CreatedSpace("acme/demo", NEW_URL),
    )


def _wake(stage: str, *, woken: bool) -> Case:
    def look(client: SpacesClient) -> Any:
        return client.lifecycle.wake("acme/demo")

    if woken:
        return Case(
            id=f"wake-{stage}",
            name="wake",
            invoke=look,
            before=((RUNTIME, wire(stage)),),
            method="POST",
            path=RESTART,
            answer=BUILDING_2025,
            result=BUILDING,
        )
    return Case(
        id=f"wake-{stage}",
        name="wake",
        invoke=look,
        method="GET",
        path=RUNTIME,
        answer=wire(stage),
        result=SpaceRuntime(
            SpaceStage(stage), requested_hardware=SpaceHardware.CPU_BASIC
        ),
    )


ENTRIES = [
    {"key": "A", "value": "1"},
    {"key": "B", "value": "", "description": "what for"},
]
VOLUMES = [
    Volume(VolumeType.BUCKET, "acme/b", "/data"),
    Volume(
        VolumeType.DATASET,
        "acme/d",
        "/d",
        revision="main",
        read_only=True,
        path="train",
    ),
]
WIRE_VOLUMES = [
    {"type": "bucket", "source": "acme/b", "mountPath": "/data"},
    {
        "type": "dataset",
        "source": "acme/d",
        "mountPath": "/d",
        "revision": "main",
        "readOnly": True,
        "path": "train",
    },
]
FILES = [
    {"path": "app.py", "content": "print('ü')", "encoding": "utf-8"},
    {"path": "a.bin", "content": "AAE=", "encoding": "base64"},
]
CREATE_CASES = [
    _create("plain", {}),
    *(
        _create(f"sdk-{word}", {"sdk": word}, sdk=sdk)
        for word, sdk in (
            ("docker", "docker"),
            ("static", SpaceSdk.STATIC),
            ("gradio", SpaceSdk.GRADIO),
        )
    ),
    _create("private", {"visibility": "private"}, private=True),
    _create("public", {"visibility": "public"}, private=False),
    *(
        _create(f"visibility-{word}", {"visibility": word}, visibility=word)
        for word in ("public", "private", "protected")
    ),
    _create("hardware", {"hardware": "t4-small"}, hardware="t4-small"),
    _create("zerogpu", {"hardware": "zerogpu"}, hardware="zerogpu"),
    _create("hardware-enum", {"hardware": "l4x1"}, hardware=SpaceHardware.L4X1),
    _create("sleep", {"sleepTimeSeconds": 3600}, sleep_time=3600),
    _create("never", {"sleepTimeSeconds": -1}, sleep_time=-1),
    _create(
        "secrets", {"secrets": [{"key": "A", "value": SECRET}]}, secrets={"A": SECRET}
    ),
    _create("variables", {"variables": ENTRIES}, variables=ENTRIES),
    _create("volumes", {"volumes": WIRE_VOLUMES}, volumes=VOLUMES),
    _create(
        "template",
        {"template": "SpacesExamples/jupyterlab"},
        template="SpacesExamples/jupyterlab",
    ),
    _create("description", {"short_description": "ü" * 60}, short_description="ü" * 60),
    _create("sdk-version", {"sdkVersion": "6.1.0"}, sdk_version="6.1.0"),
    _create("dev-mode", {"devModeEnabled": True}, dev_mode=True),
    _create("no-dev-mode", {"devModeEnabled": False}, dev_mode=False),
    _create("group", {"resourceGroupId": GROUP}, resource_group_id=GROUP),
    _create("region-eu", {"region": "eu"}, region="eu"),
    _create("region-us", {"region": "us"}, region="us"),
    _create("license", {"license": "apache-2.0"}, license="apache-2.0"),
    _create("files", {"files": FILES}, files=tuple(FILES)),
    _create("exist-ok", {}, exist_ok=True),
    _create(
        "all",
        {
            "sdk": "docker",
            "visibility": "private",
            "hardware": "l4x1",
            "sleepTimeSeconds": 60,
            "secrets": [{"key": "S", "value": SECRET}],
            "variables": [{"key": "V", "value": "1"}],
            "volumes": WIRE_VOLUMES,
            "template": "a/b",
            "short_description": "x",
            "sdkVersion": "1",
            "devModeEnabled": True,
            "resourceGroupId": GROUP,
            "region": "eu",
            "license": "mit",
            "files": FILES,
        },
        sdk="docker",
        visibility="private",
        hardware="l4x1",
        sleep_time=60,
        secrets={"S": SECRET},
        variables={"V": "1"},
        volumes=VOLUMES,
        template="a/b",
        short_description="x",
        sdk_version="1",
        dev_mode=True,
        resource_group_id=GROUP,
        region="eu",
        license="mit",
        files=FILES,
        exist_ok=True,
    ),
]
CASES = [
    *CREATE_CASES,
    Case(
        id="delete",
        name="delete",
        invoke=lambda c: c.lifecycle.delete("acme/demo"),
        method="DELETE",
        path=DELETE,
        body=OWN,
        text="OK",
    ),
    Case(
        id="delete-missing-ok",
        name="delete",
        invoke=lambda c: c.lifecycle.delete("acme/demo", missing_ok=True),
        method="DELETE",
        path=DELETE,
        body=OWN,
        text="OK",
    ),
    *(
        Case(
            id=f"move-{text or 'empty'}",
            name="move",
            invoke=lambda c: c.lifecycle.move("acme/demo", "me/moved"),
            method="POST",
            path=MOVE,
            body={"fromRepo": "acme/demo", "toRepo": "me/moved", "type": "space"},
            text=text,
        )
        for text in ("", "OK", "{}")
    ),
    _wake("PAUSED", woken=True),
    _wake("SLEEPING", woken=True),
    _wake("STOPPED", woken=True),
    *(
        _wake(stage, woken=False)
        for stage in ("RUNNING", "BUILDING", "APP_STARTING", "BUILD_ERROR", "NEW")
    ),
    _runtime("building-2025", BUILDING_2025, BUILDING),
    _runtime(
        "building-2023",
        BUILDING_2023,
        SpaceRuntime(
            stage=SpaceStage.BUILDING,
            requested_hardware=SpaceHardware.CPU_BASIC,
            sleep_time=172800,
            replicas=Replicas(1, 1),
        ),
    ),
    _runtime(
        "static-2025",
        STATIC_2025,
        SpaceRuntime(stage=SpaceStage.RUNNING, replicas=Replicas(1, 1)),
    ),
    _runtime("paused-2026", PAUSED_2026, PAUSED),
    _runtime(
        "auto-2026",
        AUTO_2026,
        SpaceRuntime(
            stage=SpaceStage.RUNNING,
            hardware=SpaceHardware.ZERO_A10G,
            requested_hardware=SpaceHardware.ZERO_A10G,
            replicas=Replicas(3, "auto"),
        ),
    ),
    _runtime(
        "every-key",
        EVERY_KEY,
        SpaceRuntime(
            stage=SpaceStage.RUNNING_BUILDING,
            hardware=SpaceHardware.T4_SMALL,
            requested_hardware=SpaceHardware.L4X1,
            sleep_time=3600,
            storage=SpaceStorage.SMALL,
            sdk=SpaceSdk.GRADIO,
            sdk_version="6.1.0",
            raw_logs="x",
            dev_mode=True,
            replicas=Replicas(2, 4),
            domains=(Domain("x.example.com", "PENDING", is_custom=True),),
            error_message="Scheduling failure: unable to schedule",
            sha="d4c8bedc",
            volumes=(Volume(VolumeType.BUCKET, "a/b", "/data", read_only=False),),
            hot_reloading=HotReloading("created", (("h1", None),)),
        ),
    ),
    _runtime("stage-only", {"stage": "STOPPED"}, SpaceRuntime(SpaceStage.STOPPED)),
    *(
        _runtime(f"stage-{stage}", {"stage": str(stage)}, SpaceRuntime(stage))
        for stage in SpaceStage
    ),
    Case(
        id="restart",
        name="restart",
        invoke=lambda c: c.lifecycle.restart("acme/demo"),
        method="POST",
        path=RESTART,
        answer=BUILDING_2025,
        result=BUILDING,
    ),
    Case(
        id="restart-plain",
        name="restart",
        invoke=lambda c: c.lifecycle.restart("acme/demo", factory_reboot=False),
        method="POST",
        path=RESTART,
        answer=BUILDING_2025,
        result=BUILDING,
    ),
    Case(
        id="restart-factory",
        name="restart",
        invoke=lambda c: c.lifecycle.restart("acme/demo", factory_reboot=True),
        method="POST",
        path=RESTART,
        query=(("factory", "true"),),
        answer=BUILDING_2025,
        result=BUILDING,
    ),
    Case(
        id="pause",
        name="pause",
        invoke=lambda c: c.lifecycle.pause("acme/demo"),
        method="POST",
        path=PAUSE,
        answer=PAUSED_2026,
        result=PAUSED,
    ),
    Case(
        id="wait_until",
        name="wait_until",
        invoke=lambda c: c.lifecycle.wait_until("acme/demo", {"PAUSED"}),
        method="GET",
        path=RUNTIME,
        answer=PAUSED_2026,
        result=PAUSED,
    ),
    _duplicate("plain", {}),
    _duplicate("private", {"visibility": "private"}, private=True),
    _duplicate("public", {"visibility": "public"}, private=False),
    *(
        _duplicate(f"visibility-{word}", {"visibility": word}, visibility=word)
        for word in ("public", "private", "protected")
    ),
    _duplicate("resource-group", {"resourceGroupId": GROUP}, resource_group_id=GROUP),
    _duplicate("hardware", {"hardware": "t4-small"}, hardware="t4-small"),
    _duplicate(
        "hardware-enum", {"hardware": "a10g-large"}, hardware=SpaceHardware.A10G_LARGE
    ),
    _duplicate("storage", {"storageTier": "small"}, storage="small"),
    _duplicate("storage-enum", {"storageTier": "large"}, storage=SpaceStorage.LARGE),
    _duplicate("sleep", {"sleepTimeSeconds": 3600}, sleep_time=3600),
    _duplicate("never", {"sleepTimeSeconds": -1}, sleep_time=-1),
    _duplicate(
        "secrets-map",
        {"secrets": [{"key": "A", "value": SECRET}, {"key": "B", "value": ""}]},
        secrets={"A": SECRET, "B": ""},
    ),
    _duplicate(
        "secrets",
        {"secrets": [{"key": "A", "value": SECRET, "description": "x"}]},
        secrets=[{"key": "A", "value": SECRET, "description": "x"}],
    ),
    _duplicate("variables-map", {"variables": ENTRIES[:1]}, variables={"A": "1"}),
    _duplicate("variables", {"variables": ENTRIES}, variables=tuple(ENTRIES)),
    _duplicate(
        "variables-records",
        {"variables": ENTRIES},
        variables=[SpaceVariable("A", "1"), SpaceVariable("B", "", "what for")],
    ),
    _duplicate(
        "volumes",
        {
            "volumes": [
                {"type": "bucket", "source": "acme/b", "mountPath": "/data"},
                {
                    "type": "dataset",
                    "source": "acme/d",
                    "mountPath": "/d",
                    "revision": "main",
                    "readOnly": True,
                    "path": "train",
                },
            ]
        },
        volumes=[
            Volume(VolumeType.BUCKET, "acme/b", "/data"),
            Volume(
                VolumeType.DATASET,
                "acme/d",
                "/d",
                revision="main",
                read_only=True,
                path="train",
            ),
        ],
    ),
    _duplicate(
        "all",
        {
            "visibility": "private",
            "resourceGroupId": GROUP,
            "hardware": "l4x1",
            "storageTier": "medium",
            "sleepTimeSeconds": 60,
            "volumes": [{"type": "bucket", "source": "a/b", "mountPath": "/d"}],
            "secrets": [{"key": "S", "value": SECRET}],
            "variables": [{"key": "V", "value": "1"}],
        },
        private=True,
        resource_group_id=GROUP,
        hardware="l4x1",
        storage="medium",
        sleep_time=60,
        volumes=[Volume(VolumeType.BUCKET, "a/b", "/d")],
        secrets={"S": SECRET},
        variables={"V": "1"},
    ),
]
CASES += cases_of_writes("lifecycle", CASES)
WITHOUT_WAIT = [
    case for case in one_per_method(CASES) if case.name not in ("wait_until", "create")
]
WITH_SECRET = next(case for case in CASES if case.id == "duplicate-all")


def test_every_method_has_a_row() -> None:
    """No method of the lifecycle goes without a test."""
    assert {case.name for case in CASES} == public_methods(Lifecycle)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out; the recorded answer is understood."""
    await check_call(mock, client, case)


@refused(WITHOUT_WAIT, REFUSED_FOR_SPACE)
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status becomes its error, sent once."""
    await check_refusal(mock, client, case, refusal)


@refused(
    [case for case in CREATE_CASES if case.id in ("create-plain", "create-secrets")],
    [
        *REFUSED_ANYWHERE,
        EXISTS,
        NEEDS_PRO,
        NO_PAYMENT_METHOD,
        INVALID_BODY,
        said("404", 404, NotFoundError, "No such template"),
    ],
)
async def test_refused_create(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each reason not to create is told apart, and no error shows a secret."""
    await check_refusal(mock, client, case, refusal)


@cases([EXISTS, NO_PAYMENT_METHOD], "refusal")
async def test_refused_move(
    mock: HubMock, client: SpacesClient, refusal: Refusal
) -> None:
    """A place that is taken, and one that may not be taken, are told apart."""
    case = next(case for case in CASES if case.name == "move")
    await check_refusal(mock, client, case, refusal)


@cases([STATIC, NEEDS_PRO, INVALID_BODY], "refusal")
@cases([case for case in CASES if case.name in ("restart", "pause")])
async def test_refused_restart_or_pause(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """A static Space is neither restarted nor paused; a free plan runs no app."""
    await check_refusal(mock, client, case, refusal)


@cases([EXISTS, NEEDS_PRO, NO_PAYMENT_METHOD, STATIC, INVALID_BODY], "refusal")
@cases([WITH_SECRET, next(case for case in CASES if case.name == "duplicate")])
async def test_refused_duplicate(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each reason not to copy is told apart, and no error shows a secret."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize("status", [400, 422])
async def test_duplicate_with_refused_flavor(
    mock: HubMock, client: SpacesClient, status: int
) -> None:
    """A flavor that the Hub refuses for the copy names the known ones."""
    message = '✖ Invalid option: expected one of "cpu-basic" → at "hardware"'
    mock.answer("POST", DUPLICATE, {"error": message}, status=status)
    with pytest.raises(InvalidHardwareError) as caught:
        await client.lifecycle.duplicate("acme/demo", "me/copy", hardware="t5-huge")
    assert caught.value.flavor == "t5-huge"
    assert caught.value.known_flavors == tuple(map(str, SpaceHardware))
    assert "inf2x6" in str(caught.value)


async def test_conflict_names_what_is_there(
    mock: HubMock, client: SpacesClient
) -> None:
    """A 409 tells where the Space is that exists already."""
    mock.answer("POST", DUPLICATE, body=EXISTS.body, status=409)
    with pytest.raises(ConflictError) as caught:
        await client.lifecycle.duplicate("acme/demo", "user/tmp_test_space")
    there = f"{HUB}/spaces/user/tmp_test_space"
    assert json.loads(caught.value.body)["url"] == there


async def test_401_without_a_token(mock: HubMock, anonymous: SpacesClient) -> None:
    """To strangers the Hub says 401 of what is private or missing: the error explains."""
    answer = {"error": "Invalid username or password."}
    mock.answer("GET", RUNTIME, answer, status=401)
    with pytest.raises(AuthenticationError) as caught:
        await anonymous.lifecycle.get_runtime("acme/demo")
    check_headers(mock.sent[0], token=None)
    for part in ("Invalid username or password.", "private", "acme/demo"):
        assert part in caught.value.message


async def test_401_with_a_token(mock: HubMock, client: SpacesClient) -> None:
    """With a token a 401 is about the token, and nothing is guessed of the Space."""
    answer = {"error": "Invalid credentials in Authorization header"}
    mock.answer("GET", RUNTIME, answer, status=401)
    with pytest.raises(AuthenticationError) as caught:
        await client.lifecycle.get_runtime("acme/demo")
    assert caught.value.message == "Invalid credentials in Authorization header"


async def test_own_user_agent_comes_first(mock: HubMock) -> None:
    """A program's own name is put before the package's."""
    mock.answer("GET", RUNTIME, PAUSED_2026)
    settings = ClientSettings(user_agent="my-app/1.2")
    async with SpacesClient(token=TOKEN, endpoint=HUB, settings=settings) as client:
        await client.lifecycle.get_runtime("acme/demo")
    assert mock.sent[0].headers["User-Agent"] == f"my-app/1.2 {AGENT}"


async def test_endpoint_below_a_path(mock: HubMock) -> None:
    """A mirror may live below a path, and the API is looked for there."""
    mock.answer("GET", f"/mirror{RUNTIME}", PAUSED_2026)
    async with SpacesClient(token=TOKEN, endpoint=f"{HUB}/mirror/") as client:
        assert await client.lifecycle.get_runtime("acme/demo") == PAUSED


# Malformed arguments ------------------------------------------------------------------


@pytest.mark.parametrize("repo_id", FEW_BAD_REPO_IDS, ids=repr)
@pytest.mark.parametrize("to_id", [(), ("copy",)])
async def test_malformed_id_is_not_sent(
    mock: HubMock, client: SpacesClient, to_id: tuple[str, ...], repo_id: Any
) -> None:
    """A malformed id is refused before anything is sent, whoami included."""
    mock.answer("GET", WHOAMI, {"name": "me"})
    await check_not_sent(
        mock, client, lambda: client.lifecycle.duplicate(repo_id, *to_id)
    )


@pytest.mark.parametrize(
    "to_id", [bad for bad in FEW_BAD_REPO_IDS if bad not in ("demo", None)], ids=repr
)
async def test_malformed_target_is_not_sent(
    mock: HubMock, client: SpacesClient, to_id: Any
) -> None:
    """So is a malformed id of the copy."""
    mock.answer("GET", WHOAMI, {"name": "me"})
    await check_not_sent(
        mock, client, lambda: client.lifecycle.duplicate("acme/demo", to_id)
    )


BAD_ENTRIES: list[Any] = [
    "A=1",
    b"A",
    5,
    ["A"],
    [("A", SECRET)],
    [{"value": SECRET}],
    [{"key": "A", "value": SECRET, "secret": True}],
    [{"key": "A", "value": 5}],
    [{"key": "A", "value": SECRET, "description": 5}],
    {"A": 5},
    {"A": None},
    {5: SECRET},
    {"A": f"{SECRET}\ud800"},
    *({key: SECRET} for key in BAD_KEYS if isinstance(key, str)),
]


@pytest.mark.parametrize(
    "arguments",
    [
        *({"private": value} for value in (1, 0, "true", "private")),
        # A few of each: what creates a Space, below, takes the same with all of them.
        *({"hardware": value} for value in BAD_FLAVORS[::5]),
        *({"storage": value} for value in BAD_TIERS),
        *({"sleep_time": value} for value in BAD_SLEEP_TIMES[::5]),
        *({"secrets": value} for value in BAD_ENTRIES[::4]),
        *({"variables": value} for value in BAD_ENTRIES[::4]),
        {"variables": [SpaceVariable("A-B", "1")]},
        {"volumes": 5},
        {"volumes": "a/b"},
        {"volumes": [{"type": "bucket", "source": "a/b", "mountPath": "/d"}]},
        {"volumes": [Volume(VolumeType.BUCKET, "ab", "/d")]},
        {"volumes": [Volume(VolumeType.BUCKET, "a/b", "d")]},
        {"volumes": [Volume(VolumeType.BUCKET, "a/b", "/")]},
        {"volumes": [Volume(VolumeType.BUCKET, "a/b", "/a/../b")]},
        {"volumes": [Volume(VolumeType.BUCKET, "a/b", "/d")] * 2},
    ],
    ids=ascii,
)
async def test_malformed_duplicate_is_not_sent(
    mock: HubMock, client: SpacesClient, arguments: dict[str, Any]
) -> None:
    """Malformed options of a copy are refused before anything, whoami too, is sent."""
    mock.answer("GET", WHOAMI, {"name": "me"})
    error = await check_not_sent(
        mock, client, lambda: client.lifecycle.duplicate("acme/demo", **arguments)
    )
    assert SECRET not in str(error) + repr(error)
    assert SECRET.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("value", [1, 0, "true", None])
async def test_malformed_factory_reboot_is_not_sent(
    mock: HubMock, client: SpacesClient, value: Any
) -> None:
    """A reboot is factory or not; what is merely truthy is refused."""
    await check_not_sent(
        mock,
        client,
        lambda: client.lifecycle.restart("acme/demo", factory_reboot=value),
    )


@pytest.mark.parametrize(
    "stages",
    [(), "", "running", "ASLEEP", ["RUNNING", "ASLEEP"], [5], [None], None, 5],
    ids=repr,
)
async def test_malformed_stages_are_not_sent(
    mock: HubMock, client: SpacesClient, stages: Any
) -> None:
    """A stage that does not exist would be waited for until the timeout."""
    await check_not_sent(
        mock, client, lambda: client.lifecycle.wait_until("acme/demo", stages)
    )


@pytest.mark.parametrize("seconds", [float("nan"), "600", True], ids=repr)
async def test_malformed_timeout_is_not_sent(
    mock: HubMock, client: SpacesClient, seconds: Any
) -> None:
    """A timeout that is no number of seconds would never, or wrongly, be over."""
    mock.answer("GET", RUNTIME, PAUSED_2026)
    wait = client.lifecycle.wait_until
    await check_not_sent(
        mock, client, lambda: wait("acme/demo", "PAUSED", timeout=seconds)
    )


# Answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", None),
        ("OK", None),
        ("[]", "$"),
        ("{}", "stage"),
        ('{"stage": null}', "stage"),
        ('{"stage": 5}', "stage"),
        ('{"error": "Space is stale"}', "Space is stale"),
        ("<html><title>Sign in</title></html>", None),
    ],
)
async def test_answer_that_is_no_runtime(
    mock: HubMock, client: SpacesClient, body: str, problem: str | None
) -> None:
    """A 2xx that is no runtime is an error that says what is wrong and where."""
    mock.answer("GET", RUNTIME, body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await client.lifecycle.get_runtime("acme/demo")
    error = caught.value
    assert (error.status, error.body) == (200, body)
    assert (error.method, error.url) == ("GET", HUB + RUNTIME)
    if problem is not None:
        assert problem in "; ".join(error.problems)


async def test_unreadable_answer_to_a_write(
    mock: HubMock, client: SpacesClient
) -> None:
    """A broken 2xx may not be the Hub's: whether it acted is unknown, and it is said."""
    mock.answer("POST", RESTART, body="<html>")
    with pytest.raises(UnexpectedResponseError) as caught:
        await client.lifecycle.restart("acme/demo")
    assert caught.value.outcome_unknown
    assert len(mock.sent) == 1


async def test_write_with_an_odd_answer_is_done(
    mock: HubMock, client: SpacesClient
) -> None:
    """A field of another type neither fails the write nor makes it unknown."""
    mock.answer("POST", RESTART, {"stage": "BUILDING", "gcTimeout": "48h", "sha": 1})
    runtime = await client.lifecycle.restart("acme/demo")
    assert (runtime.stage, runtime.sleep_time, runtime.sha) == ("BUILDING", None, None)
    assert len(runtime.problems) == 2
    assert len(mock.sent) == 1


async def test_large_answer(mock: HubMock, client: SpacesClient) -> None:
    """An answer of some hundred kilobytes is read to its end."""
    logs = "x" * 300_000
    mock.answer("GET", RUNTIME, {"stage": "RUNNING", "rawLogs": logs})
    runtime = await client.lifecycle.get_runtime("acme/demo")
    assert runtime.raw_logs == logs


# Duplicate: the name of the copy ------------------------------------------------------


def _answer_copy(mock: HubMock, count: int = 1) -> None:
    for _ in range(count):
        mock.answer("POST", DUPLICATE, {"url": COPY_URL})


@pytest.mark.parametrize(("to_id", "made"), [(None, "me/demo"), ("copy", "me/copy")])
async def test_copy_under_the_own_account(
    mock: HubMock, client: SpacesClient, to_id: str | None, made: str
) -> None:
    """Without an owner the copy goes to the token's user, whom whoami-v2 names."""
    mock.answer("GET", WHOAMI, {"type": "user", "name": "me", "orgs": []})
    _answer_copy(mock)
    copy = await client.lifecycle.duplicate("acme/demo", to_id)
    assert copy == CreatedSpace(made, COPY_URL)
    assert mock.lines() == [f"GET {WHOAMI}", f"POST {DUPLICATE}"]
    assert mock.sent[1].json == {"repository": made}
    for sent in mock.sent:
        check_headers(sent)


async def test_account_is_asked_for_once(mock: HubMock, client: SpacesClient) -> None:
    """The limit of whoami-v2 is strict: one call per token, also over views."""
    mock.answer("GET", WHOAMI, {"name": "me"})
    mock.answer("GET", WHOAMI, {"name": "you"})
    _answer_copy(mock, 4)
    view = client.with_options(timeouts=Timeouts(total=5.0))
    other = client.with_token("hf_another")
    for caller in (client, client, view, other):
        await caller.lifecycle.duplicate("acme/demo")
    lines = mock.lines()
    assert lines.count(f"GET {WHOAMI}") == 2
    bodies = [sent.json["repository"] for sent in mock.sent if sent.data]
    assert bodies == ["me/demo", "me/demo", "me/demo", "you/demo"]
    check_headers(mock.sent[-2], token="hf_another")


async def test_account_is_asked_for_once_at_once(
    mock: HubMock, client: SpacesClient
) -> None:
    """Two first copies at the same time share one whoami-v2."""
    mock.answer("GET", WHOAMI, {"name": "me"}, repeat=True)
    _answer_copy(mock, 3)
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(client.lifecycle.duplicate("acme/demo", name))
    assert mock.lines().count(f"GET {WHOAMI}") == 1


async def test_failed_whoami_is_asked_again(
    mock: HubMock, client: SpacesClient
) -> None:
    """A failure is not remembered, and nothing is copied before the name is known."""
    mock.answer("GET", WHOAMI, status=500)
    with pytest.raises(HubServerError):
        await client.lifecycle.duplicate("acme/demo")
    assert len(mock.sent) == 1
    mock.answer("GET", WHOAMI, {"name": "me"})
    _answer_copy(mock)
    assert (await client.lifecycle.duplicate("acme/demo")).repo_id == "me/demo"


async def test_full_target_asks_nobody(mock: HubMock, client: SpacesClient) -> None:
    """With an owner in `to_id` there is one request only."""
    _answer_copy(mock)
    await client.lifecycle.duplicate("acme/demo", "me/copy")
    assert mock.lines() == [f"POST {DUPLICATE}"]


async def test_anonymous_copy_without_owner(
    mock: HubMock, anonymous: SpacesClient
) -> None:
    """Nobody has no account to copy to."""
    mock.answer("GET", WHOAMI, {"error": "Invalid username or password."}, status=401)
    with pytest.raises(AuthenticationError):
        await anonymous.lifecycle.duplicate("acme/demo")
    assert mock.lines() == [f"GET {WHOAMI}"]


@pytest.mark.parametrize("answer", [{}, {"url": None}, {"filesCopyPending": True}])
async def test_copy_without_url(
    mock: HubMock, client: SpacesClient, answer: dict[str, Any]
) -> None:
    """An answer that names no URL is a copy all the same, and stays readable."""
    mock.answer("POST", DUPLICATE, answer)
    copy = await client.lifecycle.duplicate("acme/demo", "me/copy")
    assert copy == CreatedSpace("me/copy", None)
    assert copy.raw == answer


# Waiting ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stages",
    [
        {SpaceStage.RUNNING},
        {"RUNNING"},
        "RUNNING",
        SpaceStage.RUNNING,
        ["PAUSED", SpaceStage.RUNNING],
        frozenset(SpaceStage),
        None,
    ],
    ids=["a set", "a set of texts", "a text", "a stage", "a list", "all", "None"],
)
async def test_wait_for_stages(
    mock: HubMock, timed: SpacesClient, clock: ManualClock, stages: Any
) -> None:
    """Stages are enums, texts or one text; RUNNING is the default; one look may do."""
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    wait = timed.lifecycle.wait_until
    runtime = await (wait("acme/demo") if stages is None else wait("acme/demo", stages))
    assert runtime.stage is SpaceStage.RUNNING
    assert len(mock.sent) == 1
    assert clock.slept == []


async def test_wait_goes_on_by_itself(
    mock: HubMock, timed: SpacesClient, clock: ManualClock
) -> None:
    """Stages that pass, or may pass, by themselves do not end a wait."""
    on_the_way = [
        "BUILDING",
        "APP_STARTING",
        "RUNNING_BUILDING",
        "RUNNING_APP_STARTING",
        "SLEEPING",
        "STOPPED",
        "TELEPORTING",
    ]
    for stage in [*on_the_way, "RUNNING"]:
        mock.answer("GET", RUNTIME, wire(stage))
    runtime = await timed.lifecycle.wait_until("acme/demo")
    assert runtime.stage is SpaceStage.RUNNING
    assert mock.lines() == [f"GET {RUNTIME}"] * 8
    wanted = [min(1.5**count, 15.0) for count in range(7)]
    for slept, middle in zip(clock.slept, wanted, strict=True):
        assert middle * 0.8 <= slept <= middle * 1.2


async def test_interval_grows_no_further_than_15_seconds(
    mock: HubMock, timed: SpacesClient, clock: ManualClock
) -> None:
    """A long wait looks at least every 18 seconds, and none is spaced as another."""
    for _ in range(20):
        mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    await timed.lifecycle.wait_until("acme/demo", timeout=None)
    assert all(12.0 <= slept <= 18.0 for slept in clock.slept[7:])
    assert len(set(clock.slept)) == len(clock.slept)


async def test_wait_without_timeout(
    mock: HubMock, timed: SpacesClient, clock: ManualClock
) -> None:
    """None waits for ever, also beyond the default of ten minutes."""
    for _ in range(100):
        mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    await timed.lifecycle.wait_until("acme/demo", timeout=None)
    assert clock.monotonic() > 900


TAIL = (("tail", "20"),)
LOG = (
    'data: {"data":"===== Build =====\\n","timestamp":"2026-06-20T01:09:43Z"}\n\n'
    ": keep-alive\n\n"
    'data: {"data":"no wheel","timestamp":"2026-06-20T01:09:50.031Z"}\n\n'
)


@pytest.mark.parametrize(
    ("stage", "log"),
    [
        ("NO_APP_FILE", None),
        ("CONFIG_ERROR", None),
        ("BUILD_ERROR", "build"),
        ("RUNTIME_ERROR", "run"),
        ("PAUSED", None),
        ("DELETING", None),
    ],
)
async def test_wait_ends_in_a_dead_end(
    mock: HubMock, timed: SpacesClient, stage: str, log: str | None
) -> None:
    """A stage that no Space leaves by itself ends the wait, with the Hub's reason."""
    if log is not None:
        mock.answer("GET", f"{DEMO}/logs/{log}", query=TAIL, body=LOG)
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, wire(stage, errorMessage="Exit code: 1"))
    with pytest.raises(SpaceFailedError) as caught:
        await timed.lifecycle.wait_until("acme/demo")
    error = caught.value
    assert error.repo_id == "acme/demo"
    assert error.runtime is not None
    assert (error.runtime.stage, error.runtime.error_message) == (stage, "Exit code: 1")
    for part in ("acme/demo", stage, "RUNNING", "Exit code: 1"):
        assert part in str(error)
    looks = [f"GET {RUNTIME}"] * 2
    assert mock.lines() == looks + ([] if log is None else [f"GET {DEMO}/logs/{log}"])
    assert error.log_tail == (() if log is None else ("===== Build =====", "no wheel"))
    if log is not None:
        assert mock.sent[-1].query == TAIL


@pytest.mark.parametrize(
    "lost",
    [
        {"status": 404},
        {"status": 500},
        {"status": 429, "headers": {"RateLimit": '"api";r=0;t=200'}},
        {"exception": aiohttp.ClientConnectionError("gone")},
        {"body": "<html></html>"},
        {"body": ""},
    ],
    ids=["404", "500", "429", "lost", "html", "empty"],
)
async def test_log_that_cannot_be_read_hides_no_failure(
    mock: HubMock, timed: SpacesClient, clock: ManualClock, lost: dict[str, Any]
) -> None:
    """The last lines are a courtesy: without them the failure is told all the same."""
    mock.answer("GET", RUNTIME, wire("BUILD_ERROR", errorMessage="Exit code: 1"))
    mock.answer("GET", f"{DEMO}/logs/build", query=TAIL, **lost)
    with pytest.raises(SpaceFailedError, match="Exit code: 1") as caught:
        await timed.lifecycle.wait_until("acme/demo")
    assert caught.value.log_tail == ()
    assert len(mock.sent) == 2
    assert clock.slept == []


async def test_log_is_cut_to_its_last_lines(mock: HubMock, timed: SpacesClient) -> None:
    """A Hub that sends more than was asked for does not make the error longer."""
    body = "".join(f'data: {{"data":"line {n}"}}\n\n' for n in range(30))
    mock.answer("GET", RUNTIME, wire("RUNTIME_ERROR"))
    mock.answer("GET", f"{DEMO}/logs/run", query=TAIL, body=body)
    with pytest.raises(SpaceFailedError) as caught:
        await timed.lifecycle.wait_until("acme/demo")
    assert caught.value.log_tail == tuple(f"line {n}" for n in range(10, 30))


@pytest.mark.parametrize(
    ("stage", "log"), [("BUILDING", "build"), ("APP_STARTING", "run")]
)
async def test_log_of_what_is_stuck(
    mock: HubMock, timed: SpacesClient, stage: str, log: str
) -> None:
    """What builds or starts without end has a log that tells where it hangs."""
    mock.answer("GET", RUNTIME, wire(stage), repeat=True)
    mock.answer("GET", f"{DEMO}/logs/{log}", query=TAIL, body=LOG)
    with pytest.raises(SpaceFailedError, match="is stuck") as caught:
        await timed.lifecycle.wait_until("acme/demo", stuck_after=30)
    assert caught.value.log_tail == ("===== Build =====", "no wheel")


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "PAUSED", "DELETING", "SLEEPING"])
async def test_wait_for_a_dead_end(
    mock: HubMock, timed: SpacesClient, stage: str
) -> None:
    """Where such a stage is waited for, it is what was wanted."""
    mock.answer("GET", RUNTIME, wire(stage))
    runtime = await timed.lifecycle.wait_until("acme/demo", stage)
    assert runtime.stage == stage


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 30, 600.0])
async def test_wait_times_out(
    mock: HubMock, timed: SpacesClient, clock: ManualClock, seconds: float
) -> None:
    """The wait ends to the second, after a last look, and tells the last stage."""
    mock.answer("GET", RUNTIME, wire("APP_STARTING"), repeat=True)
    with pytest.raises(WaitTimeoutError) as caught:
        await timed.lifecycle.wait_until("acme/demo", timeout=seconds)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.repo_id, error.timeout) == ("acme/demo", seconds)
    assert error.last_stage is SpaceStage.APP_STARTING
    assert "APP_STARTING" in str(error)
    assert clock.monotonic() == pytest.approx(seconds)
    assert len(mock.sent) == len(clock.slept) + 1


async def test_last_look_counts(
    mock: HubMock, timed: SpacesClient, clock: ManualClock
) -> None:
    """A Space that gets there within the timeout is seen, by a look at its end."""
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    await timed.lifecycle.wait_until("acme/demo", timeout=0.5)
    assert clock.slept == [0.5]


@pytest.mark.parametrize(("seconds", "unread"), [(0.5, False), (20, True)])
async def test_last_look_that_had_no_time_tells_nothing(
    mock: HubMock, timed: SpacesClient, seconds: float, unread: bool
) -> None:
    """Only a failed look that had a second says that the Space may be there by now."""
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, status=502, repeat=True)
    with pytest.raises(WaitTimeoutError) as caught:
        await timed.lifecycle.wait_until("acme/demo", timeout=seconds)
    assert caught.value.last_stage is SpaceStage.BUILDING
    assert caught.value.unread is unread


TROUBLE: list[tuple[str, dict[str, Any]]] = [
    ("500", {"status": 500}),
    ("502-html", {"status": 502, "body": "<html><title>Bad Gateway</title></html>"}),
    ("503", {"status": 503, "headers": {"Retry-After": "3"}}),
    ("429", {"status": 429, "headers": {"RateLimit": '"api";r=0;t=20'}}),
    ("429-action", {"status": 429, "headers": {"RateLimit": '"api";r=9;t=20'}}),
    ("no-json", {"body": "<html><title>Sign in</title></html>"}),
    ("no-runtime", {"payload": []}),
    ("lost", {"exception": aiohttp.ServerDisconnectedError()}),
    ("reset", {"exception": ConnectionResetError()}),
]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "trouble", [row[1] for row in TROUBLE], ids=[row[0] for row in TROUBLE]
)
async def test_wait_survives_trouble(
    mock: HubMock, timed: SpacesClient, trouble: dict[str, Any], times: int
) -> None:
    """What may be over in a moment does not end a wait, even without retries."""
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    for _ in range(times):
        mock.answer("GET", RUNTIME, **trouble)
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    runtime = await timed.lifecycle.wait_until("acme/demo")
    assert runtime.stage is SpaceStage.RUNNING
    assert len(mock.sent) == times + 2


async def test_wait_that_never_sees_the_space(
    mock: HubMock, timed: SpacesClient
) -> None:
    """Without one good look the timeout tells the trouble, and no stage."""
    mock.answer("GET", RUNTIME, status=502, repeat=True)
    with pytest.raises(WaitTimeoutError) as caught:
        await timed.lifecycle.wait_until("acme/demo", timeout=20)
    assert caught.value.last_stage is None
    assert "502" in str(caught.value)


async def test_old_stage_is_not_taken_for_a_new_one(
    mock: HubMock, timed: SpacesClient
) -> None:
    """A failed look tells nothing: the stage before it is not judged again."""
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, status=502, repeat=True)
    with pytest.raises(WaitTimeoutError) as caught:
        await timed.lifecycle.wait_until("acme/demo", timeout=20)
    assert caught.value.last_stage is SpaceStage.BUILDING
    assert "502" in str(caught.value)


async def test_used_up_quota_does_not_outlast_the_timeout(
    mock: HubMock, timed: SpacesClient, clock: ManualClock
) -> None:
    """The timeout of the wait holds also while the quota makes its looks wait."""
    closed = {"RateLimit": '"api";r=0;t=200'}
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, status=429, headers=closed)
    mock.answer("GET", RUNTIME, wire("BUILDING"), repeat=True)
    with pytest.raises(WaitTimeoutError):
        await timed.lifecycle.wait_until("acme/demo", timeout=10)
    assert clock.monotonic() <= 10.5


async def test_repeats_do_not_outlast_the_timeout(
    mock: HubMock, persistent: SpacesClient, clock: ManualClock
) -> None:
    """Nor do the repeats of a look that the server asks to wait for."""
    slow = {"Retry-After": "60"}
    mock.answer("GET", RUNTIME, status=503, headers=slow, repeat=True)
    with pytest.raises(WaitTimeoutError):
        await persistent.lifecycle.wait_until("acme/demo", timeout=10)
    assert clock.monotonic() <= 10.5


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (404, SpaceNotFoundError),
    ],
)
async def test_wait_ends_with_a_definite_error(
    mock: HubMock, timed: SpacesClient, status: int, error: type[SpacesError]
) -> None:
    """What waiting does not mend ends the wait at once."""
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    mock.answer("GET", RUNTIME, {"error": "no"}, status=status)
    with pytest.raises(error):
        await timed.lifecycle.wait_until("acme/demo")
    assert len(mock.sent) == 2


# Lost answers -------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [False, True])
@pytest.mark.parametrize("stage", ["BUILDING", "APP_STARTING"])
async def test_lost_restart_that_took_effect(
    mock: HubMock, persistent: SpacesClient, stage: str, *, factory: bool
) -> None:
    """A Space that builds or starts was restarted: not a second time."""
    query = (("factory", "true"),) if factory else ()
    mock.answer("POST", RESTART, status=502, query=query)
    mock.answer("GET", RUNTIME, wire(stage))
    runtime = await persistent.lifecycle.restart("acme/demo", factory_reboot=factory)
    assert runtime.stage == stage
    assert mock.lines() == [f"POST {RESTART}", f"GET {RUNTIME}"]


@pytest.mark.parametrize("stage", ["PAUSED", "SLEEPING", "STOPPED", "RUNTIME_ERROR"])
async def test_lost_restart_that_did_not_take_effect(
    mock: HubMock, persistent: SpacesClient, stage: str
) -> None:
    """A Space that stands still was not restarted: once more, and only once."""
    for _ in range(2):
        mock.answer("POST", RESTART, status=502)
        mock.answer("GET", RUNTIME, wire(stage))
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.restart("acme/demo")
    assert mock.lines() == [f"POST {RESTART}", f"GET {RUNTIME}"] * 2
    assert not caught.value.outcome_unknown


async def test_lost_restart_of_a_running_space(
    mock: HubMock, persistent: SpacesClient, clock: ManualClock
) -> None:
    """RUNNING is looked at twice: a restart may take a moment to show."""
    mock.answer("POST", RESTART, status=502)
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    mock.answer("GET", RUNTIME, wire("BUILDING"))
    runtime = await persistent.lifecycle.restart("acme/demo")
    assert runtime.stage is SpaceStage.BUILDING
    assert mock.lines() == [f"POST {RESTART}"] + [f"GET {RUNTIME}"] * 2
    assert clock.slept == [2.0]


async def test_lost_restart_that_still_runs(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """Still RUNNING after the settle time: nothing happened, so once more."""
    mock.answer("POST", RESTART, status=502)
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    mock.answer("GET", RUNTIME, wire("RUNNING"))
    mock.answer("POST", RESTART, BUILDING_2025)
    assert await persistent.lifecycle.restart("acme/demo") == BUILDING
    assert mock.lines().count(f"POST {RESTART}") == 2


@pytest.mark.parametrize("factory_reboot", [False, True])
async def test_a_restart_that_the_quota_ends_at_once(
    mock: HubMock, client: SpacesClient, *, factory_reboot: bool
) -> None:
    """A success whose runtime is paused for the compute quota is that quota's error."""
    message = "Quota exceeded for flavor cpu-basic (requested=1): current=3, limit=3"
    query = (("factory", "true"),) if factory_reboot else ()
    mock.answer("POST", RESTART, wire("PAUSED", errorMessage=message), query=query)
    with pytest.raises(ComputeQuotaError, match="cpu-basic") as caught:
        await client.lifecycle.restart("acme/demo", factory_reboot=factory_reboot)
    assert (caught.value.current, caught.value.limit) == (3, 3)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    "stage", ["DELETING", "TELEPORTING", "RUNNING_BUILDING", "RUNNING_APP_STARTING"]
)
async def test_lost_restart_that_nobody_can_judge(
    mock: HubMock, persistent: SpacesClient, stage: str
) -> None:
    """Where the stage tells nothing, nothing is repeated and the error says so."""
    mock.answer("POST", RESTART, status=502)
    mock.answer("GET", RUNTIME, wire(stage))
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.restart("acme/demo")
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"POST {RESTART}", f"GET {RUNTIME}"]


@pytest.mark.parametrize("stage", ["RUNNING", "PAUSED", "RUNTIME_ERROR"])
async def test_lost_factory_reboot_is_never_repeated(
    mock: HubMock, persistent: SpacesClient, stage: str
) -> None:
    """A factory reboot costs minutes: it is sent once, whatever is seen."""
    mock.answer("POST", RESTART, status=502, query=(("factory", "true"),))
    mock.answer("GET", RUNTIME, wire(stage), repeat=True)
    with pytest.raises(HubServerError):
        await persistent.lifecycle.restart("acme/demo", factory_reboot=True)
    assert mock.lines().count(f"POST {RESTART}") == 1


async def test_lost_factory_reboot_of_a_running_space_is_unknown(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """RUNNING right after a lost reboot proves nothing: it may take a moment to show."""
    mock.answer("POST", RESTART, status=502, query=(("factory", "true"),))
    mock.answer("GET", RUNTIME, wire("RUNNING"), repeat=True)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.restart("acme/demo", factory_reboot=True)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize(("stage", "posts"), [("PAUSED", 1), ("RUNNING", 2)])
async def test_lost_pause(
    mock: HubMock, persistent: SpacesClient, stage: str, posts: int
) -> None:
    """A paused Space was paused; any other is told once more."""
    mock.answer("POST", PAUSE, status=502)
    mock.answer("GET", RUNTIME, wire(stage))
    mock.answer("POST", PAUSE, PAUSED_2026)
    runtime = await persistent.lifecycle.pause("acme/demo")
    assert runtime.stage is SpaceStage.PAUSED
    assert mock.lines().count(f"POST {PAUSE}") == posts


COPY_INFO = "/api/spaces/me/copy"
CREATED_AT = (("expand", "createdAt"),)
NEW = {"_id": "1", "id": "me/copy", "createdAt": "2026-01-01T00:00:01.000Z"}
OLD = {"_id": "1", "id": "me/copy", "createdAt": "2025-12-31T23:00:00.000Z"}


async def test_lost_duplicate_that_took_effect(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """A copy that was made since is ours, and no second one is asked for."""
    mock.answer("POST", DUPLICATE, status=502)
    mock.answer("GET", COPY_INFO, NEW, query=CREATED_AT, headers=NOW)
    copy = await persistent.lifecycle.duplicate("acme/demo", "me/copy")
    assert copy.repo_id == "me/copy"
    assert mock.lines() == [f"POST {DUPLICATE}", f"GET {COPY_INFO}"]


async def test_lost_duplicate_by_the_clock_of_the_hub(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """Our own clock may go wrong by hours: what the Hub's `Date` says counts."""
    mock.answer("POST", DUPLICATE, status=502)
    late = {"id": "me/copy", "createdAt": "2026-01-01T04:59:59.000Z"}
    mock.answer("GET", COPY_INFO, late, query=CREATED_AT, headers=LATE)
    copy = await persistent.lifecycle.duplicate("acme/demo", "me/copy")
    assert copy.repo_id == "me/copy"


@pytest.mark.parametrize(
    "seen",
    [
        {"payload": OLD, "headers": NOW},
        {"status": 404, "headers": NOW},
        {"payload": {"id": "me/copy"}, "headers": NOW},
        {"payload": NEW, "headers": LATE},
        {"payload": NEW},
        {"payload": NEW, "headers": {"Date": "yesterday"}},
    ],
    ids=["old", "missing", "no-date", "hub-is-later", "no-clock", "bad-clock"],
)
async def test_lost_duplicate_is_never_repeated(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any]
) -> None:
    """What is older may be another's, what is missing may come: nobody can say."""
    mock.answer("POST", DUPLICATE, status=502)
    mock.answer("GET", COPY_INFO, query=CREATED_AT, **seen)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.duplicate("acme/demo", "me/copy")
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"POST {DUPLICATE}", f"GET {COPY_INFO}"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [("restart", BUILDING), ("pause", SpaceRuntime(SpaceStage.PAUSED))],
)
async def test_broken_answer(
    mock: HubMock, persistent: SpacesClient, name: str, seen: SpaceRuntime
) -> None:
    """A 2xx that cannot be read proves nothing: the runtime shows what happened."""
    mock.answer("POST", f"{DEMO}/{name}", body="{")
    wire = BUILDING_2025 if name == "restart" else {"stage": "PAUSED"}
    mock.answer("GET", RUNTIME, wire)
    assert await getattr(persistent.lifecycle, name)("acme/demo") == seen
    assert mock.lines() == [f"POST {DEMO}/{name}", f"GET {RUNTIME}"]


async def test_broken_answer_to_a_duplicate(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """The copy was made: its info is read instead of the broken answer."""
    mock.answer("POST", DUPLICATE, body="{")
    mock.answer("GET", COPY_INFO, NEW, query=CREATED_AT, headers=NOW)
    copy = await persistent.lifecycle.duplicate("acme/demo", "me/copy")
    assert copy == CreatedSpace("me/copy", None)
    assert len(mock.sent) == 2


async def test_without_retries_nothing_is_looked_at(
    mock: HubMock, client: SpacesClient
) -> None:
    """`RetryPolicy.off()` sends one request, and the doubt is the caller's."""
    assert client.with_options(retry=RetryPolicy.off()) is not client
    mock.answer("POST", RESTART, status=502)
    with pytest.raises(HubServerError) as caught:
        await client.lifecycle.restart("acme/demo")
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"POST {RESTART}"]


# Create, delete, move -----------------------------------------------------------------

SPACE_INFO = DEMO
IN_PROGRESS = {
    "error": "Cannot create repo: another conflicting operation is in progress"
}
THERE = {"_id": "1", "id": "acme/demo", "createdAt": "2026-01-01T00:00:01.000Z"}
MOVED_INFO = "/api/spaces/me/moved"


async def test_own_account_is_null(mock: HubMock, client: SpacesClient) -> None:
    """A bare name goes out without an owner: the Hub knows whose token it is."""
    made = {"url": f"{HUB}/spaces/me/demo", "name": "me/demo", "id": "67ca"}
    mock.answer("POST", CREATE, made)
    space = await client.lifecycle.create("demo", sdk="gradio")
    assert mock.lines() == [f"POST {CREATE}"]
    assert mock.sent[0].json == {**OWN, "organization": None, "sdk": "gradio"}
    assert (space.url, space.raw) == (made["url"], made)


async def test_bare_name_becomes_an_id(mock: HubMock, client: SpacesClient) -> None:
    """`CreatedSpace.repo_id` is "owner/name", so that the next call can take it."""
    mock.answer("POST", CREATE, {"url": f"{HUB}/spaces/me/demo", "name": "me/demo"})
    space = await client.lifecycle.create("demo", sdk="gradio")
    assert space.repo_id == "me/demo"


@pytest.mark.parametrize(
    "arguments",
    [
        *({"sdk": value} for value in ("", "GRADIO", "holodeck", None, 5)),
        *({"private": value} for value in (1, 0, "true")),
        *({"visibility": value} for value in ("", "secret", True)),
        {"private": True, "visibility": "private"},
        *({"hardware": value} for value in BAD_FLAVORS),
        *({"sleep_time": value} for value in BAD_SLEEP_TIMES),
        *({"secrets": value} for value in BAD_ENTRIES),
        *({"variables": value} for value in BAD_ENTRIES),
        {"volumes": [Volume(VolumeType.BUCKET, "a/b", "d")]},
        *({"template": value} for value in ("jupyterlab", "a/../b", 5)),
        *({"short_description": value} for value in ("x" * 61, 5)),
        *({"sdk_version": value} for value in (5, "\ud800")),
        *({"dev_mode": value} for value in (1, "true")),
        {"resource_group_id": 5},
        *({"region": value} for value in ("", "asia", 5)),
        {"license": 5},
        *({"files": value} for value in (5, "app.py")),
        pytest.param(
            {"files": [{"path": "a.bin", "content": b"\x00"}]},
        ),
    ],
    ids=ascii,
)
async def test_malformed_create_is_not_sent(
    mock: HubMock, client: SpacesClient, arguments: dict[str, Any]
) -> None:
    """Malformed options of a new Space are refused, and no error shows a secret."""
    given = {"sdk": "gradio", **arguments}
    error = await check_not_sent(
        mock, client, lambda: client.lifecycle.create("acme/demo", **given)
    )
    assert SECRET not in str(error) + repr(error)
    assert SECRET.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("sdk", ["streamlit", SpaceSdk.STREAMLIT], ids=repr)
async def test_streamlit_is_refused_with_the_reason(
    mock: HubMock, client: SpacesClient, sdk: str
) -> None:
    """The Hub no longer takes it; the error says what to use, and nothing is sent."""
    error = await check_not_sent(
        mock, client, lambda: client.lifecycle.create("acme/demo", sdk=sdk)
    )
    assert "no longer" in str(error)
    assert "Docker Space" in str(error)


@pytest.mark.parametrize(
    "repo_id", [bad for bad in BAD_REPO_IDS if bad != "demo"], ids=repr
)
async def test_malformed_new_id_is_not_sent(
    mock: HubMock, client: SpacesClient, repo_id: Any
) -> None:
    """Neither is a malformed id of the new Space."""
    await check_not_sent(
        mock, client, lambda: client.lifecycle.create(repo_id, sdk="gradio")
    )


@pytest.mark.parametrize("repo_id", FEW_BAD_REPO_IDS, ids=repr)
async def test_malformed_end_is_not_sent(
    mock: HubMock, client: SpacesClient, repo_id: Any
) -> None:
    """What deletes or moves takes no id that is not whole, on either side."""
    life = client.lifecycle
    await check_not_sent(mock, client, lambda: life.delete(repo_id))
    await check_not_sent(mock, client, lambda: life.delete(repo_id, missing_ok=True))
    await check_not_sent(mock, client, lambda: life.move(repo_id, "me/moved"))
    await check_not_sent(mock, client, lambda: life.move("acme/demo", repo_id))
    await check_not_sent(mock, client, lambda: life.wake(repo_id))


async def test_existing_space_is_fine_if_it_may_exist(
    mock: HubMock, client: SpacesClient
) -> None:
    """With `exist_ok` a 409 about the Space itself is a success, without a look."""
    mock.answer("POST", CREATE, body=EXISTS.body, status=409)
    space = await client.lifecycle.create("acme/demo", sdk="gradio", exist_ok=True)
    assert space.repo_id == "acme/demo"
    assert mock.lines() == [f"POST {CREATE}"]


REFUSED_CREATE = [
    (401, AuthenticationError),
    (402, PaymentRequiredError),
    (403, PermissionDeniedError),
]


@pytest.mark.parametrize(("status", "error"), REFUSED_CREATE)
async def test_existing_space_that_one_may_not_create(
    mock: HubMock, client: SpacesClient, status: int, error: type[SpacesError]
) -> None:
    """The Hub refuses before it looks: with `exist_ok` an existing Space is enough."""
    mock.answer("POST", CREATE, {"error": "no"}, status=status)
    mock.answer("GET", SPACE_INFO, THERE, query=CREATED_AT)
    space = await client.lifecycle.create("acme/demo", sdk="gradio", exist_ok=True)
    assert space.repo_id == "acme/demo"
    assert mock.lines() == [f"POST {CREATE}", f"GET {SPACE_INFO}"]


@pytest.mark.parametrize("seen", [404, 401, 500])
@pytest.mark.parametrize(("status", "error"), REFUSED_CREATE)
async def test_missing_space_that_one_may_not_create(
    mock: HubMock,
    client: SpacesClient,
    status: int,
    error: type[SpacesError],
    seen: int,
) -> None:
    """Where it is not seen to exist, the Hub's refusal is raised, not the look's."""
    mock.answer("POST", CREATE, {"error": "not for you"}, status=status)
    mock.answer("GET", SPACE_INFO, {"error": "else"}, status=seen, query=CREATED_AT)
    with pytest.raises(error, match="not for you") as caught:
        await client.lifecycle.create("acme/demo", sdk="gradio", exist_ok=True)
    assert type(caught.value) is error
    assert mock.lines() == [f"POST {CREATE}", f"GET {SPACE_INFO}"]


@pytest.mark.parametrize("exist_ok", [False, True])
@pytest.mark.parametrize("refusals", [1, 4])
async def test_create_waits_for_its_turn(
    mock: HubMock,
    timed: SpacesClient,
    clock: ManualClock,
    refusals: int,
    exist_ok: bool,
) -> None:
    """The Hub makes one repository at a time for each user: ask again, ever later."""
    for _ in range(refusals):
        mock.answer("POST", CREATE, IN_PROGRESS, status=409)
    mock.answer("POST", CREATE, MADE)
    space = await timed.lifecycle.create("acme/demo", sdk="gradio", exist_ok=exist_ok)
    assert space == CreatedSpace("acme/demo", NEW_URL)
    assert mock.lines() == [f"POST {CREATE}"] * (refusals + 1)
    assert len({json.dumps(sent.json) for sent in mock.sent}) == 1
    assert clock.slept == [1.0, 2.0, 4.0, 8.0][:refusals]


@pytest.mark.parametrize("exist_ok", [False, True])
async def test_create_does_not_wait_for_ever(
    mock: HubMock, timed: SpacesClient, clock: ManualClock, exist_ok: bool
) -> None:
    """After five refusals it ends; that something is going on is no existing Space."""
    mock.answer("POST", CREATE, IN_PROGRESS, status=409, repeat=True)
    with pytest.raises(ConflictError, match="in progress"):
        await timed.lifecycle.create("acme/demo", sdk="gradio", exist_ok=exist_ok)
    assert mock.lines() == [f"POST {CREATE}"] * 5
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]


async def test_create_with_refused_flavor(mock: HubMock, client: SpacesClient) -> None:
    """A flavor that the Hub refuses for a new Space names the known ones."""
    mock.answer("POST", CREATE, {"error": "Invalid hardware"}, status=400)
    with pytest.raises(InvalidHardwareError) as caught:
        await client.lifecycle.create("acme/demo", sdk="gradio", hardware="t5-huge")
    assert caught.value.flavor == "t5-huge"


async def test_lost_create_that_took_effect(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """A Space that was made since is ours, by the Hub's clock."""
    mock.answer("POST", CREATE, status=502)
    made = {"id": "acme/demo", "createdAt": "2026-01-01T05:00:00.000Z"}
    mock.answer("GET", SPACE_INFO, made, query=CREATED_AT, headers=LATE)
    space = await persistent.lifecycle.create("acme/demo", sdk="gradio")
    assert space.repo_id == "acme/demo"
    assert mock.lines() == [f"POST {CREATE}", f"GET {SPACE_INFO}"]


@pytest.mark.parametrize(
    "seen",
    [
        {"payload": {**THERE, "createdAt": "2025-12-31T23:00:00Z"}, "headers": NOW},
        {"payload": THERE, "headers": LATE},
        {"payload": THERE},
        {"payload": {"id": "acme/demo"}, "headers": NOW},
        {"status": 404, "headers": NOW},
    ],
    ids=["old", "hub-is-later", "no-clock", "no-date", "missing"],
)
@pytest.mark.parametrize("exist_ok", [False, True])
async def test_lost_create_is_never_repeated(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any], exist_ok: bool
) -> None:
    """Where nobody can say whether it is ours, the error says so, and no more goes."""
    mock.answer("POST", CREATE, status=502)
    mock.answer("GET", SPACE_INFO, query=CREATED_AT, **seen)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.create("acme/demo", sdk="gradio", exist_ok=exist_ok)
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"POST {CREATE}", f"GET {SPACE_INFO}"]


async def test_lost_create_under_the_own_account(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """Where nobody says whose account that is, it is sent once, and is not known."""
    mock.answer("POST", CREATE, status=502)
    mock.answer("GET", "/api/whoami-v2", status=404)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.create("demo", sdk="gradio")
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"POST {CREATE}", "GET /api/whoami-v2"]


async def test_broken_answer_to_a_create(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """The Space was made: its info is read instead of the broken answer."""
    mock.answer("POST", CREATE, body="{")
    mock.answer("GET", SPACE_INFO, THERE, query=CREATED_AT, headers=NOW)
    space = await persistent.lifecycle.create("acme/demo", sdk="gradio")
    assert space == CreatedSpace("acme/demo", None)
    assert len(mock.sent) == 2


async def test_delete_of_what_is_missing(mock: HubMock, client: SpacesClient) -> None:
    """What is not there is an error, unless it may be missing."""
    for _ in range(2):
        mock.answer(
            "DELETE",
            DELETE,
            {"error": "Repository not found"},
            status=404,
            headers={"X-Error-Code": "RepoNotFound"},
        )
    with pytest.raises(SpaceNotFoundError):
        await client.lifecycle.delete("acme/demo")
    await client.lifecycle.delete("acme/demo", missing_ok=True)
    assert mock.lines() == [f"DELETE {DELETE}"] * 2


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)]
)
async def test_delete_that_is_refused_is_not_missing(
    mock: HubMock, client: SpacesClient, status: int, error: type[SpacesError]
) -> None:
    """`missing_ok` is about a Space that is missing, not about one that stays."""
    mock.answer("DELETE", DELETE, {"error": "no"}, status=status)
    with pytest.raises(error):
        await client.lifecycle.delete("acme/demo", missing_ok=True)


@pytest.mark.parametrize("missing_ok", [False, True])
async def test_lost_delete_that_took_effect(
    mock: HubMock, persistent: SpacesClient, missing_ok: bool
) -> None:
    """A Space that is gone after a lost answer was deleted: nothing more is sent."""
    mock.answer("DELETE", DELETE, status=502)
    mock.answer("GET", SPACE_INFO, status=404, query=CREATED_AT)
    await persistent.lifecycle.delete("acme/demo", missing_ok=missing_ok)
    assert mock.lines() == [f"DELETE {DELETE}", f"GET {SPACE_INFO}"]


@pytest.mark.parametrize("seen", [{"payload": THERE}, {"status": 401}, {"status": 403}])
async def test_lost_delete_is_never_repeated(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any]
) -> None:
    """A Space that is still there, or cannot be seen, may be going: nobody knows."""
    mock.answer("DELETE", DELETE, status=502)
    mock.answer("GET", SPACE_INFO, query=CREATED_AT, **seen)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.delete("acme/demo", missing_ok=True)
    assert caught.value.outcome_unknown
    assert mock.lines() == [f"DELETE {DELETE}", f"GET {SPACE_INFO}"]


async def test_lost_move_that_took_effect(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """A Space that is at its new place, and no more at the old one, was moved."""
    mock.answer("POST", MOVE, status=502)
    moved = {"id": "me/moved", "createdAt": "2025-01-01T00:00:00Z"}
    mock.answer("GET", MOVED_INFO, moved, query=CREATED_AT, headers=NOW, repeat=True)
    mock.answer("GET", SPACE_INFO, status=404, query=CREATED_AT, repeat=True)
    await persistent.lifecycle.move("acme/demo", "me/moved")
    assert mock.lines().count(f"POST {MOVE}") == 1


async def test_lost_move_to_a_place_that_was_taken(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """Another's Space at the target is no proof while the source has not moved."""
    mock.answer("POST", MOVE, status=502)
    other = {"id": "me/moved", "createdAt": "2025-01-01T00:00:00Z"}
    mock.answer("GET", MOVED_INFO, other, query=CREATED_AT, headers=NOW, repeat=True)
    mock.answer("GET", SPACE_INFO, THERE, query=CREATED_AT, headers=NOW, repeat=True)
    with pytest.raises(HubServerError):
        await persistent.lifecycle.move("acme/demo", "me/moved")


@pytest.mark.parametrize(
    "seen",
    [{"status": 404}, {"status": 403}, {"payload": {"id": "me/elsewhere"}}],
    ids=["404", "403", "redirected"],
)
async def test_lost_move_is_never_repeated(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any]
) -> None:
    """A target that is not there may come: nobody knows, and nothing is repeated."""
    mock.answer("POST", MOVE, status=502)
    mock.answer("GET", MOVED_INFO, query=CREATED_AT, **seen)
    with pytest.raises(HubServerError) as caught:
        await persistent.lifecycle.move("acme/demo", "me/moved")
    assert caught.value.outcome_unknown
    assert mock.lines().count(f"POST {MOVE}") == 1


# Wake ---------------------------------------------------------------------------------


async def test_wake_that_cannot_look_restarts_nothing(
    mock: HubMock, client: SpacesClient
) -> None:
    """Without knowing the stage nothing is restarted."""
    mock.answer("GET", RUNTIME, status=502)
    with pytest.raises(HubServerError) as caught:
        await client.lifecycle.wake("acme/demo")
    assert not caught.value.outcome_unknown
    assert mock.lines() == [f"GET {RUNTIME}"]


async def test_wake_that_is_refused(mock: HubMock, client: SpacesClient) -> None:
    """Who may look may yet not restart: the refusal of the restart is raised."""
    mock.answer("GET", RUNTIME, wire("SLEEPING"))
    mock.answer("POST", RESTART, {"error": "not yours"}, status=403)
    with pytest.raises(PermissionDeniedError, match="not yours"):
        await client.lifecycle.wake("acme/demo")
    assert mock.lines() == [f"GET {RUNTIME}", f"POST {RESTART}"]
