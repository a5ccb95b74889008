"""What an error is to the caller: an exit code, a short reason and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spaces_async.cli._output import clean
from spaces_async.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    HubResponseError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    SpaceFailedError,
    SpaceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spaces_async.bulk import BulkReport

__all__ = ["DONE", "FAILED", "INTERRUPTED", "LIMITED", "REFUSED", "USAGE", "code_of"]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
LIMITED: Final = 4
INTERRUPTED: Final = 130

_HINTS: Final = (
    (
        AuthenticationError,
        (
            "The token is missing, wrong or expired: set HF_TOKEN, or run"
            " `hf auth login`. Without one, a private Space looks like one that is"
            " missing."
        ),
    ),
    (
        PermissionDeniedError,
        (
            "The token needs write access to the Space: use a write token of a member"
            " with the role write or admin."
        ),
    ),
    (
        PaymentRequiredError,
        "The account's plan or payment method does not cover it.",
    ),
    (
        RateLimitError,
        "Try again later, or allow a longer wait with --max-wait.",
    ),
    (
        SpaceNotFoundError,
        "Check the id, and that the token may see the Space.",
    ),
    (
        ConnectionFailedError,
        "Check the network, and HF_ENDPOINT or --endpoint.",
    ),
)


def code_of(error: BaseException | None) -> int:
    """Return the exit code for an error."""
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        return REFUSED
    if isinstance(error, RateLimitError):
        return LIMITED
    return USAGE if isinstance(error, ConfigurationError) else FAILED


def code_of_report(report: BulkReport[Any]) -> int:
    """Return the exit code for the outcomes of a bulk."""
    if report.ok:
        return DONE
    codes = {code_of(o.error) for o in (*report.failed, *report.unknown)}
    # A bulk that was stopped left work undone, whatever the others died of; but when
    # the token itself was refused, that is the reason.
    cut = report.stopped_by in {
        "deadline",
        "cancelled",
        "left",
        "targets",
        "outage",
        "journal",
    }
    if len(codes) == 1 and not cut and codes <= {REFUSED, LIMITED}:
        return codes.pop()
    return FAILED


def hints_for(errors: Iterable[BaseException | None]) -> list[str]:
    """Return what to do about some errors, each advice once."""
    given = [error for error in errors if error is not None]
    return [hint for kind, hint in _HINTS if any(isinstance(e, kind) for e in given)]


def reason(error: BaseException) -> str:
    """Return why something failed, short enough for a table."""
    if isinstance(error, SpaceFailedError) and error.runtime is not None:
        text = error.runtime.error_message
        stage = str(error.runtime.stage)
        return clean(f"{stage}: {text}" if text else stage)
    if isinstance(error, HubResponseError):
        unknown = "; the outcome is unknown" if error.outcome_unknown else ""
        return clean(f"{error.status} {error.message}{unknown}{_notes(error)}")
    # The text of those that were sent more than once says so by itself.
    notes = "" if getattr(error, "attempts", 0) > 1 else _notes(error)
    return clean(f"{error}{notes}") or type(error).__name__


def _notes(error: BaseException) -> str:
    notes: list[str] = getattr(error, "__notes__", [])
    return "".join(f" ({note})" for note in notes)


def sentence(error: BaseException) -> str:
    """Return an error in one line: what happened, why, and what to do."""
    text = clean(str(error)).rstrip(".")
    return " ".join([f"{text}.", *hints_for([error])])
