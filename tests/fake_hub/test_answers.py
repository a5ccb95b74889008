"""Statuses, bodies and headers: who gets which answer."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yarl

from spaces_async.testing import FakeHub, FakeSpace, ManualClock

ANONYMOUS = "Invalid username or password."
BAD_TOKEN = "Invalid credentials in Authorization header"
WRITES = [
    ("POST", "restart", None),
    ("POST", "pause", None),
    ("POST", "sleeptime", {"seconds": 600}),
    ("POST", "hardware", {"flavor": "t4-small"}),
    ("POST", "replicas", {"replicas": 2}),
    ("POST", "dev-mode", {"enabled": True}),
    ("POST", "variables", {"key": "A", "value": "1"}),
    ("DELETE", "variables", {"key": "A"}),
    ("POST", "secrets", {"key": "S", "value": "1"}),
    ("DELETE", "secrets", {"key": "S"}),
    ("PUT", "settings", {"visibility": "private"}),
    ("POST", "resource-group", {"resourceGroupId": None}),
    ("PUT", "volumes", {"volumes": [{"type": "model", "source": "a/b", "mountPath": "/m"}]}),
    ("DELETE", "volumes", None),
    ("POST", "storage", {"tier": "small"}),
    ("DELETE", "storage", None),
    ("POST", "custom-domain", {"domain": "x.example"}),
    ("GET", "variables", None),
    ("GET", "secrets", None),
]  # fmt: skip


@pytest.fixture
def demo(hub: FakeHub) -> Any:
    return hub.add_space(
        "acme/demo",
        hardware="cpu-upgrade",
        volumes=[{"type": "bucket", "source": "acme/b", "mountPath": "/data"}],
    )


async def test_every_answer_has_the_hubs_headers(
    api: Any, anonymous: Any, hub: FakeHub, demo: FakeSpace
) -> None:
    """Success or error, each answer carries id, date, quota; only a GET 200 an ETag."""
    answers = [
        await api("GET", "/api/spaces/acme/demo"),
        await api("POST", "/api/spaces/acme/demo/restart"),
        await api("GET", "/api/spaces/acme/none"),
        await anonymous("GET", "/api/spaces/acme/none"),
        await api("GET", "/api/nothing"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 404, 401, 404]
    for answer in answers:
        uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        pattern = rf"Root=1-[0-9a-f]{{8}}-[0-9a-f]{{24}};{uuid}"
        assert re.fullmatch(pattern, answer.headers["X-Request-Id"])
        assert answer.headers["X-Powered-By"] == "huggingface-moon"
        assert answer.headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        assert re.match(r'"api";r=\d+;t=300', answer.headers["RateLimit"])
        assert ("ETag" in answer.headers) == (answer is answers[0])
        assert ("X-Error-Message" in answer.headers) == (answer.status >= 400)
    assert answers[0].headers["ETag"].startswith('W/"')
    assert answers[4].json["error"].startswith("Sorry")


async def test_ids_of_requests(api: Any, hub: FakeHub) -> None:
    """The caller's trace id is echoed; the caller's request id is on record."""
    headers = {"X-Amzn-Trace-Id": "mine", "X-Request-Id": "abc", "User-Agent": "me/1"}
    answer = await api("GET", "/api/spaces?a=1&a=2", headers=headers)
    assert answer.headers["X-Request-Id"].endswith(";mine")
    request = hub.requests[-1]
    assert (request.request_id, request.user_agent) == ("abc", "me/1")
    assert (request.method, request.path) == ("GET", "/api/spaces")
    assert request.query == [("a", "1"), ("a", "2")]
    assert (request.token, request.json, request.at) == (hub.token, None, 0.0)
    assert (hub.count("GET", "/spaces"), hub.count("POST")) == (1, 0)


async def test_the_same_seed_gives_the_same_ids() -> None:
    """Runs can be compared."""

    def ids(seed: int) -> list[str]:
        hub = FakeHub(clock=ManualClock(), seed=seed)
        return [hub.add_space(f"a/{n}").oid for n in range(3)]

    assert ids(1) == ids(1) != ids(2)


@pytest.mark.parametrize("path", ["", "/runtime", "/revision/main"])
async def test_reads_of_a_public_space(
    anonymous: Any, demo: FakeSpace, path: Any
) -> None:
    """Anybody may look at a public Space; a wrong token is worse than none."""
    assert (await anonymous("GET", f"/api/spaces/acme/demo{path}")).status == 200
    answer = await anonymous("GET", f"/api/spaces/acme/demo{path}", token="hf_bad")
    assert (answer.status, answer.json) == (401, {"error": BAD_TOKEN})


@pytest.mark.parametrize("name", ["private", "missing"])
async def test_private_and_missing_look_the_same(
    hub: FakeHub, api: Any, anonymous: Any, name: Any
) -> None:
    """Strangers get 401 without a code, outsiders with a token 404 with one."""
    hub.add_space("acme/private", private=True)
    hub.add_user("alice", token="hf_alice")
    answer = await anonymous("GET", f"/api/spaces/acme/{name}")
    assert (answer.status, answer.json) == (401, {"error": ANONYMOUS})
    assert answer.headers["X-Error-Message"] == ANONYMOUS
    assert "X-Error-Code" not in answer.headers
    answer = await anonymous("GET", f"/api/spaces/acme/{name}", token="hf_alice")
    assert (answer.status, answer.json) == (404, {"error": "Repository not found"})
    assert answer.headers["X-Error-Code"] == "RepoNotFound"


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_who_may_configure(
    *, hub: FakeHub, anonymous: Any, demo: FakeSpace, method: Any, path: Any, body: Any
) -> None:
    """Owners may, strangers get 401, read tokens and outsiders 403."""
    hub.add_user("alice", token="hf_alice")
    hub.add_token("hf_read", role="read")
    hub.add_token("hf_none", role="none")

    async def status(token: str | None) -> tuple[int, bool]:
        target = f"/api/spaces/acme/demo/{path}"
        answer = await anonymous(method, target, body, token=token)
        assert (answer.status < 400) or answer.json["error"]
        return answer.status, hub.requests[-1].acted

    assert await status(None) == (401, False)
    assert await status("hf_bad") == (401, False)
    assert await status("hf_alice") == (403, False)
    assert await status("hf_read") == (403, False)
    assert await status("hf_none") == (403, False)
    assert await status(hub.token) == (200, method != "GET")


@pytest.mark.parametrize(
    ("role", "read", "own", "foreign", "create"),
    [
        ("admin", 200, 200, 200, 200),
        ("write", 200, 200, 200, 200),
        ("contributor", 200, 200, 403, 200),
        ("read", 200, 403, 403, 403),
        ("no_access", 404, 404, 404, 403),
    ],
)
async def test_roles_in_an_organization(
    *,
    hub: FakeHub,
    anonymous: Any,
    role: Any,
    read: Any,
    own: Any,
    foreign: Any,
    create: Any,
) -> None:
    """Contributors make and change their own Spaces, readers only look."""
    hub.add_org("acme", {"tester": "admin"})
    hub.add_user("alice", token="hf_alice")
    hub.add_org("acme", {"alice": role})
    hub.add_space("acme/own", private=True, creator="alice")
    hub.add_space("acme/foreign", private=True)

    async def status(method: str, path: str, body: object = None) -> Any:
        return (await anonymous(method, path, body, token="hf_alice")).status

    assert await status("GET", "/api/spaces/acme/own") == read
    assert await status("POST", "/api/spaces/acme/own/pause") == own
    assert await status("POST", "/api/spaces/acme/foreign/pause") == foreign
    body = {"name": "new", "organization": "acme", "type": "space", "sdk": "static"}
    assert await status("POST", "/api/repos/create", body) == create


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("restart", None),
        ("pause", None),
        ("dev-mode", {"enabled": True}),
        ("hardware", {"flavor": "cpu-basic"}),
        ("sleeptime", {"seconds": 1}),
    ],
)
async def test_static_spaces_do_not_run(
    hub: FakeHub, api: Any, path: Any, body: Any
) -> None:
    """There is nothing to restart: 400."""
    hub.add_space("acme/page", sdk="static")
    answer = await api("POST", f"/api/spaces/acme/page/{path}", body)
    assert answer.status == 400
    assert "static" in answer.json["error"]
    assert (await api("DELETE", "/api/spaces/acme/page/volumes")).status == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "hardware", {"flavor": "gpu-t4-small"}),
        ("POST", "hardware", {}),
        ("POST", "hardware", {"flavor": "t4-small", "sleepTimeSeconds": "1"}),
        ("POST", "sleeptime", {"seconds": "1"}),
        ("POST", "sleeptime", {"seconds": -2}),
        ("POST", "sleeptime", {"seconds": True}),
        ("POST", "replicas", {"replicas": 0}),
        ("POST", "replicas", {"replicas": "2"}),
        ("POST", "dev-mode", {"enabled": "yes"}),
        ("POST", "variables", {"key": "1A", "value": ""}),
        ("POST", "variables", {"key": "A", "value": 1}),
        ("POST", "secrets", {"key": "A-B", "value": ""}),
        ("POST", "secrets", {"key": "A", "description": 1}),
        ("DELETE", "secrets", {}),
        ("DELETE", "variables", None),
        ("PUT", "settings", {"hardware": "t4-small"}),
        ("PUT", "settings", {"visibility": "secret"}),
        ("PUT", "settings", {"private": 1}),
        ("PUT", "settings", {"private": True, "visibility": "private"}),
        ("POST", "resource-group", {"resourceGroupId": "x"}),
        ("PUT", "volumes", {"volumes": []}),
        ("PUT", "volumes", {"volumes": [{"type": "disk"}]}),
        ("PUT", "volumes", {"volumes": [{"type": "model", "source": "x"}]}),
        ("PUT", "volumes", {"volumes": [{"type": "model", "source": "a/b", "mountPath": "m"}]}),
        ("POST", "storage", {"tier": "huge"}),
        ("POST", "custom-domain", {}),
    ],
)  # fmt: skip
async def test_wrong_bodies(
    *, hub: FakeHub, api: Any, demo: FakeSpace, method: Any, path: Any, body: Any
) -> None:
    """A body that is not what the Hub documents is a 400, and changes nothing."""
    answer = await api(method, f"/api/spaces/acme/demo/{path}", body)
    assert answer.status == 400
    assert not hub.requests[-1].acted
    assert demo.requested_hardware == "cpu-upgrade"


async def test_broken_json_is_a_bad_request(api: Any, demo: FakeSpace) -> None:
    """So is a body that is JSON but no object."""
    for data in (b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"):
        answer = await api("POST", "/api/spaces/acme/demo/sleeptime", data=data)
        assert (answer.status, answer.json) == (400, {"error": "Invalid JSON body"})


async def test_what_is_quoted_in_an_error_is_no_header(api: Any) -> None:
    """Control characters of a request come back in the body only."""
    answer = await api("GET", "/api/spaces?expand=%00%0D%0AX:y%7F")
    assert answer.status == 400
    assert answer.headers["X-Error-Message"].endswith("expand: ? X:y?")
    assert "\x00\r\nX:y\x7f" in answer.json["error"]


async def test_money(hub: FakeHub, api: Any, demo: FakeSpace) -> None:
    """Paid hardware needs a payment method: 403; free apps may need PRO: 402."""
    hub.add_org("poor", can_pay=False)
    hub.add_space("poor/demo")
    answer = await api("POST", "/api/spaces/poor/demo/hardware", {"flavor": "t4-small"})
    assert answer.status == 403
    assert "payment method" in answer.json["error"]
    async with FakeHub(require_pro=True) as strict:
        target = f"{strict.url}/api/repos/create"
        body = {"name": "x", "type": "space", "sdk": "gradio"}
        answer = await api("POST", target, body)
        assert answer.status == 402
        assert "requires a PRO subscription" in answer.json["error"]
        assert (await api("POST", target, body | {"sdk": "static"})).status == 200
        strict.add_org("team", plan="team")
        for owner, status in (("tester", 402), ("team", 200)):
            strict.add_space(f"{owner}/demo")
            path = f"{strict.url}/api/spaces/{owner}/demo"
            answer = await api("POST", f"{path}/dev-mode", {"enabled": True})
            assert answer.status == status
            answer = await api("POST", f"{path}/custom-domain", {"domain": "a.io"})
            assert answer.status == status
            answer = await api("PUT", f"{path}/settings", {"visibility": "protected"})
            assert answer.status == status
        told = await api("GET", f"{strict.url}/api/whoami-v2")
        assert told.json["isPro"] is False
        assert [org.get("plan") for org in told.json["orgs"]] == ["team"]
        strict.add_user("rich", token="hf_rich", is_pro=True)
        assert (await api("POST", target, body, token="hf_rich")).status == 200


async def test_a_disabled_space(api: Any, demo: FakeSpace) -> None:
    """It answers 403 with the Hub's words."""
    demo.disabled = True
    answer = await api("GET", "/api/spaces/acme/demo")
    assert answer.status == 403
    assert answer.headers["X-Error-Message"] == "Access to this resource is disabled."


async def test_other_names(hub: FakeHub, api: Any, demo: FakeSpace) -> None:
    """A wrong revision has its own code; an escaped slash is no id."""
    answer = await api("GET", "/api/spaces/acme/demo/revision/refs%2Fpr%2F1")
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert (
        await api("GET", "/api/spaces/acme/demo/revision/refs%2Fheads%2Fmain")
    ).status == 200
    url = yarl.URL(f"{hub.url}/api/spaces/acme%2Fdemo", encoded=True)
    async with api.session.get(url) as response:
        assert response.status == 400
        assert "url-encoded slash" in await response.text()
    assert (await api("PUT", "/api/spaces/acme/demo/restart")).status == 404
