"""`client.config`: variables, secrets, visibility, dev mode, domain."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from spaces_async import (
    BadRequestError,
    ConfigurationError,
    HubServerError,
    KeyOutcome,
    PaymentRequiredError,
    PermissionDeniedError,
    SpaceRuntime,
    SpacesClient,
    SpaceSecret,
    SpaceStage,
    SpaceVariable,
    UnexpectedResponseError,
)
from spaces_async.config import Config
from tests.support.hub_mock import (
    BAD_KEYS,
    DEMO,
    FEW_BAD_KEYS,
    INVALID_BODY,
    LATE,
    NEEDS_PRO,
    NOW,
    REFUSED_FOR_SPACE,
    RUNTIME,
    SECRET,
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
)

VARIABLES = f"{DEMO}/variables"
SECRETS = f"{DEMO}/secrets"
SETTINGS = f"{DEMO}/settings"
DEV_MODE = f"{DEMO}/dev-mode"
DOMAIN = f"{DEMO}/custom-domain"
WRITTEN = datetime(2025, 3, 7, 12, 24, 18, 657000, tzinfo=UTC)
STAMP = "2025-03-07T12:24:18.657Z"
# As it was recorded in 2025: the name is the key of the map only.
RECORDED = {
    "foo": {"value": "123", "updatedAt": STAMP},
    "MODEL_PAPER": {
        "value": "arXiv",
        "description": "found it there",
        "updatedAt": STAMP,
    },
}
FOO = SpaceVariable("foo", "123", None, WRITTEN)
PAPER = SpaceVariable("MODEL_PAPER", "arXiv", "found it there", WRITTEN)
# As the OpenAPI of 2026 has it, with a key that nobody knows yet.
CURRENT = {"A": {"key": "A", "value": "", "scope": "all"}}
NAMES = {
    "API_KEY": {"key": "API_KEY", "description": "for the API", "updatedAt": STAMP},
    "bare": {"key": "bare"},
}


def _variables(name: str, answer: dict[str, Any], result: dict[str, Any]) -> Case:
    return Case(
        id=f"get_variables-{name}",
        name="get_variables",
        invoke=lambda c: c.config.get_variables("acme/demo"),
        method="GET",
        path=VARIABLES,
        answer=answer,
        result=result,
    )


def _secrets(name: str, answer: dict[str, Any], result: dict[str, Any]) -> Case:
    return Case(
        id=f"get_secrets-{name}",
        name="get_secrets",
        invoke=lambda c: c.config.get_secrets("acme/demo"),
        method="GET",
        path=SECRETS,
        answer=answer,
        result=result,
    )


def _add_variable(
    name: str, key: str, value: str, description: str | None, body: dict[str, Any]
) -> Case:
    written = {"value": value, "updatedAt": STAMP}
    if description is not None:
        written["description"] = description
    return Case(
        id=f"add_variable-{name}",
        name="add_variable",
        invoke=lambda c: c.config.add_variable(
            "acme/demo", key, value, description=description
        ),
        method="POST",
        path=VARIABLES,
        body=body,
        answer={**RECORDED, key: written},
        result=SpaceVariable(key, value, description, WRITTEN),
    )


def _add_secret(
    name: str, value: str, description: str | None, body: dict[str, Any]
) -> Case:
    return Case(
        id=f"add_secret-{name}",
        name="add_secret",
        invoke=lambda c: c.config.add_secret(
            "acme/demo", "API_KEY", value, description=description
        ),
        method="POST",
        path=SECRETS,
        body=body,
        answer={},
    )


def _visibility(name: str, word: str, *arguments: Any, **named: Any) -> Case:
    return Case(
        id=f"set_visibility-{name}",
        name="set_visibility",
        invoke=lambda c: c.config.set_visibility("acme/demo", *arguments, **named),
        method="PUT",
        path=SETTINGS,
        body={"visibility": word},
        answer={"visibility": word},
    )


def _dev_mode(name: str, *, enabled: bool) -> Case:
    return Case(
        id=f"set_dev_mode-{name}",
        name="set_dev_mode",
        invoke=lambda c: c.config.set_dev_mode("acme/demo", enabled),
        method="POST",
        path=DEV_MODE,
        body={"enabled": enabled},
        answer={"stage": "RUNNING", "devMode": enabled},
        result=SpaceRuntime(SpaceStage.RUNNING, dev_mode=enabled),
    )


def _domain(name: str, domain: str) -> Case:
    return Case(
        id=f"set_custom_domain-{name}",
        name="set_custom_domain",
        invoke=lambda c: c.config.set_custom_domain("acme/demo", domain),
        method="POST",
        path=DOMAIN,
        body={"domain": domain},
        text="Created",
    )


CASES = [
    _visibility("public", "public", "public"),
    _visibility("private", "private", "private"),
    _visibility("protected", "protected", visibility="protected"),
    _visibility("flag", "private", private=True),
    _visibility("no-flag", "public", private=False),
    _dev_mode("on", enabled=True),
    _dev_mode("off", enabled=False),
    _domain("plain", "demo.example.com"),
    _domain("dashes", "a-1.b--c.example"),
    Case(
        id="add_variables-new",
        name="add_variables",
        invoke=lambda c: c.config.add_variables("acme/demo", {"foo": "123", "A": "1"}),
        before=((VARIABLES, RECORDED),),
        method="POST",
        path=VARIABLES,
        body={"key": "A", "value": "1"},
        answer={**RECORDED, "A": {"value": "1"}},
        result=[KeyOutcome("foo", "unchanged"), KeyOutcome("A", "done")],
    ),
    Case(
        id="add_variables-there",
        name="add_variables",
        invoke=lambda c: c.config.add_variables("acme/demo", {"foo": "123"}),
        method="GET",
        path=VARIABLES,
        answer=RECORDED,
        result=[KeyOutcome("foo", "unchanged")],
    ),
    Case(
        id="add_variables-none",
        name="add_variables",
        invoke=lambda c: c.config.add_variables("acme/demo", {}),
        method="GET",
        path=VARIABLES,
        answer=RECORDED,
        result=[],
    ),
    Case(
        id="add_secrets",
        name="add_secrets",
        invoke=lambda c: c.config.add_secrets("acme/demo", {"API_KEY": SECRET}),
        method="POST",
        path=SECRETS,
        body={"key": "API_KEY", "value": SECRET},
        answer={},
        result=[KeyOutcome("API_KEY", "done")],
    ),
    Case(
        id="add_variable-no-collision",
        name="add_variable",
        invoke=lambda c: c.config.add_variable(
            "acme/demo", "foo", "123", check_collision=True
        ),
        before=((SECRETS, NAMES),),
        method="POST",
        path=VARIABLES,
        body={"key": "foo", "value": "123"},
        answer=RECORDED,
        result=FOO,
    ),
    Case(
        id="add_secret-no-collision",
        name="add_secret",
        invoke=lambda c: c.config.add_secret(
            "acme/demo", "API_KEY", SECRET, check_collision=True
        ),
        before=((VARIABLES, RECORDED),),
        method="POST",
        path=SECRETS,
        body={"key": "API_KEY", "value": SECRET},
        answer={},
    ),
    _variables("recorded", RECORDED, {"foo": FOO, "MODEL_PAPER": PAPER}),
    _variables("empty", {}, {}),
    _variables("openapi", CURRENT, {"A": SpaceVariable("A", "")}),
    _add_variable("plain", "A", "1", None, {"key": "A", "value": "1"}),
    _add_variable(
        "description",
        "A",
        "1",
        "what for",
        {"key": "A", "value": "1", "description": "what for"},
    ),
    _add_variable("empty", "A", "", "", {"key": "A", "value": "", "description": ""}),
    _add_variable(
        "unicode", "z_9", 'ü🚀\n"\\\x00', None, {"key": "z_9", "value": 'ü🚀\n"\\\x00'}
    ),
    Case(
        id="delete_variable",
        name="delete_variable",
        invoke=lambda c: c.config.delete_variable("acme/demo", "A"),
        method="DELETE",
        path=VARIABLES,
        body={"key": "A"},
        answer=RECORDED,
        result={"foo": FOO, "MODEL_PAPER": PAPER},
    ),
    Case(
        id="delete_variable-last",
        name="delete_variable",
        invoke=lambda c: c.config.delete_variable("acme/demo", "A"),
        method="DELETE",
        path=VARIABLES,
        body={"key": "A"},
        answer={},
        result={},
    ),
    _secrets(
        "names",
        NAMES,
        {
            "API_KEY": SpaceSecret("API_KEY", "for the API", WRITTEN),
            "bare": SpaceSecret("bare"),
        },
    ),
    _secrets("empty", {}, {}),
    _add_secret("plain", SECRET, None, {"key": "API_KEY", "value": SECRET}),
    _add_secret(
        "description",
        SECRET,
        "for the API",
        {"key": "API_KEY", "value": SECRET, "description": "for the API"},
    ),
    _add_secret("empty", "", None, {"key": "API_KEY", "value": ""}),
]
CASES += cases_of_writes("config", CASES)
REFUSALS = [*REFUSED_FOR_SPACE, INVALID_BODY]
# What a bulk of keys is refused is in its outcomes, not in an error.
REFUSABLE = [
    case
    for case in CASES
    if case.id not in ("add_variables-new", "add_secrets") and not case.before
]
# Methods with one key, and what follows the id.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "get_variables": (),
    "add_variable": ("A", "1"),
    "delete_variable": ("A",),
    "get_secrets": (),
    "add_secret": ("A", SECRET),
    "delete_secret": ("A",),
}


def test_every_method_has_a_row() -> None:
    """No method of the configuration goes without a test."""
    assert {case.name for case in CASES} == public_methods(Config)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out; the recorded answer is understood."""
    await check_call(mock, client, case)


@refused(one_per_method(REFUSABLE), REFUSALS)
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status becomes its error, and no error shows the token or the secret."""
    await check_refusal(mock, client, case, refusal)


@cases([NEEDS_PRO, STATIC], "refusal")
@cases(
    [
        case
        for case in CASES
        if case.name in ("set_visibility", "set_dev_mode", "set_custom_domain")
    ]
)
async def test_refused_setting(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """What the plan does not include, and what no static Space has, is told apart."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("add_variable", key) for key in BAD_KEYS),
        *(
            (name, key)
            for name in ARGUMENTS
            if ARGUMENTS[name] and name != "add_variable"
            for key in FEW_BAD_KEYS
        ),
    ],
    ids=repr,
)
async def test_malformed_key_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, key: Any
) -> None:
    """A key that the Hub's pattern forbids is refused before anything is sent."""
    method = getattr(client.config, name)
    rest = ARGUMENTS[name][1:]
    await check_not_sent(mock, client, lambda: method("acme/demo", key, *rest))


BAD_TEXTS: tuple[Any, ...] = (None, 5, True, 1.5, b"x", ["x"], {"a": "b"}, "\ud800")


@pytest.mark.parametrize("value", BAD_TEXTS, ids=ascii)
@pytest.mark.parametrize("name", ["add_variable", "add_secret"])
async def test_malformed_value_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, value: Any
) -> None:
    """A value is a text that has a UTF-8 form, or is refused before it is sent."""
    method = getattr(client.config, name)
    await check_not_sent(mock, client, lambda: method("acme/demo", "A", value))


@pytest.mark.parametrize("value", BAD_TEXTS[1:], ids=ascii)
@pytest.mark.parametrize("name", ["add_variable", "add_secret"])
async def test_malformed_description_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, value: Any
) -> None:
    """So is a description; None is none."""
    method = getattr(client.config, name)
    await check_not_sent(
        mock, client, lambda: method("acme/demo", "A", SECRET, description=value)
    )


@pytest.mark.parametrize(
    "value", [SECRET.encode(), [SECRET], {"a": SECRET}, f"{SECRET}\ud800"], ids=ascii
)
async def test_refused_secret_is_not_shown(
    mock: HubMock, client: SpacesClient, value: Any
) -> None:
    """The error about a secret of a wrong form does not show it."""
    error = await check_not_sent(
        mock, client, lambda: client.config.add_secret("acme/demo", "A", value)
    )
    assert SECRET not in str(error) + repr(error)
    assert SECRET.encode() not in pickle.dumps(error)


async def test_write_is_done_whatever_another_variable_is(
    mock: HubMock, client: SpacesClient
) -> None:
    """The answer of a write tells all variables; an odd one does not undo the write."""
    odd = {"B": {"value": 2, "updatedAt": "yesterday"}}
    mock.answer("POST", VARIABLES, {"A": {"key": "A", "value": "1"}, **odd})
    assert (await client.config.add_variable("acme/demo", "A", "1")).value == "1"
    mock.answer("DELETE", VARIABLES, odd)
    left = await client.config.delete_variable("acme/demo", "A")
    assert left["B"].value is None
    assert left["B"].raw["value"] == 2
    assert [sent.method for sent in mock.sent] == ["POST", "DELETE"]


async def test_whole_answer_stays_readable(mock: HubMock, client: SpacesClient) -> None:
    """What this package does not know of a variable is in its `raw`."""
    mock.answer("GET", VARIABLES, CURRENT)
    variables = await client.config.get_variables("acme/demo")
    assert variables["A"].raw["scope"] == "all"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("get_variables", "[]"),
        ("get_variables", "null"),
        ("get_variables", '{"A": "1"}'),
        ("get_variables", '{"A": {"value": 1}}'),
        ("get_variables", "<html><title>Sign in</title></html>"),
        ("get_variables", ""),
        ("add_variable", "{}"),
        ("add_variable", '{"B": {"value": "1"}}'),
        ("delete_variable", "OK"),
        ("get_secrets", "[]"),
        ("get_secrets", '{"A": true}'),
    ],
)
async def test_answer_of_another_shape(
    mock: HubMock, client: SpacesClient, name: str, body: str
) -> None:
    """A 2xx that is not the documented map is an error of its own, not a guess."""
    case = next(case for case in CASES if case.name == name)
    mock.answer(case.method, case.path, body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await getattr(client.config, name)("acme/demo", *ARGUMENTS[name])
    assert (caught.value.status, caught.value.body) == (200, body)


@pytest.mark.parametrize("body", ["", "OK", "{}", "null"])
@pytest.mark.parametrize("name", ["add_secret", "delete_secret"])
async def test_status_is_all_that_counts_for_secrets(
    mock: HubMock, client: SpacesClient, name: str, body: str
) -> None:
    """The answer to a write of a secret says nothing but its status."""
    case = next(c for c in CASES if c.name == name and not c.before)
    mock.answer(case.method, case.path, body=body)
    await case.invoke(client)
    assert len(mock.sent) == 1


# What the state shows after a lost answer: what took effect, and what did not.
SOON = "2026-01-01T00:00:05.000Z"
LOST: dict[str, tuple[tuple[str, ...], str, Any, tuple[Any, ...]]] = {
    "add_variable": (
        ("foo", "123"),
        VARIABLES,
        RECORDED,
        ({}, {"foo": {"value": "122"}}),
    ),
    "delete_variable": (("A",), VARIABLES, RECORDED, (CURRENT,)),
    "add_secret": (
        ("API_KEY", SECRET),
        SECRETS,
        {"API_KEY": {"key": "API_KEY", "updatedAt": SOON}},
        ({}, NAMES, {"API_KEY": {"key": "API_KEY"}}),
    ),
    "delete_secret": (("API_KEY",), SECRETS, {"bare": {"key": "bare"}}, (NAMES,)),
}
RESULTS = {
    "add_variable": FOO,
    "delete_variable": {"foo": FOO, "MODEL_PAPER": PAPER},
    "add_secret": None,
    "delete_secret": None,
}


@pytest.mark.parametrize("name", LOST)
async def test_lost_write_that_took_effect(
    mock: HubMock, persistent: SpacesClient, name: str
) -> None:
    """After a lost answer the map is read: what is there is not written again."""
    arguments, path, done, _ = LOST[name]
    method = "POST" if name.startswith("add") else "DELETE"
    mock.answer(method, path, status=502)
    mock.answer("GET", path, done, headers=NOW)
    result = await getattr(persistent.config, name)("acme/demo", *arguments)
    assert result == RESULTS[name]
    assert mock.lines() == [f"{method} {path}", f"GET {path}"]


@pytest.mark.parametrize(
    ("name", "seen"), [(name, seen) for name in LOST for seen in LOST[name][3]]
)
async def test_lost_write_that_did_not_take_effect(
    mock: HubMock, persistent: SpacesClient, name: str, seen: Any
) -> None:
    """What the map does not show is written again, and no third time."""
    arguments, path, _, _ = LOST[name]
    method = "POST" if name.startswith("add") else "DELETE"
    mock.answer(method, path, status=502)
    mock.answer("GET", path, seen, headers=NOW)
    mock.answer(method, path, RECORDED if path == VARIABLES else {})
    result = await getattr(persistent.config, name)("acme/demo", *arguments)
    assert result == RESULTS[name]
    assert mock.lines() == [f"{method} {path}", f"GET {path}", f"{method} {path}"]
    assert mock.sent[0].json == mock.sent[2].json


async def test_lost_variable_with_an_old_description_is_written_again(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """The value alone does not show that the description was written too."""
    mock.answer("POST", VARIABLES, status=502)
    mock.answer("GET", VARIABLES, RECORDED)
    written = {**RECORDED, "foo": {"value": "123", "description": "new"}}
    mock.answer("POST", VARIABLES, written)
    variable = await persistent.config.add_variable(
        "acme/demo", "foo", "123", description="new"
    )
    assert variable == SpaceVariable("foo", "123", "new")
    assert mock.lines().count(f"POST {VARIABLES}") == 2


@pytest.mark.parametrize("name", ["add_variable", "delete_variable"])
async def test_broken_answer(
    mock: HubMock, persistent: SpacesClient, name: str
) -> None:
    """A 2xx that cannot be read was acted on: the map is read, nothing is repeated."""
    arguments, path, done, _ = LOST[name]
    method = "POST" if name.startswith("add") else "DELETE"
    mock.answer(method, path, body="{")
    mock.answer("GET", path, done)
    result = await getattr(persistent.config, name)("acme/demo", *arguments)
    assert result == RESULTS[name]
    assert mock.lines() == [f"{method} {path}", f"GET {path}"]


@pytest.mark.parametrize(
    ("stamp", "headers", "writes"),
    [
        ("2026-01-01T05:00:05.000Z", LATE, 1),
        ("2026-01-01T05:00:00.000Z", LATE, 2),
        ("2026-01-01T04:59:59.000Z", LATE, 2),
        ("2026-01-01T04:59:00.000Z", LATE, 2),
        ("2026-01-01T00:00:01.000Z", LATE, 2),
        ("2026-01-01T00:00:01.000Z", {}, 2),
        ("2030-01-01T00:00:00.000Z", {}, 2),
        ("2026-01-01T00:00:01.000Z", {"Date": "yesterday"}, 2),
    ],
)
async def test_lost_secret_by_the_clock_of_the_hub(
    mock: HubMock,
    persistent: SpacesClient,
    stamp: str,
    headers: dict[str, str],
    writes: int,
) -> None:
    """`updatedAt` is compared with the Hub's own clock; unknown, it proves nothing.

    A write of the same moment may be another program's: the secret is sent again.
    """
    mock.answer("POST", SECRETS, status=502)
    seen = {"API_KEY": {"key": "API_KEY", "updatedAt": stamp}}
    mock.answer("GET", SECRETS, seen, headers=headers)
    mock.answer("POST", SECRETS, {})
    await persistent.config.add_secret("acme/demo", "API_KEY", SECRET)
    lines = [f"POST {SECRETS}", f"GET {SECRETS}", f"POST {SECRETS}"]
    assert mock.lines() == lines[: writes + 1]


# Collisions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "there"),
    [
        ("add_variable", SECRETS, NAMES),
        ("add_secret", VARIABLES, {"API_KEY": {"key": "API_KEY", "value": "x"}}),
    ],
)
async def test_collision_is_not_written(
    mock: HubMock, client: SpacesClient, name: str, path: str, there: Any
) -> None:
    """A variable and a secret of one name stop a Space: asked to look, we refuse."""
    mock.answer("GET", path, there)
    write = getattr(client.config, name)
    what = "secret" if path == SECRETS else "variable"
    with pytest.raises(ConfigurationError, match=rf"{what} named API_KEY") as caught:
        await write("acme/demo", "API_KEY", SECRET, check_collision=True)
    assert SECRET not in str(caught.value)
    assert mock.lines() == [f"GET {path}"]


@pytest.mark.parametrize(
    ("name", "path"), [("add_variable", SECRETS), ("add_secret", VARIABLES)]
)
async def test_look_for_collisions_that_fails(
    mock: HubMock, client: SpacesClient, name: str, path: str
) -> None:
    """Who could not look does not write, and nothing is in doubt."""
    mock.answer("GET", path, {"error": "no"}, status=403)
    with pytest.raises(PermissionDeniedError) as caught:
        await getattr(client.config, name)(
            "acme/demo", "A", SECRET, check_collision=True
        )
    assert not caught.value.outcome_unknown
    assert mock.lines() == [f"GET {path}"]


# Several keys -------------------------------------------------------------------------


async def test_variable_that_fails_stops_no_other(
    mock: HubMock, client: SpacesClient
) -> None:
    """Each key has an outcome of its own, in the order in which they were given."""
    mock.answer("GET", VARIABLES, RECORDED)
    mock.answer("POST", VARIABLES, {"error": "no"}, status=400)
    mock.answer("POST", VARIABLES, status=502)
    mock.answer("POST", VARIABLES, {"foo": {"value": "124"}})
    outcomes = await client.config.add_variables(
        "acme/demo", {"Z": "1", "MODEL_PAPER": "arXiv", "B": "2", "foo": "124"}
    )
    assert [(o.key, o.status) for o in outcomes] == [
        ("Z", "failed"),
        ("MODEL_PAPER", "unchanged"),
        ("B", "unknown"),
        ("foo", "done"),
    ]
    assert isinstance(outcomes[0].error, BadRequestError)
    assert getattr(outcomes[2].error, "outcome_unknown", None) is True
    assert outcomes[1].error is outcomes[3].error is None
    assert mock.lines() == [f"GET {VARIABLES}"] + [f"POST {VARIABLES}"] * 3
    assert [sent.json for sent in mock.sent[1:]] == [
        {"key": "Z", "value": "1"},
        {"key": "B", "value": "2"},
        {"key": "foo", "value": "124"},
    ]


async def test_secret_that_fails_stops_no_other(
    mock: HubMock, client: SpacesClient
) -> None:
    """So it is with secrets, and no outcome shows a value."""
    answer = {"error": f"cannot store {SECRET}"}
    mock.answer("POST", SECRETS, answer, status=402)
    mock.answer("POST", SECRETS, answer, status=500)
    mock.answer("POST", SECRETS, {})
    outcomes = await client.config.add_secrets(
        "acme/demo", {"A": SECRET, "B": SECRET, "C": "other"}
    )
    assert [(o.key, o.status) for o in outcomes] == [
        ("A", "failed"),
        ("B", "unknown"),
        ("C", "done"),
    ]
    assert isinstance(outcomes[0].error, PaymentRequiredError)
    assert isinstance(outcomes[1].error, HubServerError)
    assert SECRET not in repr(outcomes) + "".join(str(o.error) for o in outcomes)
    assert len(mock.sent) == 3


async def test_variables_that_cannot_be_read_are_not_written(
    mock: HubMock, client: SpacesClient
) -> None:
    """Where the look fails nothing is changed, and the error is raised."""
    mock.answer("GET", VARIABLES, {"error": "no"}, status=403)
    with pytest.raises(PermissionDeniedError):
        await client.config.add_variables("acme/demo", {"A": "1"})
    assert mock.lines() == [f"GET {VARIABLES}"]


async def test_no_secrets_are_no_calls(mock: HubMock, client: SpacesClient) -> None:
    """Nothing to write is nothing to send."""
    assert await client.config.add_secrets("acme/demo", {}) == []
    assert mock.sent == []


@pytest.mark.parametrize(
    "entries",
    [{"A": "1", "B-C": SECRET}, {"A": SECRET, "B": 5}, {"A": "1", "B": "\ud800"}],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["add_variables", "add_secrets"])
async def test_one_malformed_entry_sends_none(
    mock: HubMock, client: SpacesClient, name: str, entries: Any
) -> None:
    """All entries are looked at before the first is sent."""
    method = getattr(client.config, name)
    error = await check_not_sent(mock, client, lambda: method("acme/demo", entries))
    assert SECRET not in str(error)


# Who sees it, dev mode, domain --------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        (("private",), {"private": True}),
        (("public",), {"private": False}),
        (("secret",), {}),
        (("",), {}),
        (("Private",), {}),
        ((True,), {}),
        ((["private"],), {}),
        ((), {"private": 1}),
        ((), {"private": "true"}),
    ],
    ids=repr,
)
async def test_malformed_visibility_is_not_sent(
    mock: HubMock, client: SpacesClient, arguments: Any, named: Any
) -> None:
    """One of three words, or one flag: never both, never neither."""
    method = client.config.set_visibility
    await check_not_sent(mock, client, lambda: method("acme/demo", *arguments, **named))


@pytest.mark.parametrize("enabled", [1, 0, None, "true"], ids=repr)
async def test_malformed_dev_mode_is_not_sent(
    mock: HubMock, client: SpacesClient, enabled: Any
) -> None:
    """Dev mode is on or off; what is merely truthy is refused."""
    await check_not_sent(
        mock, client, lambda: client.config.set_dev_mode("acme/demo", enabled)
    )


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "localhost",
        "https://demo.example.com",
        "demo.example.com/",
        "demo.example.com:443",
        "-a.example.com",
        "a-.example.com",
        "a..example.com",
        ".example.com",
        "example.com.",
        "exa mple.com",
        "demo.example.com\n",
        f"{'x' * 64}.com",
        None,
        5,
    ],
    ids=repr,
)
async def test_malformed_domain_is_not_sent(
    mock: HubMock, client: SpacesClient, domain: Any
) -> None:
    """A domain is a bare host name: no URL, no port, no empty label."""
    await check_not_sent(
        mock, client, lambda: client.config.set_custom_domain("acme/demo", domain)
    )


@pytest.mark.parametrize("name", ["set_visibility-public", "set_custom_domain-plain"])
@pytest.mark.parametrize("body", ["", "OK", "{}", "null"])
async def test_status_is_all_that_counts_for_settings(
    mock: HubMock, client: SpacesClient, name: str, body: str
) -> None:
    """What these endpoints answer is not relied on: a 2xx is enough."""
    case = next(case for case in CASES if case.id == name)
    mock.answer(case.method, case.path, body=body)
    await case.invoke(client)
    assert len(mock.sent) == 1


@pytest.mark.parametrize(
    ("enabled", "seen", "writes"),
    [
        (True, {"devMode": True}, 1),
        (False, {"devMode": False}, 1),
        (False, {}, 1),
        (True, {"devMode": False}, 2),
        (True, {}, 2),
        (False, {"devMode": True}, 2),
    ],
)
async def test_lost_dev_mode(
    mock: HubMock,
    persistent: SpacesClient,
    enabled: bool,
    seen: dict[str, Any],
    writes: int,
) -> None:
    """The runtime tells whether it was switched; one that says nothing has none."""
    mock.answer("POST", DEV_MODE, status=502)
    mock.answer("GET", RUNTIME, {"stage": "RUNNING", **seen})
    mock.answer("POST", DEV_MODE, {"stage": "RUNNING", "devMode": enabled})
    runtime = await persistent.config.set_dev_mode("acme/demo", enabled)
    assert bool(runtime.dev_mode) is enabled
    lines = [f"POST {DEV_MODE}", f"GET {RUNTIME}", f"POST {DEV_MODE}"]
    assert mock.lines() == lines[: writes + 1]


async def test_malformed_key_shows_no_value(client: SpacesClient) -> None:
    """An error about the key, or about the id, does not show the value."""
    for repo_id, key in (("acme/demo", "1"), ("demo", "A")):
        with pytest.raises(ConfigurationError) as caught:
            await client.config.add_secret(repo_id, key, SECRET)
        assert SECRET not in str(caught.value)
