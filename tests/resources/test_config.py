"""`client.config`: variables and secrets."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from spaces_async import (
    ConfigurationError,
    SpacesClient,
    SpaceSecret,
    SpaceVariable,
    UnexpectedResponseError,
)
from spaces_async.config import Config

from .hub_mock import (
    BAD_KEYS,
    BAD_REPO_IDS,
    DEMO,
    INVALID_BODY,
    REFUSED_FOR_SPACE,
    SECRET,
    Case,
    HubMock,
    Refusal,
    cases,
    check_call,
    check_not_sent,
    check_refusal,
    one_per_method,
    public_methods,
)

VARIABLES = f"{DEMO}/variables"
SECRETS = f"{DEMO}/secrets"
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


CASES = [
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
    Case(
        id="delete_secret",
        name="delete_secret",
        invoke=lambda c: c.config.delete_secret("acme/demo", "API_KEY"),
        method="DELETE",
        path=SECRETS,
        body={"key": "API_KEY"},
        answer={},
    ),
]
REFUSALS = [*REFUSED_FOR_SPACE, INVALID_BODY]
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
    assert {case.name for case in CASES} == public_methods(Config) == set(ARGUMENTS)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out; the recorded answer is understood."""
    await check_call(mock, client, case)


@cases(REFUSALS, "refusal")
@cases(one_per_method(CASES))
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status becomes its error, and no error shows the token or the secret."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize("repo_id", BAD_REPO_IDS, ids=repr)
@pytest.mark.parametrize("name", ARGUMENTS)
async def test_malformed_id_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, repo_id: Any
) -> None:
    """A malformed id is refused before anything is sent."""
    method = getattr(client.config, name)
    await check_not_sent(mock, client, lambda: method(repo_id, *ARGUMENTS[name]))


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
@pytest.mark.parametrize("name", [name for name in ARGUMENTS if ARGUMENTS[name]])
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
        ("get_variables", '{"A": {"value": "1", "updatedAt": "yesterday"}}'),
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


@pytest.mark.parametrize("body", ["", "OK", "<html></html>", "null"])
@pytest.mark.parametrize("name", ["add_secret", "delete_secret"])
async def test_status_is_all_that_counts_for_secrets(
    mock: HubMock, client: SpacesClient, name: str, body: str
) -> None:
    """The answer to a write of a secret says nothing but its status."""
    case = next(case for case in CASES if case.name == name)
    mock.answer(case.method, case.path, body=body)
    await case.invoke(client)
    assert len(mock.sent) == 1


# What the state shows after a lost answer: what took effect, and what did not. The
# clock of these clients stands at the start of 2026.
SOON = "2026-01-01T00:00:01.000Z"
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
    mock.answer("GET", path, done)
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
    mock.answer("GET", path, seen)
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


async def test_malformed_key_shows_no_value(client: SpacesClient) -> None:
    """An error about the key, or about the id, does not show the value."""
    for repo_id, key in (("acme/demo", "1"), ("demo", "A")):
        with pytest.raises(ConfigurationError) as caught:
            await client.config.add_secret(repo_id, key, SECRET)
        assert SECRET not in str(caught.value)
