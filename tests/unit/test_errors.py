"""The exceptions: they copy, pickle and say what happened in one line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import spaces_async
from spaces_async import BulkError, BulkReport, Outcome, OutcomeStatus, errors
from spaces_async.bulk.report import ReportBuilder

CALL: dict[str, Any] = {
    "method": "POST",
    "url": "https://hub.example/api/spaces/a/b/restart",
    "attempts": 2,
    "request_id": "r-1",
}


def every_error() -> list[errors.SpacesError]:
    made: list[errors.SpacesError] = [
        errors.ConfigurationError("bad"),
        errors.ClientClosedError(),
        errors.StreamInterruptedError("broke"),
        errors.WaitTimeoutError("late", repo_id="a/b", timeout=3.0),
        errors.SpaceFailedError("failed", repo_id="a/b", log_tail=["x"]),
        errors.BulkInterruptedError("stopped", report=BulkReport("restart")),
        errors.ResponseTooLargeError("large", problems=["$"], **CALL),
        errors.UnexpectedResponseError("odd", problems=["$.x: no"], **CALL),
        errors.RequestTimeoutError("slow", phase="read", **CALL),
    ]
    made += [
        kind("no connection", **CALL)
        for kind in (errors.TransportError, errors.ConnectionLostError)
    ]
    made.append(errors.ConnectionFailedError("TLS failed", permanent=True, **CALL))
    answer: dict[str, Any] = {"status": 418, "code": "Teapot", "body": "{}", **CALL}
    for name in errors.__all__:
        kind = getattr(errors, name)
        if issubclass(kind, errors.HubResponseError):
            made.append(kind("refused", retry_after=7.5, **answer))
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda e: type(e).__name__)
def test_errors_copy_and_pickle(error: errors.SpacesError) -> None:
    """An error survives a copy and a process boundary with all that it knows."""
    error.add_note("sent 2 times")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  (our own)
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__notes__ == ["sent 2 times"]
        state = dict(vars(error))
        if "report" not in state:
            assert vars(again) == state


@pytest.mark.parametrize("error", every_error(), ids=lambda e: type(e).__name__)
def test_errors_are_one_line(error: errors.SpacesError) -> None:
    """`str(error)` is one line, fit for a log."""
    assert "\n" not in str(error)
    assert str(error)


def test_the_line_of_an_answer() -> None:
    """Method, URL, status, code, message, request id, and how often it was sent."""
    error = errors.SpaceNotFoundError("gone", status=404, code="RepoNotFound", **CALL)
    assert str(error) == (
        "POST https://hub.example/api/spaces/a/b/restart: 404 RepoNotFound: gone;"
        " 2 attempts (request id r-1)"
    )


def test_an_unknown_outcome_is_said() -> None:
    """Nobody overlooks that a write may have taken effect."""
    error = errors.ConnectionLostError("reset", outcome_unknown=True, **CALL)
    assert error.outcome_unknown
    assert "it is not known whether the Hub acted on it" in str(error)
    assert not errors.ConfigurationError("x").outcome_unknown


def test_builtin_bases() -> None:
    """Callers that catch the built-in kinds catch these too."""
    assert issubclass(errors.ConfigurationError, ValueError)
    assert issubclass(errors.ClientClosedError, RuntimeError)
    assert issubclass(errors.RequestTimeoutError, TimeoutError)
    assert issubclass(errors.WaitTimeoutError, TimeoutError)
    assert issubclass(errors.BulkError, ExceptionGroup)


def test_a_bulk_error_is_a_group() -> None:
    """`except*` takes a bulk error apart, and each part keeps the report."""
    builder: ReportBuilder[None] = ReportBuilder("pause")
    for repo_id, cause in (("a/1", ValueError("x")), ("a/2", errors.SpacesError("y"))):
        builder.claim(repo_id)
        builder.add(Outcome(repo_id, OutcomeStatus.FAILED, error=cause))
    report = builder.report
    caught: list[BulkError] = []
    try:
        report.raise_for_failures()
    except* ValueError as group:
        assert isinstance(group, BulkError)  # noqa: PT017  (except* is the subject)
        caught.append(group)
    except* errors.SpacesError as group:
        assert isinstance(group, BulkError)  # noqa: PT017  (except* is the subject)
        caught.append(group)
    assert [len(group.exceptions) for group in caught] == [1, 1]
    assert all(group.report is report for group in caught)
    again = pickle.loads(pickle.dumps(caught[0]))  # noqa: S301  (our own)
    assert len(again.exceptions) == 1


def test_the_docstring_draws_the_whole_tree() -> None:
    """The tree in the docstring names every error, and every error is public."""
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        assert name in drawn
        assert name in spaces_async.__all__
