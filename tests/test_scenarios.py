"""The scenarios of the mission, each through the public API on a real socket.

Time at the Hub stands still until a test turns it: what is being built stays so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from spaces_async import (
    AuthenticationError,
    ClientSettings,
    CreatedSpace,
    InvalidHardwareError,
    RetryPolicy,
    SpaceHardware,
    SpacesClient,
    SpaceStage,
    SpaceStorage,
)
from spaces_async.testing import FakeHub, FakeSpace, ManualClock

DEMO = "acme/demo"
ONCE = ClientSettings(retry=RetryPolicy.off())
SOON = 3600.0  # longer than any build


@pytest.fixture
def clock() -> ManualClock:
    """The Hub's time."""
    return ManualClock()


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub on which the default user may write to `acme/demo`."""
    async with FakeHub(clock=clock) as hub:
        hub.add_org("acme", {"tester": "write"})
        hub.add_space(
            DEMO,
            hardware="cpu-upgrade",
            sleep_time=None,
            variables={"MODEL": "acme/small"},
            secrets={"API_KEY": "old"},
        )
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[SpacesClient]:
    """A client of the default user's that sends each call once."""
    async with SpacesClient(token=hub.token, endpoint=hub.url, settings=ONCE) as client:
        yield client


@pytest.fixture
def demo(hub: FakeHub) -> FakeSpace:
    """The Space as the Hub has it."""
    return hub.space(DEMO)


async def test_get_runtime_running(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace
) -> None:
    """A running Space tells its stage and the hardware it runs on; nothing changes."""
    runtime = await client.lifecycle.get_runtime(DEMO)
    assert runtime.stage is SpaceStage.RUNNING
    assert runtime.stage.is_running
    assert runtime.hardware is SpaceHardware.CPU_UPGRADE
    assert runtime.requested_hardware is SpaceHardware.CPU_UPGRADE
    assert demo.stage is SpaceStage.RUNNING
    assert [request.acted for request in hub.requests] == [False]


async def test_get_runtime_paused(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace
) -> None:
    """A paused Space runs on nothing but remembers what it was told to run on."""
    hub.set_stage(DEMO, "PAUSED")
    runtime = await client.lifecycle.get_runtime(DEMO)
    assert runtime.stage is SpaceStage.PAUSED
    assert runtime.stage.is_idle
    assert runtime.hardware is None
    assert runtime.requested_hardware is SpaceHardware.CPU_UPGRADE
    assert demo.stage is SpaceStage.PAUSED


async def test_get_variables(client: SpacesClient, demo: FakeSpace) -> None:
    """All variables come with value, description and the instant of their writing."""
    demo.set_config("variables", "THEME", "dark", "of the page")
    variables = await client.config.get_variables(DEMO)
    seen = {key: (v.key, v.value, v.description) for key, v in variables.items()}
    assert seen == {
        "MODEL": ("MODEL", "acme/small", None),
        "THEME": ("THEME", "dark", "of the page"),
    }
    assert variables["THEME"].updated_at == demo.variables["THEME"].updated_at


async def test_add_secret(client: SpacesClient, demo: FakeSpace) -> None:
    """A new secret is on the Hub with its value, which no later answer shows."""
    await client.config.add_secret(DEMO, "TOKEN", "s3cret", description="for the API")
    assert demo.secrets["TOKEN"].value == "s3cret"
    assert demo.secrets["API_KEY"].value == "old"
    secrets = await client.config.get_secrets(DEMO)
    assert set(secrets) == {"API_KEY", "TOKEN"}
    assert secrets["TOKEN"].description == "for the API"
    assert "s3cret" not in repr(secrets) + repr(secrets["TOKEN"].raw)


async def test_update_secret(client: SpacesClient, demo: FakeSpace) -> None:
    """Adding a secret that is there replaces its value and adds no second one."""
    await client.config.add_secret(DEMO, "API_KEY", "new")
    assert {key: s.value for key, s in demo.secrets.items()} == {"API_KEY": "new"}


async def test_delete_secret(client: SpacesClient, demo: FakeSpace) -> None:
    """A deleted secret is gone, and deleting it again is no error."""
    await client.config.delete_secret(DEMO, "API_KEY")
    assert demo.secrets == {}
    assert await client.config.get_secrets(DEMO) == {}
    await client.config.delete_secret(DEMO, "API_KEY")


async def test_add_variable_with_description(
    client: SpacesClient, demo: FakeSpace
) -> None:
    """A new variable comes back, and is on the Hub, with value and description."""
    variable = await client.config.add_variable(
        DEMO, "THEME", "dark", description="of the page"
    )
    assert (variable.key, variable.value) == ("THEME", "dark")
    assert variable.description == "of the page"
    assert demo.variables["THEME"][:2] == ("dark", "of the page")
    assert demo.variables["MODEL"].value == "acme/small"


async def test_update_variable(client: SpacesClient, demo: FakeSpace) -> None:
    """A new value without a description leaves the description that is there."""
    demo.set_config("variables", "MODEL", "acme/small", "which model")
    variable = await client.config.add_variable(DEMO, "MODEL", "acme/large")
    assert (variable.value, variable.description) == ("acme/large", "which model")
    assert set(demo.variables) == {"MODEL"}
    assert demo.variables["MODEL"][:2] == ("acme/large", "which model")


async def test_delete_variable(client: SpacesClient, demo: FakeSpace) -> None:
    """A deleted variable is gone, what is left comes back, again is no error."""
    demo.set_config("variables", "THEME", "dark")
    left = await client.config.delete_variable(DEMO, "MODEL")
    assert {key: v.value for key, v in left.items()} == {"THEME": "dark"}
    assert set(demo.variables) == {"THEME"}
    assert set(await client.config.delete_variable(DEMO, "MODEL")) == {"THEME"}


async def test_request_gpu(
    client: SpacesClient, demo: FakeSpace, clock: ManualClock
) -> None:
    """The GPU is requested at once, and is what the Space runs on some time later."""
    runtime = await client.hardware.request_hardware(DEMO, SpaceHardware.T4_SMALL)
    assert runtime.requested_hardware is SpaceHardware.T4_SMALL
    assert runtime.hardware is SpaceHardware.CPU_UPGRADE
    assert demo.requested_hardware == "t4-small"
    clock.advance(SOON)
    assert demo.hardware == "t4-small"
    later = await client.lifecycle.get_runtime(DEMO)
    assert later.hardware is SpaceHardware.T4_SMALL


async def test_downgrade_to_cpu(
    hub: FakeHub, client: SpacesClient, clock: ManualClock
) -> None:
    """A Space leaves its GPU for the free CPU, where it sleeps after 48 hours."""
    gpu = hub.add_space("acme/gpu", hardware="a10g-small")
    runtime = await client.hardware.request_hardware("acme/gpu", "cpu-basic")
    assert runtime.requested_hardware is SpaceHardware.CPU_BASIC
    assert runtime.sleep_time == 172800
    clock.advance(SOON)
    assert gpu.hardware == "cpu-basic"


async def test_set_sleep_time(
    client: SpacesClient, demo: FakeSpace, clock: ManualClock
) -> None:
    """After the set time without a visit, and not before, the Space sleeps."""
    runtime = await client.hardware.set_sleep_time(DEMO, 7200)
    assert runtime.sleep_time == 7200
    assert demo.sleep_time == 7200
    clock.advance(7199)
    assert demo.stage is SpaceStage.RUNNING
    clock.advance(1)
    assert (await client.lifecycle.get_runtime(DEMO)).stage is SpaceStage.SLEEPING


async def test_disable_sleep(
    client: SpacesClient, demo: FakeSpace, clock: ManualClock
) -> None:
    """With -1 a Space that slept after an hour never sleeps again."""
    demo.set_sleep_time(3600)
    runtime = await client.hardware.set_sleep_time(DEMO, -1)
    assert runtime.sleep_time is None
    assert demo.sleep_time is None
    clock.advance(30 * 86400)
    assert demo.stage is SpaceStage.RUNNING


async def test_request_storage(client: SpacesClient, demo: FakeSpace) -> None:
    """The requested tier is in the runtime and on the Hub."""
    runtime = await client.storage.request_storage(DEMO, SpaceStorage.SMALL)
    assert runtime.storage is SpaceStorage.SMALL
    assert demo.storage == "small"


async def test_delete_storage(client: SpacesClient, demo: FakeSpace) -> None:
    """Deleted storage is gone, in the runtime and on the Hub."""
    demo.storage = "medium"
    runtime = await client.storage.delete_storage(DEMO)
    assert runtime.storage is None
    assert demo.storage is None


async def test_pause(client: SpacesClient, demo: FakeSpace, clock: ManualClock) -> None:
    """A paused Space stops at once and stays paused however long nobody restarts it."""
    runtime = await client.lifecycle.pause(DEMO)
    assert runtime.stage is SpaceStage.PAUSED
    assert (demo.stage, demo.pauses) == (SpaceStage.PAUSED, 1)
    assert demo.hardware is None
    clock.advance(30 * 86400)
    assert demo.stage is SpaceStage.PAUSED


async def test_restart(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace, clock: ManualClock
) -> None:
    """A restart, here out of PAUSED, builds anew once, and then the Space runs."""
    hub.set_stage(DEMO, "PAUSED")
    runtime = await client.lifecycle.restart(DEMO)
    assert runtime.stage is SpaceStage.BUILDING
    assert (demo.restarts, demo.factory_reboots) == (1, 0)
    clock.advance(SOON)
    assert (await client.lifecycle.wait_until(DEMO)).stage is SpaceStage.RUNNING
    assert demo.restarts == 1


async def test_factory_reboot(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace, clock: ManualClock
) -> None:
    """A factory reboot is no plain restart: it builds without the cache, once."""
    runtime = await client.lifecycle.restart(DEMO, factory_reboot=True)
    assert runtime.stage is SpaceStage.BUILDING
    assert (demo.restarts, demo.factory_reboots) == (0, 1)
    assert hub.requests[-1].query == [("factory", "true")]
    clock.advance(SOON)
    assert demo.stage is SpaceStage.RUNNING


async def test_duplicate(hub: FakeHub, client: SpacesClient, demo: FakeSpace) -> None:
    """A copy has the files and variables of its source, not its secrets."""
    copy = await client.lifecycle.duplicate(DEMO)
    assert copy == CreatedSpace("tester/demo", f"{hub.url}/spaces/tester/demo")
    made = hub.space("tester/demo")
    assert made.files == demo.files
    assert {key: v.value for key, v in made.variables.items()} == {
        "MODEL": "acme/small"
    }
    assert made.secrets == {}
    assert made.hardware is None
    assert made.requested_hardware == "cpu-basic"
    assert demo.stage is SpaceStage.RUNNING
    info = await client.catalog.get_info(copy.repo_id)
    assert (info.author, info.sdk) == ("tester", "gradio")


async def test_duplicate_with_hardware_and_storage(
    hub: FakeHub, client: SpacesClient
) -> None:
    """A copy is made as it is told to be: where, on what, with what, for whom."""
    copy = await client.lifecycle.duplicate(
        DEMO,
        "acme/copy",
        private=True,
        hardware=SpaceHardware.T4_MEDIUM,
        storage=SpaceStorage.LARGE,
        sleep_time=3600,
        secrets={"API_KEY": "s3cret"},
        variables={"MODEL": "acme/large"},
    )
    assert copy.repo_id == "acme/copy"
    assert hub.requests[-1].json == {
        "repository": "acme/copy",
        "visibility": "private",
        "hardware": "t4-medium",
        "storageTier": "large",
        "sleepTimeSeconds": 3600,
        "secrets": [{"key": "API_KEY", "value": "s3cret"}],
        "variables": [{"key": "MODEL", "value": "acme/large"}],
    }
    made = hub.space("acme/copy")
    assert made.private
    assert (made.requested_hardware, made.sleep_time) == ("t4-medium", 3600)
    assert made.secrets["API_KEY"].value == "s3cret"
    assert made.variables["MODEL"].value == "acme/large"
    assert made.storage == "large"


async def test_invalid_hardware(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace
) -> None:
    """A flavor that does not exist is refused by the Hub; the error names real ones."""
    with pytest.raises(InvalidHardwareError) as caught:
        await client.hardware.request_hardware(DEMO, "quantum-xl")
    error = caught.value
    assert (error.status, error.flavor) == (400, "quantum-xl")
    assert "t4-small" in error.known_flavors
    assert "t4-small" in str(error)
    assert demo.requested_hardware == "cpu-upgrade"
    assert [request.acted for request in hub.requests] == [False]


async def test_unauthorized(
    hub: FakeHub, client: SpacesClient, demo: FakeSpace
) -> None:
    """A wrong token and no token at all are 401, and change nothing."""
    for token in ("hf_wrong", False):
        with pytest.raises(AuthenticationError) as caught:
            await client.with_token(token).lifecycle.pause(DEMO)
        assert caught.value.status == 401
        assert "hf_wrong" not in str(caught.value)
    assert (demo.stage, demo.pauses) == (SpaceStage.RUNNING, 0)
    assert [request.status for request in hub.requests] == [401, 401]
    assert [request.token for request in hub.requests] == ["hf_wrong", None]
