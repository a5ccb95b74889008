"""`client.hardware`: flavors and sleep time."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from spaces_async import (
    Accelerator,
    BadRequestError,
    ConfigurationError,
    HardwareFlavor,
    InvalidHardwareError,
    NotFoundError,
    Replicas,
    SpaceHardware,
    SpaceRuntime,
    SpacesClient,
    SpaceStage,
    UnexpectedResponseError,
    ZeroGpuQuota,
)
from spaces_async._costs import prices
from spaces_async.hardware import Hardware
from tests.support.hub_mock import (
    BAD_FLAVORS,
    BAD_SLEEP_TIMES,
    DEMO,
    INVALID_BODY,
    NEEDS_PRO,
    NO_PAYMENT_METHOD,
    REFUSED_ANYWHERE,
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

HARDWARE = f"{DEMO}/hardware"
SLEEPTIME = f"{DEMO}/sleeptime"
REPLICAS = f"{DEMO}/replicas"
FLAVORS = "/api/spaces/hardware"
QUOTA = "/api/spaces/zero-gpu/quota"
INVALID_OPTION = (
    '✖ Invalid option: expected one of "cpu-basic"|"t4-small" → at "flavor"'
)


def _wire(
    requested: str, current: str | None = "cpu-upgrade", sleep: int | None = None
) -> dict[str, Any]:
    return {
        "stage": "RUNNING",
        "hardware": {"current": current, "requested": requested},
        "gcTimeout": sleep,
        "replicas": {"current": 1, "requested": 1},
        "devMode": False,
    }


def _runtime(
    requested: str, current: str | None = "cpu-upgrade", sleep: int | None = None
) -> SpaceRuntime:
    return SpaceRuntime(
        stage=SpaceStage.RUNNING,
        hardware=None if current is None else SpaceHardware(current),
        requested_hardware=SpaceHardware(requested),
        sleep_time=sleep,
        replicas=Replicas(current=1, requested=1),
        dev_mode=False,
    )


def _request(name: str, flavor: Any, sleep: int | None, body: dict[str, Any]) -> Case:
    shown = None if sleep == -1 else sleep
    return Case(
        id=f"request_hardware-{name}",
        name="request_hardware",
        invoke=lambda c: c.hardware.request_hardware(
            "acme/demo", flavor, sleep_time=sleep
        ),
        method="POST",
        path=HARDWARE,
        body=body,
        answer=_wire(str(flavor), sleep=shown),
        result=_runtime(str(flavor), sleep=shown),
    )


def _sleep(seconds: int) -> Case:
    shown = None if seconds == -1 else seconds
    return Case(
        id=f"set_sleep_time-{seconds}",
        name="set_sleep_time",
        invoke=lambda c: c.hardware.set_sleep_time("acme/demo", seconds),
        method="POST",
        path=SLEEPTIME,
        body={"seconds": seconds},
        answer=_wire("t4-small", "t4-small", shown),
        result=_runtime("t4-small", "t4-small", shown),
    )


def _copies(current: int | None, requested: int | str) -> dict[str, Any]:
    replicas = {"current": current, "requested": requested}
    return {**_wire("t4-small", "t4-small"), "replicas": replicas}


def _replicas(count: int) -> Case:
    return Case(
        id=f"set_replicas-{count}",
        name="set_replicas",
        invoke=lambda c: c.hardware.set_replicas("acme/demo", count),
        method="POST",
        path=REPLICAS,
        body={"replicas": count},
        answer=_copies(1, count),
        result=SpaceRuntime(
            stage=SpaceStage.RUNNING,
            hardware=SpaceHardware.T4_SMALL,
            requested_hardware=SpaceHardware.T4_SMALL,
            replicas=Replicas(1, count),
            dev_mode=False,
        ),
    )


def _quota(name: str, answer: dict[str, Any], result: ZeroGpuQuota) -> Case:
    return Case(
        id=f"get_zero_gpu_quota-{name}",
        name="get_zero_gpu_quota",
        invoke=lambda c: c.hardware.get_zero_gpu_quota(),
        method="GET",
        path=QUOTA,
        answer=answer,
        result=result,
    )


T4 = {
    "name": "t4-small",
    "prettyName": "Nvidia T4 - small",
    "cpu": "4 vCPU",
    "ram": "15 GB",
    "accelerator": {
        "type": "gpu",
        "model": "T4",
        "quantity": "1",
        "vram": "16 GB",
        "manufacturer": "Nvidia",
    },
    "unitCostMicroUSD": 6667,
    "unitCostUSD": 0.006667,
    "unitLabel": "minute",
}
CPU = {
    "name": "cpu-basic",
    "prettyName": "CPU Basic",
    "cpu": "2 vCPU",
    "ram": "16 GB",
    "accelerator": None,
    "unitCostMicroUSD": 0,
    "unitCostUSD": 0,
    "unitLabel": "minute",
}
RUNS = {"used": 1, "limit": 10, "remaining": 9, "resetsAt": None}
ABOUT_NO_SPACE = [
    Case(
        id="list_flavors",
        name="list_flavors",
        invoke=lambda c: c.hardware.list_flavors(),
        method="GET",
        path=FLAVORS,
        answer=[CPU, T4, {"name": "tpu-v9", "accelerator": {"quantity": 4}}],
        result=[
            HardwareFlavor(
                name=SpaceHardware.CPU_BASIC,
                pretty_name="CPU Basic",
                cpu="2 vCPU",
                ram="16 GB",
                unit_cost_usd=0.0,
                unit_cost_micro_usd=0,
                unit_label="minute",
            ),
            HardwareFlavor(
                name=SpaceHardware.T4_SMALL,
                pretty_name="Nvidia T4 - small",
                cpu="4 vCPU",
                ram="15 GB",
                accelerator=Accelerator("gpu", "T4", "1", "16 GB", "Nvidia"),
                unit_cost_usd=0.006667,
                unit_cost_micro_usd=6667,
                unit_label="minute",
            ),
            HardwareFlavor(
                name=SpaceHardware("tpu-v9"), accelerator=Accelerator(quantity="4")
            ),
        ],
    ),
    _quota(
        "used",
        {
            "base": 1500,
            "current": 1200.5,
            "resetsAt": "2026-07-01T12:00:00.000Z",
            "overquotaUsed": 3,
            "runs": RUNS,
        },
        ZeroGpuQuota(1500.0, 1200.5, datetime(2026, 7, 1, 12, tzinfo=UTC), 3.0),
    ),
    _quota(
        "unused",
        {"base": 300, "current": 300, "resetsAt": None},
        ZeroGpuQuota(300.0, 300.0),
    ),
]
CASES = [
    *ABOUT_NO_SPACE,
    _replicas(1),
    _replicas(4),
    _request("text", "t4-small", None, {"flavor": "t4-small"}),
    _request("enum", SpaceHardware.A10G_LARGE, None, {"flavor": "a10g-large"}),
    _request("cpu", SpaceHardware.CPU_BASIC, None, {"flavor": "cpu-basic"}),
    _request("new-to-us", "tpu-v9x8", None, {"flavor": "tpu-v9x8"}),
    _request(
        "sleep", "t4-small", 3600, {"flavor": "t4-small", "sleepTimeSeconds": 3600}
    ),
    _request("never", "t4-small", -1, {"flavor": "t4-small", "sleepTimeSeconds": -1}),
    _sleep(3600),
    _sleep(1),
    _sleep(-1),
]
CASES += cases_of_writes("hardware", CASES)
REFUSALS = [*REFUSED_FOR_SPACE, STATIC, NEEDS_PRO, NO_PAYMENT_METHOD, INVALID_BODY]


def test_every_method_has_a_row() -> None:
    """No method of the hardware goes without a test."""
    assert {case.name for case in CASES} == public_methods(Hardware)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out, and the runtime comes back."""
    await check_call(mock, client, case)


@refused((case for case in one_per_method(CASES) if case.is_write), REFUSALS)
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status becomes its error: a refusal for another reason blames no flavor."""
    await check_refusal(mock, client, case, refusal)


@refused(
    one_per_method(ABOUT_NO_SPACE),
    [*REFUSED_ANYWHERE, said("404", 404, NotFoundError, "Nothing here")],
)
async def test_refused_question(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """What is asked about no Space is refused without blaming one."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("flavor", "message"),
    [
        ("t5-huge", INVALID_OPTION),
        ("t5-huge", "Bad request"),
        ("h100", "Invalid hardware"),
        ("t4-small", "The flavor t4-small is not available to this account"),
        (SpaceHardware.T4_SMALL, "Hardware not available in this region"),
    ],
)
async def test_refused_flavor(
    mock: HubMock, client: SpacesClient, status: int, flavor: str, message: str
) -> None:
    """A flavor that the Hub refuses has an error of its own that names known ones."""
    mock.answer("POST", HARDWARE, {"error": message}, status=status)
    with pytest.raises(InvalidHardwareError) as caught:
        await client.hardware.request_hardware("acme/demo", flavor)
    error = caught.value
    assert isinstance(error, BadRequestError)
    assert error.flavor == flavor
    assert error.known_flavors == tuple(map(str, SpaceHardware))
    assert (error.status, error.method, error.attempts) == (status, "POST", 1)
    assert message in str(error)
    assert f"'{flavor}'" in str(error)
    assert "cpu-basic, cpu-upgrade" in str(error)
    assert "inf2x6" in str(error)
    assert len(mock.sent) == 1


@pytest.mark.parametrize("flavor", ["t4-small", "t5-huge"])
async def test_static_space_has_no_wrong_flavor(
    mock: HubMock, client: SpacesClient, flavor: str
) -> None:
    """Where the Space is static, no flavor is to blame, not even an unknown one."""
    message = "Static Spaces have no hardware"
    mock.answer("POST", HARDWARE, {"error": message}, status=400)
    with pytest.raises(BadRequestError) as caught:
        await client.hardware.request_hardware("acme/demo", flavor)
    assert type(caught.value) is BadRequestError


@pytest.mark.parametrize("flavor", [*BAD_FLAVORS, None], ids=repr)
async def test_malformed_flavor_is_not_sent(
    mock: HubMock, client: SpacesClient, flavor: Any
) -> None:
    """What cannot be a flavor at all is refused here, with the known ones."""
    error = await check_not_sent(
        mock, client, lambda: client.hardware.request_hardware("acme/demo", flavor)
    )
    assert "cpu-basic, cpu-upgrade" in str(error)


@pytest.mark.parametrize("seconds", BAD_SLEEP_TIMES, ids=repr)
async def test_malformed_sleep_time_is_not_sent(
    mock: HubMock, client: SpacesClient, seconds: Any
) -> None:
    """A sleep time is a whole number above 0, or -1: anything else is refused."""
    hardware = client.hardware
    await check_not_sent(
        mock, client, lambda: hardware.set_sleep_time("acme/demo", seconds)
    )
    with pytest.raises(ConfigurationError):
        await hardware.request_hardware("acme/demo", "t4-small", sleep_time=seconds)
    assert mock.sent == []


async def test_sleep_time_none_is_not_sent(mock: HubMock, client: SpacesClient) -> None:
    """None is no sleep time: never is -1, and nothing is guessed."""
    nothing: Any = None
    await check_not_sent(
        mock, client, lambda: client.hardware.set_sleep_time("acme/demo", nothing)
    )


@pytest.mark.parametrize("current", ["cpu-basic", None])
async def test_sleep_time_on_cpu_basic_warns(
    mock: HubMock, client: SpacesClient, current: str | None
) -> None:
    """On cpu-basic the Hub keeps to 48 hours: the caller's line is warned."""
    mock.answer("POST", SLEEPTIME, _wire("cpu-basic", current, 172800))
    with pytest.warns(UserWarning, match=r"acme/demo.*48 hours") as caught:
        runtime = await client.hardware.set_sleep_time("acme/demo", 60)
    assert runtime.sleep_time == 172800
    assert [warning.filename for warning in caught] == [__file__]


async def test_hardware_with_sleep_time_on_cpu_basic_warns(
    mock: HubMock, client: SpacesClient
) -> None:
    """The same holds where the sleep time comes along with cpu-basic."""
    mock.answer("POST", HARDWARE, _wire("cpu-basic", "t4-small", 172800))
    with pytest.warns(UserWarning, match="48 hours") as caught:
        await client.hardware.request_hardware("acme/demo", "cpu-basic", sleep_time=60)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    "flavor", [flavor for flavor in SpaceHardware if flavor != "cpu-basic"]
)
async def test_sleep_time_elsewhere_does_not_warn(
    mock: HubMock, client: SpacesClient, flavor: SpaceHardware
) -> None:
    """On other hardware, also when cpu-basic is still current, it takes effect."""
    mock.answer("POST", SLEEPTIME, _wire(flavor, "cpu-basic", 60))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await client.hardware.set_sleep_time("acme/demo", 60)
    assert not [w for w in caught if issubclass(w.category, UserWarning)]


@pytest.mark.parametrize("sleep", [None, 3600, -1])
async def test_lost_request_that_took_effect(
    mock: HubMock, persistent: SpacesClient, sleep: int | None
) -> None:
    """After a lost answer the runtime is read: what was requested is not sent again."""
    mock.answer("POST", HARDWARE, status=504)
    shown = None if sleep == -1 else sleep
    mock.answer("GET", RUNTIME, _wire("t4-small", sleep=shown))
    runtime = await persistent.hardware.request_hardware(
        "acme/demo", "t4-small", sleep_time=sleep
    )
    assert runtime == _runtime("t4-small", sleep=shown)
    assert mock.lines() == [f"POST {HARDWARE}", f"GET {RUNTIME}"]


@pytest.mark.parametrize(
    "seen",
    [_wire("cpu-upgrade"), _wire("t4-small", sleep=7200)],
    ids=["flavor", "sleep"],
)
async def test_lost_request_that_did_not_take_effect(
    mock: HubMock, persistent: SpacesClient, seen: dict[str, Any]
) -> None:
    """If the runtime shows another flavor or sleep time, the request is sent again."""
    mock.answer("POST", HARDWARE, status=504)
    mock.answer("GET", RUNTIME, seen)
    mock.answer("POST", HARDWARE, _wire("t4-small", sleep=3600))
    runtime = await persistent.hardware.request_hardware(
        "acme/demo", "t4-small", sleep_time=3600
    )
    assert runtime == _runtime("t4-small", sleep=3600)
    lines = [f"POST {HARDWARE}", f"GET {RUNTIME}", f"POST {HARDWARE}"]
    assert mock.lines() == lines


@cases(case for case in one_per_method(CASES) if case.is_write)
async def test_broken_answer(
    mock: HubMock, persistent: SpacesClient, case: Case
) -> None:
    """After a 2xx that cannot be read the runtime is read, or what costs nothing sent."""
    mock.answer(case.method, case.path, body="{")
    if case.name == "set_sleep_time":
        mock.answer(case.method, case.path, case.answer)
        then = f"{case.method} {case.path}"
    else:
        mock.answer("GET", RUNTIME, case.answer)
        then = f"GET {RUNTIME}"
    assert await case.invoke(persistent) == case.result
    assert mock.lines() == [f"{case.method} {case.path}", then]


# Replicas, flavors, quota -------------------------------------------------------------


@pytest.mark.parametrize(
    "replicas", [0, -1, True, 1.0, 2.5, "2", "auto", None], ids=repr
)
async def test_malformed_replicas_are_not_sent(
    mock: HubMock, client: SpacesClient, replicas: Any
) -> None:
    """Copies are counted: a whole number of at least 1."""
    await check_not_sent(
        mock, client, lambda: client.hardware.set_replicas("acme/demo", replicas)
    )


@pytest.mark.parametrize("body", ["", "OK", "{}", "null"])
async def test_replicas_with_an_answer_that_is_no_runtime(
    mock: HubMock, persistent: SpacesClient, body: str
) -> None:
    """What the endpoint answers is not documented: the runtime tells what became."""
    mock.answer("POST", REPLICAS, body=body)
    mock.answer("GET", RUNTIME, _copies(1, 3))
    runtime = await persistent.hardware.set_replicas("acme/demo", 3)
    assert runtime.replicas == Replicas(1, 3)
    assert mock.lines() == [f"POST {REPLICAS}", f"GET {RUNTIME}"]


async def test_price_of_an_hour(mock: HubMock, client: SpacesClient) -> None:
    """It is exact, and what a Space is said to cost; of an odd unit none is made up."""
    daily, hourly = {**T4, "unitLabel": "day"}, {**T4, "unitLabel": "hour"}
    mock.answer("GET", FLAVORS, [T4, daily, hourly, CPU, {"name": "x"}])
    t4, by_day, by_hour, free, bare = await client.hardware.list_flavors()
    assert t4.usd_per_hour == Decimal("0.40002") == prices([t4])["t4-small"]
    assert by_day.usd_per_hour is None
    assert by_hour.usd_per_hour == Decimal("0.006667")
    assert free.usd_per_hour == 0
    assert bare.usd_per_hour is None
    assert t4.raw == T4


async def test_runs_of_the_quota_are_in_raw(
    mock: HubMock, client: SpacesClient
) -> None:
    """The count of runs, which some accounts have, is readable in `raw`."""
    mock.answer("GET", QUOTA, {"base": 1, "current": 1, "runs": RUNS})
    assert (await client.hardware.get_zero_gpu_quota()).raw["runs"] == RUNS


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("list_flavors", FLAVORS, "{}"),
        ("list_flavors", FLAVORS, '[{"prettyName": "x"}]'),
        ("get_zero_gpu_quota", QUOTA, "[]"),
        ("get_zero_gpu_quota", QUOTA, ""),
    ],
)
async def test_answer_of_another_shape(
    mock: HubMock, client: SpacesClient, name: str, path: str, body: str
) -> None:
    """A 2xx that is not what the Hub documents is an error, not a guess."""
    mock.answer("GET", path, body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await getattr(client.hardware, name)()
    assert (caught.value.status, caught.value.body) == (200, body)
