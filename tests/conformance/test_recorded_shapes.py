"""FakeHub's answers have the shapes of the Hub's recorded ones: keys and types.

Each case holds an answer of the Hub as it was recorded, and what brings FakeHub into
the same state. Keys that the Hub no longer sends, or did not send then, are named.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import frozen

from spaces_async.testing import FakeHub, FakeSpace, ManualClock

ID = "user/tmp-test-space"
SPACE = f"/api/spaces/{ID}"


def shape(value: Any) -> Any:
    """Reduce JSON to its keys and types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def without(value: Any, paths: AbstractSet[str]) -> Any:
    """Leave keys out, such as "runtime.storage"."""
    if isinstance(value, list):
        return [without(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {
        key: frozenset(p.partition(".")[2] for p in paths if p.startswith(f"{key}."))
        for key in value
    }
    return {
        key: without(item, inner[key])
        for key, item in value.items()
        if key not in paths
    }


def nothing(_space: FakeSpace) -> None:
    pass


@frozen(kw_only=True)
class Recorded:
    """An answer of the Hub.

    Attributes:
        id: Names the case.
        ask: Method and path.
        body: The JSON that goes along.
        answer: What the Hub answered.
        status: The status that it had.
        sdk: What the Space is made with.
        hardware: What it runs on.
        prepare: Brings the Space into the state that it had.
        gone: Keys that the Hub has stopped to send since, or that need a library.
        since: Keys that the Hub sends since, and FakeHub with it.
    """

    id: str
    ask: str
    answer: Any
    body: Any = None
    status: int = 200
    sdk: str = "gradio"
    hardware: str = "cpu-basic"
    prepare: Callable[[FakeSpace], Any] = nothing
    gone: AbstractSet[str] = frozenset()
    since: AbstractSet[str] = frozenset()


def deepsite(space: FakeSpace) -> None:
    space.set_sleep_time(172800)
    space.domains.append({"domain": "deepsite.hf.co", "stage": "EXPIRED_CHALLENGE"})


LISTED = json.loads("""
{"_id":"67e454cdd4f34388bcd19c38","id":"enzostvs/deepsite","author":"enzostvs",
 "disabled":false,"lastModified":"2026-02-06T12:47:43.000Z","likes":16610,
 "private":false,"sha":"d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9",
 "subdomain":"enzostvs-deepsite","sdk":"docker",
 "runtime":{"stage":"RUNNING","hardware":{"current":"cpu-xl","requested":"cpu-xl"},
   "gcTimeout":172800,"replicas":{"current":1,"requested":1},"devMode":false,
   "domains":[{"domain":"enzostvs-space-generator.hf.space","stage":"READY"},
              {"domain":"deepsite.hf.co","stage":"EXPIRED_CHALLENGE"}],
   "pySpacesVersion":"0.48.2"},
 "region":"us","tags":["docker","region:us"],"createdAt":"2025-03-26T19:26:05.000Z"}
""")
BUILDING_2025 = json.loads("""
{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},"storage":null,
 "gcTimeout":172800,"replicas":{"requested":1},"devMode":false,
 "domains":[{"domain":"user-tmp-test-space.hf.space","stage":"READY"}]}
""")
BUILDING_2023 = json.loads("""
{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},"storage":null,
 "gcTimeout":172800,"replicas":{"current":1,"requested":1}}
""")
STATIC_2025 = json.loads("""
{"stage":"RUNNING","hardware":{"current":null,"requested":null},"storage":null,
 "replicas":{"requested":1,"current":1}}
""")
PAUSED_2026 = json.loads("""
{"stage":"PAUSED","hardware":{"current":null,"requested":"cpu-basic"},
 "replicas":{"current":null,"requested":1}}
""")
AUTO_2026 = json.loads("""
{"stage":"RUNNING","hardware":{"current":"zero-a10g","requested":"zero-a10g"},
 "replicas":{"current":3,"requested":"auto"}}
""")
VARIABLES = json.loads("""
{"foo":{"value":"123","updatedAt":"2025-03-07T12:24:18.657Z"},
 "MODEL_PAPER":{"value":"arXiv","description":"found it there",
                "updatedAt":"2025-03-07T12:24:18.657Z"}}
""")
SECRETS = json.loads("""
{"NAME":{"key":"NAME","updatedAt":"2025-03-07T12:24:18.657Z"},
 "TOLD":{"key":"TOLD","description":"why","updatedAt":"2025-03-07T12:24:18.657Z"}}
""")
VOLUMES = [
    {"type": "bucket", "source": "user/b", "mountPath": "/data", "readOnly": False},
    {
        "type": "model",
        "source": "user/m",
        "mountPath": "/models",
        "revision": "main",
        "readOnly": True,
        "path": "sub",
    },
]
CREATED = json.loads("""
{"url":"https://huggingface.co/spaces/user/tmp_test_space",
 "name":"user/tmp_test_space","id":"67cae57522fde9195aaf95c5"}
""")
TAKEN = json.loads("""
{"error":"You already created this space repo",
 "url":"https://huggingface.co/spaces/user/tmp_test_space"}
""")
_NEW = {"name": "new", "organization": "user", "type": "space", "sdk": "gradio"}
_EXPANDED = "&".join(
    f"expand[]={name}"
    for name in LISTED
    if name not in ("_id", "id")
)  # fmt: skip
_ALSO_SENT = {"gcTimeout", "devMode", "domains", "sha"}


def paused(space: FakeSpace) -> None:
    space.set_stage("PAUSED")


def auto(space: FakeSpace) -> None:
    space.replicas = "auto"


def building(space: FakeSpace) -> None:
    space.set_stage("BUILDING")


def variables(space: FakeSpace) -> None:
    space.set_config("variables", "foo", "123", None)
    space.set_config("variables", "MODEL_PAPER", "arXiv", "found it there")


def secrets(space: FakeSpace) -> None:
    space.set_config("secrets", "NAME", "v", None)
    space.set_config("secrets", "TOLD", "v", "why")


CASES = [
    Recorded(
        id="2.1-listed",
        ask=f"GET /api/spaces?search={ID}&{_EXPANDED}",
        answer=[LISTED],
        sdk="docker",
        hardware="cpu-xl",
        prepare=deepsite,
        gone={"runtime.pySpacesVersion"},
        since={"runtime.sha"},
    ),
    Recorded(
        id="2.1-expand-is-all-that-comes",
        ask=f"GET /api/spaces?search={ID}&expand=likes&expand=sdk",
        answer=[{"_id": "67e454cdd4f34388bcd19c38", "id": ID, "likes": 1, "sdk": "x"}],
    ),
    Recorded(
        id="2.2-full",
        ask=f"GET {SPACE}",
        answer={
            **LISTED,
            "gated": False,
            "cardData": {"title": "Deepsite", "sdk": "docker", "emoji": "E"},
            "host": "https://enzostvs-deepsite.hf.space",
            "models": ["a/b"],
            "datasets": ["c/d"],
            "siblings": [{"rfilename": "app.py"}],
            "usedStorage": 1024,
        },
        sdk="docker",
        hardware="cpu-xl",
        prepare=deepsite,
        gone={"runtime.pySpacesVersion"},
        since={"runtime.sha"},
    ),
    Recorded(
        id="2.2-revision",
        ask=f"GET {SPACE}/revision/main?expand=xetEnabled",
        answer={"_id": "67cae57522fde9195aaf95c5", "id": ID, "xetEnabled": False},
    ),
    Recorded(
        id="3.1-building-2025",
        ask=f"GET {SPACE}/runtime",
        answer=BUILDING_2025,
        prepare=building,
        gone={"storage"},
    ),
    Recorded(
        id="3.1-building-2023",
        ask=f"GET {SPACE}/runtime",
        answer=BUILDING_2023,
        prepare=building,
        gone={"storage", "replicas.current"},
        since={"devMode", "domains"},
    ),
    Recorded(
        id="3.1-static-2025",
        ask=f"GET {SPACE}/runtime",
        answer=STATIC_2025,
        sdk="static",
        gone={"storage"},
    ),
    Recorded(
        id="3.1-paused-2026",
        ask=f"GET {SPACE}/runtime",
        answer=PAUSED_2026,
        prepare=paused,
    ),
    Recorded(
        id="3.1-auto-2026",
        ask=f"GET {SPACE}/runtime",
        answer=AUTO_2026,
        hardware="zero-a10g",
        prepare=auto,
        since=_ALSO_SENT,
    ),
    Recorded(
        id="3.3-restart",
        ask=f"POST {SPACE}/restart",
        answer=BUILDING_2025,
        gone={"storage"},
    ),
    Recorded(
        id="3.4-pause", ask=f"POST {SPACE}/pause", answer=PAUSED_2026
    ),
    Recorded(
        id="4.1-variables",
        ask=f"GET {SPACE}/variables",
        answer=VARIABLES,
        prepare=variables,
        since={"foo.key", "MODEL_PAPER.key"},
    ),
    Recorded(id="4.1-no-variables", ask=f"GET {SPACE}/variables", answer={}),
    Recorded(
        id="4.1-add-returns-all",
        ask=f"POST {SPACE}/variables",
        body={"key": "foo", "value": "123"},
        answer=VARIABLES,
        prepare=variables,
        since={"foo.key", "MODEL_PAPER.key"},
    ),
    Recorded(
        id="4.1-delete-returns-the-rest",
        ask=f"DELETE {SPACE}/variables",
        body={"key": "foo"},
        answer={"MODEL_PAPER": VARIABLES["MODEL_PAPER"]},
        prepare=variables,
        since={"MODEL_PAPER.key"},
    ),
    Recorded(
        id="4.1-delete-of-none",
        ask=f"DELETE {SPACE}/variables",
        body={"key": "none"},
        answer={},
    ),
    Recorded(
        id="4.2-secrets", ask=f"GET {SPACE}/secrets", answer=SECRETS, prepare=secrets
    ),
    Recorded(
        id="4.2-add",
        ask=f"POST {SPACE}/secrets",
        body={"key": "NAME", "value": "v"},
        answer={},
    ),
    Recorded(
        id="4.2-delete-of-none",
        ask=f"DELETE {SPACE}/secrets",
        body={"key": "none"},
        answer={},
    ),
    Recorded(
        id="5-create", ask="POST /api/repos/create", body=_NEW, answer=CREATED
    ),
    Recorded(
        id="5-create-taken",
        ask="POST /api/repos/create",
        body={**_NEW, "name": ID.partition("/")[2]},
        answer=TAKEN,
        status=409,
    ),
    Recorded(
        id="5-duplicate",
        ask=f"POST {SPACE}/duplicate",
        body={"repository": "user/copy"},
        answer={"url": "https://huggingface.co/spaces/user/copy"},
    ),
    Recorded(
        id="1.3-missing",
        ask="GET /api/spaces/user/none",
        answer={"error": "Repository not found"},
        status=404,
    ),
]  # fmt: skip


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub on which time stands still."""
    async with FakeHub(clock=ManualClock()) as hub:
        hub.add_org("user")
        yield hub


@pytest_asyncio.fixture
async def http(hub: FakeHub) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows nothing of Spaces."""
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(hub.url, headers=headers) as session:
        yield session


@pytest.mark.parametrize("recorded", CASES, ids=lambda recorded: recorded.id)
async def test_the_shape_is_the_recorded_one(
    hub: FakeHub, http: aiohttp.ClientSession, recorded: Recorded
) -> None:
    """Every recorded key is there with its type, and no other that is not named."""
    space = hub.add_space(
        ID,
        sdk=recorded.sdk,
        hardware=recorded.hardware,
        models=["a/b"],
        datasets=["c/d"],
    )
    recorded.prepare(space)
    method, _, path = recorded.ask.partition(" ")
    async with http.request(method, path, json=recorded.body) as answer:
        assert answer.status == recorded.status
        assert answer.content_type == "application/json"
        found = await answer.json()
    want = shape(without(recorded.answer, recorded.gone))
    assert shape(without(found, recorded.since)) == want


async def test_constants_are_those_of_the_record(
    hub: FakeHub, http: aiohttp.ClientSession
) -> None:
    """Where the Hub's own words were recorded, FakeHub uses them."""
    hub.add_space(ID)
    async with http.post("/api/repos/create", json={**_NEW, "name": ID[5:]}) as answer:
        assert (await answer.json())["error"] == TAKEN["error"]
    async with http.get("/api/spaces/user/none") as answer:
        assert answer.headers["X-Error-Code"] == "RepoNotFound"
    async with http.get(SPACE, headers={"Authorization": "Bearer hf_wrong"}) as answer:
        assert answer.status == 401
    async with (
        aiohttp.ClientSession(hub.url) as nobody,
        nobody.get("/api/spaces/user/none") as answer,
    ):
        assert answer.status == 401
        assert await answer.json() == {"error": "Invalid username or password."}


async def test_volumes_are_read_as_they_were_written(
    hub: FakeHub, http: aiohttp.ClientSession
) -> None:
    """`runtime.volumes` has the keys that `PUT /volumes` takes (4.5)."""
    hub.add_space(ID)
    async with http.put(f"{SPACE}/volumes", json={"volumes": VOLUMES}) as answer:
        assert answer.status == 200
    async with http.get(f"{SPACE}/runtime") as answer:
        assert (await answer.json())["volumes"] == VOLUMES
    async with http.delete(f"{SPACE}/volumes") as answer:
        assert answer.status == 200
    async with http.delete(f"{SPACE}/volumes") as answer:
        assert answer.status == 400


async def test_deleting_answers_no_json(
    hub: FakeHub, http: aiohttp.ClientSession
) -> None:
    """`DELETE /api/repos/delete` answers the text OK (5)."""
    hub.add_space(ID)
    body = {"name": ID.partition("/")[2], "organization": "user", "type": "space"}
    async with http.delete("/api/repos/delete", json=body) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert await answer.text() == "OK"
