"""Variables, secrets, settings, volumes, storage, domains."""

from __future__ import annotations

from typing import Any

import pytest

from spaces_async.testing import FakeHub, FakeSpace, ManualClock

DEMO = "/api/spaces/acme/demo"


@pytest.fixture
def demo(hub: FakeHub) -> Any:
    return hub.add_space("acme/demo", stage="PAUSED", variables={"A": "1"})


async def test_variables(
    hub: FakeHub, api: Any, demo: FakeSpace, clock: ManualClock
) -> None:
    """Each write answers the whole map; a missing key is no error when deleting."""
    clock.advance(0.5)
    body = {"key": "B", "value": "2", "description": "two"}
    both = (await api("POST", f"{DEMO}/variables", body)).json
    assert both["B"] == {
        "key": "B",
        "value": "2",
        "description": "two",
        "updatedAt": "2026-01-01T00:00:00.500Z",
    }
    assert both["A"]["updatedAt"] == "2026-01-01T00:00:00.000Z"
    assert (await api("GET", f"{DEMO}/variables")).json == both
    again = (await api("POST", f"{DEMO}/variables", {"key": "B"})).json
    assert (again["B"]["value"], again["B"]["description"]) == ("", "two")
    assert set((await api("DELETE", f"{DEMO}/variables", {"key": "A"})).json) == {"B"}
    assert set((await api("DELETE", f"{DEMO}/variables", {"key": "A"})).json) == {"B"}
    assert demo.variables["B"].value == ""


async def test_no_answer_shows_a_secret(
    hub: FakeHub, api: Any, demo: FakeSpace
) -> None:
    """The test sees the value in the Hub, and no endpoint gives it away."""
    value = "s3cret-value"
    seen = []

    async def call(*args: object) -> object:
        answer = await api(*args)
        seen.append(answer.text + str(answer.headers))
        return answer.json

    body = {"key": "S", "value": value, "description": "what for"}
    assert await call("POST", f"{DEMO}/secrets", body) == {}
    shown = await call("GET", f"{DEMO}/secrets")
    assert shown == {
        "S": {
            "key": "S",
            "description": "what for",
            "updatedAt": "2026-01-01T00:00:00.000Z",
        }
    }
    assert demo.secrets["S"].value == value
    for path in ("", "/variables", "/runtime", "?blobs=true"):
        await call("GET", DEMO + path)
    await call("GET", "/api/spaces?full=true&search=demo")
    await call("POST", f"{DEMO}/duplicate", {"repository": "acme/copy"})
    assert await call("DELETE", f"{DEMO}/secrets", {"key": "S"}) == {}
    assert await call("DELETE", f"{DEMO}/secrets", {"key": "S"}) == {}
    assert not any(value in text for text in seen)
    assert value not in repr(hub.requests)


async def test_settings_are_echoed(api: Any, demo: FakeSpace) -> None:
    """The visibility takes effect, everything comes back as it was sent."""
    body: dict[str, Any] = {
        "visibility": "private",
        "gated": "manual",
        "discussionsDisabled": True,
    }
    assert (await api("PUT", f"{DEMO}/settings", body)).json == body
    assert demo.private
    assert (await api("GET", DEMO)).json["gated"] == "manual"
    for body, shown in (
        ({"private": False}, "public"),
        ({"private": True}, "private"),
        ({"visibility": "protected"}, "protected"),
        ({"visibility": "public"}, "public"),
    ):
        await api("PUT", f"{DEMO}/settings", body)
        assert demo.visibility == shown


async def test_volumes(api: Any, demo: FakeSpace) -> None:
    """The list is replaced; repositories are read-only; none to delete is a 400."""
    volumes = [
        {"type": "bucket", "source": "acme/b", "mountPath": "/data"},
        {"type": "model", "source": "acme/m", "mountPath": "/m", "readOnly": False},
    ]
    answer = await api("PUT", f"{DEMO}/volumes", {"volumes": volumes})
    assert (answer.status, answer.text) == (200, "")
    shown = (await api("GET", f"{DEMO}/runtime")).json["volumes"]
    assert [volume["readOnly"] for volume in shown] == [False, True]
    assert (await api("DELETE", f"{DEMO}/volumes")).status == 200
    assert "volumes" not in (await api("GET", f"{DEMO}/runtime")).json
    assert (await api("DELETE", f"{DEMO}/volumes")).status == 400


async def test_legacy_storage(api: Any, demo: FakeSpace) -> None:
    """Both calls answer the runtime."""
    body = (await api("POST", f"{DEMO}/storage", {"tier": "small"})).json
    assert (body["storage"], demo.storage) == ("small", "small")
    assert "storage" not in (await api("DELETE", f"{DEMO}/storage")).json


async def test_dev_mode_and_replicas(hub: FakeHub, api: Any, demo: FakeSpace) -> None:
    """Replicas need paid hardware; dev mode shows in the runtime of a running app."""
    hub.set_stage("acme/demo", "RUNNING")
    body = (await api("POST", f"{DEMO}/dev-mode", {"enabled": True})).json
    assert body["devMode"] is True
    assert (await api("POST", f"{DEMO}/replicas", {"replicas": 2})).status == 400
    hub.add_space("acme/big", hardware="t4-small")
    body = (await api("POST", "/api/spaces/acme/big/replicas", {"replicas": 2})).json
    assert body["replicas"] == {"requested": 2, "current": 2}
    hub.space("acme/big").replicas = "auto"
    body = (await api("GET", "/api/spaces/acme/big/runtime")).json
    assert body["replicas"] == {"requested": "auto", "current": 1}


async def test_custom_domain(hub: FakeHub, api: Any, demo: FakeSpace) -> None:
    """It shows among the domains; private Spaces have none."""
    hub.set_stage("acme/demo", "RUNNING")
    for _ in range(2):
        body = {"domain": "demo.example"}
        assert (await api("POST", f"{DEMO}/custom-domain", body)).status == 200
    domains = (await api("GET", f"{DEMO}/runtime")).json["domains"]
    assert [domain["domain"] for domain in domains] == [
        "acme-demo.hf.space",
        "demo.example",
    ]
    demo.visibility = "private"
    assert (await api("POST", f"{DEMO}/custom-domain", {"domain": "x.y"})).status == 400
