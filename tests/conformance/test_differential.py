"""`AsyncHfApi` sends what `HfApi` sends: method, path, query, JSON and token."""

from __future__ import annotations

import asyncio
from typing import Any

import huggingface_hub
import pytest
from aiohttp import web
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spaces_async
from spaces_async import (
    ConfigurationError,
    ConflictError,
    CreatedSpace,
    HubResponseError,
    SpaceFailedError,
    SpaceNotFoundError,
)
from tests.support.recorder import CREATED, TOKEN, Mount, Pair, Request, run_ours

DEMO = "acme/demo"
BEARER = f"Bearer {TOKEN}"
SPACE: dict[str, Any] = {"repo_type": "space"}
GRADIO: dict[str, Any] = {"repo_type": "space", "space_sdk": "gradio"}

BUCKET = Mount({"type": "bucket", "source": "acme/b", "mount_path": "/data"})
MODEL = Mount(
    {
        "type": "model",
        "source": "acme/m",
        "mount_path": "/models",
        "revision": "v1",
        "read_only": True,
        "path": "sub/folder",
    }
)
WRITABLE = Mount(
    {"type": "bucket", "source": "a/b", "mount_path": "/d", "read_only": False}
)
ENTRIES = [{"key": "A", "value": "1"}, {"key": "B", "value": "", "description": "ü"}]

Case = tuple[str, tuple[Any, ...], dict[str, Any]]


def case(method: str, *args: Any, **kwargs: Any) -> Case:
    return method, args, kwargs


CASES: list[Case] = [
    case("get_space_runtime", DEMO),
    case("get_space_runtime", repo_id="a.b_c-d/E.f_g-h"),
    case("restart_space", DEMO),
    case("restart_space", DEMO, factory_reboot=False),
    case("restart_space", DEMO, factory_reboot=True),
    case("pause_space", DEMO),
    case("wait_for_space", DEMO),
    case("wait_for_space", DEMO, timeout=60, poll_interval=5),
    case("set_space_sleep_time", DEMO, 3600),
    case("set_space_sleep_time", DEMO, sleep_time=-1),
    case("request_space_hardware", DEMO, "t4-small"),
    case("request_space_hardware", DEMO, hardware="never-heard-of", sleep_time=600),
    case("request_space_hardware", DEMO, "a10g-large", sleep_time=-1),
    case("request_space_hardware", DEMO, huggingface_hub.SpaceHardware.T4_MEDIUM),
    case("request_space_hardware", DEMO, spaces_async.SpaceHardware.T4_MEDIUM),
    case("enable_space_dev_mode", DEMO),
    case("disable_space_dev_mode", DEMO),
    case("get_space_variables", DEMO),
    case("add_space_variable", DEMO, "KEY", "123"),
    case("add_space_variable", DEMO, "KEY", "", description=""),
    case("add_space_variable", DEMO, key="KEY", value="ü\n☃", description="d"),
    case("delete_space_variable", DEMO, "KEY"),
    case("get_space_secrets", DEMO),
    case("add_space_secret", DEMO, "S", "v"),
    case("add_space_secret", DEMO, key="S", value="", description="d ü"),
    case("delete_space_secret", DEMO, "S"),
    case("set_space_volumes", DEMO, [BUCKET]),
    case("set_space_volumes", DEMO, volumes=[MODEL, BUCKET, WRITABLE]),
    case("delete_space_volumes", DEMO),
    case("list_spaces_hardware"),
    case("list_space_templates"),
    case("get_zero_gpu_quota"),
    case("whoami"),
    case("whoami", cache=True),
    case("whoami", "hf_other"),
    case("fetch_space_logs", DEMO),
    case("fetch_space_logs", DEMO, build=True),
    case("space_info", DEMO),
    case("space_info", DEMO, revision="refs/pr/1"),
    case("space_info", DEMO, revision="a%2Fb+c?d#e", timeout=5.0),
    case("space_info", DEMO, files_metadata=True),
    case("space_info", DEMO, expand=["runtime", "sdk", "cardData"]),
    case("space_info", DEMO, expand=[], files_metadata=True, revision="main"),
    case("search_spaces", "remove the background"),
    case("search_spaces", "a&b=c +%2F ü", filter="docker", sdk="gradio"),
    case(
        "search_spaces",
        "x",
        filter=["a", "b"],
        sdk=["gradio", "docker"],
        include_non_running=True,
    ),
    case("list_spaces"),
    case("list_spaces", author="acme", limit=3),
    case("list_spaces", expand=[], full=True, linked=True),
    case("list_spaces", filter=("a", "b"), datasets="a/b", models=["c/d", "e/f"]),
    case("move_repo", DEMO, "other/name", **SPACE),
    case("delete_repo", DEMO, **SPACE),
    case("delete_repo", DEMO, missing_ok=True, **SPACE),
    case("update_repo_settings", DEMO, private=True, **SPACE),
    case("update_repo_settings", DEMO, private=False, gated="auto", **SPACE),
    case("update_repo_settings", DEMO, visibility="protected", gated=False, **SPACE),
    case("update_repo_settings", DEMO, gated="manual", **SPACE),
    case("create_repo", DEMO, **GRADIO),
    case("create_repo", "bare-name", **GRADIO),
    case("create_repo", DEMO, space_template="jupyterlab", **SPACE),
    case("create_repo", DEMO, space_template="JupyterLab", private=False, **SPACE),
    case("create_repo", DEMO, space_template="gradio-templates/chatbot", **GRADIO),
    case("duplicate_repo", DEMO, **SPACE),
    case("duplicate_repo", DEMO, "copy", **SPACE),
    case("duplicate_repo", DEMO, "me/copy", **SPACE),
]


def named(cases: list[Case]) -> list[Any]:
    return [
        pytest.param(what, id=f"{what[0]}-{number}")
        for number, what in enumerate(cases)
    ]


async def same(pair: Pair, method: str, *args: Any, **kwargs: Any) -> list[Request]:
    theirs, ours = await pair.both(method, *args, **kwargs)
    assert ours == theirs
    assert ours
    return ours


@pytest.mark.parametrize("what", named(CASES))
async def test_the_same_goes_out(pair: Pair, what: Case) -> None:
    """Every request of every method is the one that `HfApi` sends, and no other."""
    method, args, kwargs = what
    for request in await same(pair, method, *args, **kwargs):
        assert request.token in (BEARER, "Bearer hf_other")


TOKENS: list[tuple[Any, str | None]] = [
    ("hf_other", "Bearer hf_other"),
    (False, None),
]
# With the client's own token all of them go out above.
ONE_PER_METHOD = list(
    {c[0]: c for c in CASES if c != case("whoami", "hf_other")}.values()
)


@pytest.mark.parametrize(("token", "sent"), TOKENS)
@pytest.mark.parametrize("what", named(ONE_PER_METHOD))
async def test_each_call_takes_a_token(
    pair: Pair, what: Case, token: Any, sent: str | None
) -> None:
    """`token=` is for one call: another's, nobody's, or that of the client."""
    method, args, kwargs = what
    if method == "whoami" and token is False:
        return
    requests = await same(pair, method, *args, token=token, **kwargs)
    assert {request.token for request in requests} == {sent}


async def test_true_is_the_clients_own_token(pair: Pair) -> None:
    """`token=True` is whoever the client is."""
    await pair.ours.pause_space(DEMO, token=True)
    assert pair.recorder.take()[0].token == BEARER


# The hub's own words, and any text that JSON and a query can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TAGS = st.none() | TEXTS | st.lists(TEXTS, max_size=3)
KEYS = st.from_regex(r"[a-zA-Z][_a-zA-Z0-9]{0,5}", fullmatch=True)
FLAVORS = st.sampled_from(["t4-small", "zerogpu", "l4x1", "new-1x"])
SLEEPS = st.none() | st.just(-1) | st.integers(1, 10**6)
EXPANDS = st.lists(
    st.sampled_from(["runtime", "sdk", "cardData", "usedStorage", "not-known-yet"]),
    unique=True,
)
VARIABLES = st.lists(
    st.fixed_dictionaries(
        {"key": KEYS, "value": TEXTS}, optional={"description": TEXTS}
    ),
    max_size=2,
)
VISIBLE = st.one_of(
    st.fixed_dictionaries({}, optional={"private": st.none() | st.booleans()}),
    st.fixed_dictionaries(
        {"visibility": st.sampled_from(["public", "private", "protected"])}
    ),
)
MOUNTS = st.none() | st.sampled_from([[], [BUCKET], [MODEL], [WRITABLE, MODEL]])
SPACE_OPTIONS = {
    "exist_ok": st.booleans(),
    "resource_group_id": st.none() | st.just("67cae57522fde9195aaf95c5"),
    "space_hardware": st.none() | FLAVORS,
    "space_sleep_time": SLEEPS,
    "space_secrets": st.none() | VARIABLES,
    "space_variables": st.none() | VARIABLES,
    "space_volumes": MOUNTS,
}

every_mix = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@every_mix
@given(
    query=st.fixed_dictionaries(
        {},
        optional={
            "filter": TAGS,
            "author": st.none() | st.sampled_from(["acme", "a.b-c_d"]),
            "search": st.none() | TEXTS,
            "datasets": TAGS,
            "models": TAGS,
            "linked": st.booleans(),
            "sort": st.none()
            | st.sampled_from(
                ["created_at", "last_modified", "likes", "trending_score", "createdAt"]
            ),
            "limit": st.none() | st.integers(1, 5),
            "expand": st.none() | EXPANDS,
        },
    ),
    full=st.none() | st.booleans(),
)
async def test_list_spaces_asks_the_same(
    pair: Pair, query: dict[str, Any], full: bool | None
) -> None:
    """Whatever is asked for: no page size of ours, no parameter more or less."""
    if query.get("expand"):
        full = None
    await same(pair, "list_spaces", **query, full=full)


@every_mix
@given(
    query=TEXTS,
    options=st.fixed_dictionaries(
        {}, optional={"filter": TAGS, "sdk": TAGS, "include_non_running": st.booleans()}
    ),
)
async def test_search_spaces_asks_the_same(
    pair: Pair, query: str, options: dict[str, Any]
) -> None:
    """Whatever is searched for, in whatever letters."""
    await same(pair, "search_spaces", query, **options)


@every_mix
@given(
    repo_id=st.sampled_from([DEMO, "bare"]),
    sdk=st.sampled_from(["gradio", "docker", "static"]),
    seen=VISIBLE,
    options=st.fixed_dictionaries(
        {}, optional={**SPACE_OPTIONS, "region": st.sampled_from([None, "us", "eu"])}
    ),
)
async def test_create_repo_sends_the_same(
    pair: Pair, repo_id: str, sdk: str, seen: dict[str, Any], options: dict[str, Any]
) -> None:
    """Each option goes into the body under the same name, or not at all."""
    await same(
        pair,
        "create_repo",
        repo_id,
        repo_type="space",
        space_sdk=sdk,
        **seen,
        **options,
    )


@every_mix
@given(
    to_id=st.sampled_from(["copy", "me/copy", None]),
    seen=VISIBLE,
    options=st.fixed_dictionaries({}, optional=SPACE_OPTIONS),
)
async def test_duplicate_repo_sends_the_same(
    pair: Pair, to_id: str | None, seen: dict[str, Any], options: dict[str, Any]
) -> None:
    """Also where the copy's owner has to be found out, which we ask once only."""
    theirs, ours = await pair.both(
        "duplicate_repo", DEMO, to_id, repo_type="space", **seen, **options
    )
    assert ours[-1] == theirs[-1]
    assert [request for request in theirs if request in ours] == ours


async def test_pages_are_followed_alike(pair: Pair) -> None:
    """All pages of a listing are asked for in the same way, and no more than needed."""
    pair.recorder.pages["GET /api/spaces"] = 3
    assert len(await same(pair, "list_spaces", author="acme")) == 3
    assert len(await same(pair, "list_spaces", search="x", limit=2)) == 2


async def test_a_name_that_is_taken(pair: Pair) -> None:
    """With `exist_ok` a 409 is success for both; without, an error for both."""
    taken = {"error": "You already created this space repo", "url": CREATED["url"]}
    pair.recorder.refuse("POST /api/repos/create", 409, taken)
    pair.recorder.refuse("POST /api/spaces/acme/demo/duplicate", 409, taken)
    create, copy = {**GRADIO, "exist_ok": True}, {**SPACE, "exist_ok": True}
    await same(pair, "create_repo", DEMO, **create)
    await same(pair, "duplicate_repo", DEMO, "me/copy", **copy)
    there = await pair.ours.duplicate_repo(DEMO, **copy)
    assert there == CreatedSpace(DEMO, CREATED["url"], existed=True)
    there = await pair.ours.duplicate_space(DEMO, "me/copy", exist_ok=True)
    assert there == CreatedSpace("me/copy", CREATED["url"], existed=True)
    for call in (
        pair.ours.create_repo(DEMO, **GRADIO),
        pair.ours.duplicate_repo(DEMO, **SPACE),
        pair.ours.duplicate_space(DEMO),
    ):
        with pytest.raises(ConflictError):
            await call
    # Where the answer does not tell which one is there, nothing is made up.
    for body in ('{"error": "no"}', "<html>"):
        pair.recorder.refusals["POST /api/spaces/acme/demo/duplicate"] = web.Response(
            status=409, text=body
        )
        with pytest.raises(ConflictError):
            await pair.ours.duplicate_repo(DEMO, "copy", **copy)


async def test_a_repo_that_is_missing(pair: Pair) -> None:
    """With `missing_ok` a 404 is success for both; without, an error for both."""
    pair.recorder.refuse(
        "DELETE /api/repos/delete",
        404,
        {"error": "Repository not found"},
        {"X-Error-Code": "RepoNotFound"},
    )
    await same(pair, "delete_repo", DEMO, missing_ok=True, **SPACE)
    with pytest.raises(SpaceNotFoundError):
        await pair.ours.delete_repo(DEMO, **SPACE)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("POST /api/spaces/acme/demo/restart", case("restart_space", DEMO)),
        ("POST /api/repos/create", case("create_repo", DEMO, **GRADIO)),
        ("GET /api/spaces/acme/demo", case("space_info", DEMO)),
        ("GET /api/spaces", case("list_spaces")),
        ("GET /api/spaces/zero-gpu/quota", case("get_zero_gpu_quota")),
    ],
)
async def test_what_is_refused_is_sent_once(
    pair: Pair, status: int, line: str, what: Case
) -> None:
    """A refusal raises in both, with the same status and the Hub's words."""
    method, args, kwargs = what
    pair.recorder.refuse(line, status, {"error": "No way."})
    with pytest.raises(HfHubHTTPError) as official:
        await pair.both(method, *args, **kwargs)
    pair.recorder.take()
    with pytest.raises(HubResponseError, match=r"No way\.") as ours:
        await run_ours(getattr(pair.ours, method), args, kwargs)
    assert ours.value.status == official.value.response.status_code == status
    assert len(pair.recorder.take()) == 1


NOT_SENT: list[Case] = [
    case("list_spaces", expand=["sdk"], full=True),
    case("space_info", DEMO, expand=["sdk"], files_metadata=True),
    case("whoami", False),
    case("create_repo", DEMO, **SPACE),
    case("create_repo", DEMO, repo_type="space", space_sdk="flask"),
    case("create_repo", DEMO, private=True, visibility="public", **GRADIO),
    case(
        "create_repo",
        DEMO,
        private=True,
        visibility="public",
        space_template="x",
        **SPACE,
    ),
    case("create_repo", "a/b/c", **GRADIO),
    case("update_repo_settings", DEMO, **SPACE),
    case("update_repo_settings", DEMO, gated="yes", **SPACE),
    case("update_repo_settings", DEMO, private=True, visibility="public", **SPACE),
    case("duplicate_repo", DEMO, private=True, visibility="public", **SPACE),
    case("move_repo", "bare", DEMO, **SPACE),
    case("wait_for_space", DEMO, timeout=-1),
    case("wait_for_space", DEMO, poll_interval=0),
    case("get_space_runtime", "a/b/c"),
    case("get_space_runtime", "a..b/c"),
]


@pytest.mark.parametrize("what", named(NOT_SENT))
async def test_what_cannot_work_is_a_value_error_for_both(
    pair: Pair, what: Case
) -> None:
    """What `HfApi` refuses with a `ValueError` is one here, and nothing is sent."""
    method, args, kwargs = what
    with pytest.raises(ValueError, match=r"\w"):
        await pair.both(method, *args, **kwargs)
    with pytest.raises(ConfigurationError) as ours:
        await run_ours(getattr(pair.ours, method), args, kwargs)
    assert isinstance(ours.value, ValueError)
    assert pair.recorder.take() == []


@pytest.mark.parametrize("template", ["nothing-like-it", "jupyterlab"])
async def test_a_template_is_looked_at_before_anything_is_made(
    pair: Pair, template: str
) -> None:
    """An unknown template, or one with another SDK, is refused by both."""
    options: dict[str, Any] = {**GRADIO, "space_template": template}
    with pytest.raises(ValueError, match=r"[Tt]emplate"):
        await pair.both("create_repo", DEMO, **options)
    theirs = pair.recorder.take()
    with pytest.raises(ConfigurationError, match=r"template"):
        await pair.ours.create_repo(DEMO, **options)
    assert pair.recorder.take() == theirs
    assert [request.method for request in theirs] == ["GET"]


@pytest.mark.parametrize("repo_type", [None, "model", "dataset", "kernel", "spaces"])
@pytest.mark.parametrize(
    "what",
    named(
        [
            case("create_repo", DEMO, space_sdk="gradio"),
            case("delete_repo", DEMO),
            case("move_repo", DEMO, "me/other"),
            case("update_repo_settings", DEMO, private=True),
            case("duplicate_repo", DEMO),
        ]
    ),
)
async def test_models_and_datasets_are_refused(
    pair: Pair, what: Case, repo_type: str | None
) -> None:
    """What is not about a Space is refused, and the error says what to pass."""
    method, args, kwargs = what
    with pytest.raises(ConfigurationError, match=f"{method} needs repo_type='space'"):
        await run_ours(
            getattr(pair.ours, method), args, {**kwargs, "repo_type": repo_type}
        )
    assert pair.recorder.take() == []


# Methods that HfApi lost in 2.0: what 1.x sent.
LEGACY: list[tuple[Case, Request]] = [
    (
        case("request_space_storage", DEMO, "large"),
        Request("POST", f"/api/spaces/{DEMO}/storage", (), {"tier": "large"}, BEARER),
    ),
    (
        case("request_space_storage", DEMO, huggingface_hub.SpaceStorage.SMALL),
        Request("POST", f"/api/spaces/{DEMO}/storage", (), {"tier": "small"}, BEARER),
    ),
    (
        case("delete_space_storage", DEMO),
        Request("DELETE", f"/api/spaces/{DEMO}/storage", (), None, BEARER),
    ),
    (
        case(
            "duplicate_space",
            DEMO,
            "me/copy",
            private=True,
            hardware="t4-small",
            storage="small",
            sleep_time=60,
            secrets=ENTRIES,
            variables=ENTRIES,
        ),
        Request(
            "POST",
            f"/api/spaces/{DEMO}/duplicate",
            (),
            {
                "repository": "me/copy",
                "visibility": "private",
                "hardware": "t4-small",
                "storageTier": "small",
                "sleepTimeSeconds": 60,
                "secrets": ENTRIES,
                "variables": ENTRIES,
            },
            BEARER,
        ),
    ),
]


@pytest.mark.parametrize(
    ("what", "sent"), LEGACY, ids=["large", "small", "delete", "duplicate"]
)
async def test_what_only_1x_had(pair: Pair, what: Case, sent: Request) -> None:
    """The methods that are gone in 2.x are still there, and send what 1.x sent."""
    method, args, kwargs = what
    await run_ours(getattr(pair.ours, method), args, kwargs)
    assert pair.recorder.take() == [sent]


async def test_add_space_variable_returns_all_of_them(pair: Pair) -> None:
    """As `HfApi` does, out of the one answer."""
    variables = await pair.ours.add_space_variable(DEMO, "KEY", "123")
    assert {key: each.value for key, each in variables.items()} == {
        "KEY": "123",
        "OTHER": "x",
    }
    assert len(pair.recorder.take()) == 1


async def test_whoami_is_asked_anew_unless_cached(pair: Pair) -> None:
    """`cache=True` asks once for each token; without it, every time."""
    assert (await pair.ours.whoami()).name == "tester"
    await pair.ours.whoami()
    assert len(pair.recorder.take()) == 2
    for token in (None, "hf_other", None, "hf_other"):
        await pair.ours.whoami(token, cache=True)
    assert len(pair.recorder.take()) == 2


async def test_logs_are_texts(pair: Pair) -> None:
    """A line of a log is a text, as with `HfApi`, but without its end."""
    official = await asyncio.to_thread(
        lambda: list(pair.official.fetch_space_logs(DEMO))
    )
    ours = [line async for line in pair.ours.fetch_space_logs(DEMO)]
    assert ours == [line.removesuffix("\n") for line in official] == ["hello"]


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "PAUSED", "SLEEPING", "HIBERNATING"])
async def test_waiting_ends_at_any_settled_stage(pair: Pair, stage: str) -> None:
    """A failed, an idle and an unheard-of stage end the wait as `HfApi`'s: no error."""
    runtime = {"stage": stage, "hardware": {}, "replicas": {}}
    pair.recorder.refuse(f"GET /api/spaces/{DEMO}/runtime", 200, runtime)
    await same(pair, "wait_for_space", DEMO)
    assert (await pair.ours.wait_for_space(DEMO)).stage == stage


async def test_waiting_too_long_is_a_timeout_error(pair: Pair) -> None:
    """It is the built-in `TimeoutError` for both."""
    pair.recorder.refuse(f"GET /api/spaces/{DEMO}/runtime", 200, {"stage": "BUILDING"})
    with pytest.raises(TimeoutError) as caught:
        await pair.ours.wait_for_space(DEMO, timeout=0.05)
    assert not isinstance(caught.value, SpaceFailedError)
