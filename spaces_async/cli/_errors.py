"""Errors for the user of the shell: an exit code, the text, and what to do.

The library's errors name its settings and parameters. `in_shell_words` is the one place
that puts options of the shell in their place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from spaces_async.cli._output import human_seconds
from spaces_async.cli._text import clean, full_stop
from spaces_async.errors import (
    AuthenticationError,
    ComputeQuotaError,
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
    from collections.abc import Callable, Iterable

    from spaces_async.bulk import BulkReport

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "LIMITED",
    "PLAN_HINT",
    "REFUSED",
    "USAGE",
    "WRITE_ACCESS_HINT",
    "code_of",
    "code_of_report",
    "full_text",
    "hints_for",
    "in_shell_words",
    "reason",
    "sentence",
    "written_reason",
]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
LIMITED: Final = 4
INTERRUPTED: Final = 130

WRITE_ACCESS_HINT: Final = (
    "The token needs write access to the Space: use a write token of a member with the"
    " role write or admin."
)
PLAN_HINT: Final = "The account's plan or payment method does not cover it."

_HINTS: Final = (
    (
        AuthenticationError,
        (
            "The token is missing, wrong or expired: set HF_TOKEN, or run"
            " `hf auth login`. Without a token, a private Space looks like a missing"
            " one."
        ),
    ),
    (
        ComputeQuotaError,
        (
            "The account runs as many Spaces on this hardware as it may: pause others,"
            " for example with `spaces-async pause ID`, or move them to other hardware,"
            " or upgrade the account."
        ),
    ),
    (PermissionDeniedError, WRITE_ACCESS_HINT),
    (
        PaymentRequiredError,
        PLAN_HINT,
    ),
    (
        RateLimitError,
        "Try again later, or allow a longer wait with --max-wait.",
    ),
    (
        SpaceNotFoundError,
        "Check the id, and whether the token may see the Space.",
    ),
    (
        ConnectionFailedError,
        "Check the network, and HF_ENDPOINT or --endpoint.",
    ),
)


_REQUEST: Final = re.compile(r"^[A-Z]+ https?://\S+: ")
_REQUEST_ID: Final = re.compile(r" \(request id [^()]*\)")
_ATTEMPTS: Final = re.compile(r"; \d+ attempts\b")
_STATUS: Final = re.compile(r"^(\d{3}): ")
"""What the text of an error has besides the reason."""


def _words_of(match: re.Match[str]) -> str:
    return match[1].replace("_", " ")


def _for_up_to(seconds: str, option: str) -> str:
    return f"for up to {human_seconds(int(seconds))} ({option})"


def _two_commands(match: re.Match[str]) -> str:
    return (
        f"belongs to another command, {_call_in_words(match[1])}; this is"
        f" {_call_in_words(match[2])}; name another file"
    )


def _two_runs(match: re.Match[str]) -> str:
    return (
        f"is another command, {_call_in_words(match[1])}; this is"
        f" {_call_in_words(match[2])}; take another name"
    )


_OF_PLANS: Final = "a plan (--org, --max-targets)"
_FLAGS: Final = {
    "healthy": "the check of the health (--wait, --probe, --healthy-for, --timeout)",
    # What the shell sets by itself where a plan is made.
    "only_changes": _OF_PLANS,
    "record_before": _OF_PLANS,
    "on_unknown": "on_unknown of a program",
}
"""Settings of a run that have no option of the same name in the shell."""


def _other_options(match: re.Match[str]) -> str:
    names = match[1].split(", ")
    shown = [_FLAGS.get(name, f"--{name.replace('_', '-')}") for name in names]
    return (
        f"was begun with other options: {', '.join(dict.fromkeys(shown))}; give the"
        " same, take a new name, or `work`, which takes those of the run"
    )


def _call_in_words(text: str) -> str:
    """Return "set_x(a_b=1) at URL" as "set x (a b: 1) at URL"."""
    name, _, rest = text.partition("(")
    given, _, where = rest.rpartition(")")
    shown = re.sub(r"(\w+)=", lambda m: f"{_words_of(m)}: ", given)
    details = f" ({shown})" if shown else ""
    return f"{name.replace('_', ' ')}{details}{where}"


_REWORDINGS: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (
        r"the bulk of (.+) judged health by a function of yours, which no journal.*",
        (
            r"a function of a program judged health in \1, which no journal holds: say"
            r" how to judge it here, with --probe, --healthy-for or --waves"
        ),
    ),
    # The quota and the limits of a call.
    (r"max_rate_limit_wait", "--max-wait allows"),
    (
        r"the (\d+) s that the call has left",
        r"the \1 s that are left of --call-timeout",
    ),
    (r"the call's total time (had )?passed", r"--call-timeout \1passed"),
    (r"all connections \(max_connections\)", "all connections"),
    (r"larger than max_response_bytes \((\d+) bytes\)", r"larger than \1 bytes"),
    # The endpoint, the proxy and the token.
    (
        r"; correct it, or set ClientSettings\(trust_env=False\).*",
        "; correct or unset it, or use --no-proxy",
    ),
    (
        r"; use https, pass token=False, or set ClientSettings\(.*",
        "; use https, --anonymous or --insecure-http",
    ),
    (r"^token is empty; .*", "the file of --token-file is empty"),
    (r"^token ", "the token in the file of --token-file "),
    (r"is empty; pass None to look up the token, or False .*", "is empty"),
    (r"; fix it, or pass a token", "; make it readable, or use --token-file"),
    (r": pass token=userdata\.get\(.*\)", ": put the token into HF_TOKEN"),
    (r"^endpoint ", "--endpoint "),
    # The Spaces, and what they get.
    (r"\brepo_id must be (a string )?", "a Space's id must be "),
    (r"\bauthor must", "the NAME of --org must"),
    (r"\bshort_description may", "the text of --description may"),
    (r"\bmount_path must be absolute", "the place of a mount must be absolute"),
    (
        r"two volumes have the mount_path (.*); each needs its own",
        r"two volumes have the place \1; each needs its own",
    ),
    (r"\bvolumes must be Volume records", "a volume must be written hf://..."),
    (r"\bstages is empty; pass at least one stage", "name at least one stage"),
    (r"^(match|exclude) (must|has)", r"--\1 \2"),
    (r"^pause_between is the pause .*", "--pause-between needs --waves"),
    (r"^hardware must", "--hardware must"),
    (r"^resource_group must", "--resource-group must"),
    (r"^modified_before must", "--modified-before must"),
    (r"; visibility='private' takes both", "; --visibility private takes both"),
    (r"so `paid` selects nothing", "so --paid selects nothing"),
    (
        r"^(there is no hardware flavor .*)",
        lambda m: f"{full_stop(m[1])} To take it as it is, add --any-flavor",
    ),
    (r", and max_targets allows", ", and --max-targets allows"),
    (r"^max_targets must", "--max-targets must"),
    # The ledger and the journal.
    (r"^ledger (has|is|names) (.*); pass a URL such as .*", r"--ledger \1 \2"),
    (r"^ledger must be a file path, or a URL", "--ledger must be a file, or a URL"),
    (r"\bledger must be a usable path", "the FILE of --ledger must be a usable path"),
    (r"belongs to another job, (.*); this is (.*)", _two_commands),
    (r"\bis another job, (.*); this (?:is|would be) (.*)", _two_runs),
    (r"\bwas begun with other options: ([a-z_, ]+)$", _other_options),
    (r"^store (lacks|must|names|has|is)", r"the URL of the run \1"),
    (r"^lease must", "--lease must"),
    (
        r"; begin it with `client.bulk.run.*",
        "; begin it with a command that has --store",
    ),
    (
        r"is of a function of yours, (\S+): pass it .*",
        r"is of \1, a function of a program: only that program can work on it",
    ),
    (
        r": set the environment variable of the same name, or pass .*",
        ": set the environment variable of the same name",
    ),
    (
        r"a function that checks the health: pass it .*",
        "a function of a program: only that program can work on it",
    ),
    (
        (
            r"belongs to a job with other targets: it names (\d+), given are (\d+), and"
            r" (\d+) are the same; .*"
        ),
        (
            r"belongs to a command for other Spaces: it names \1, this command \2, and"
            r" \3 are the same; continue that one with `spaces-async resume`, or name"
            r" another file"
        ),
    ),
    (
        r"is finished: (.*) its (\d+) Spaces are left\. .*",
        r"is finished: \1 its \2 Spaces are left; name another file",
    ),
    (
        r"names (\d+) targets, and its bulk ended before it had seen the last one: .*",
        (
            r"names \1 Spaces, and the command ended before it knew all: start it again"
            r" with the same file"
        ),
    ),
    (
        r"(\w+) needs the value of (.*) again, which is never written down: .*",
        r"the value of \2 is never written down: give it again with --from-env",
    ),
    (
        r"(\S+) is a function of yours: .*",
        r"\1 is a function of a program: only that program can continue it",
    ),
    (r"\banother bulk, perhaps in another process,", "another command or program"),
    (
        r"; fix that, then resume",
        "; solve that, then continue with `spaces-async resume`",
    ),
    (r"\ban earlier bulk left it in doubt", "an earlier run left it in doubt"),
    (
        r": the (\w+) may have been sent by",
        lambda m: f": the {_words_of(m)} may have been sent by",
    ),
    (r"\bby an earlier run of this bulk", "by an earlier run"),
    (r"\bthe bulk ended before", "the command ended before"),
    # The log.
    (
        r"; the bulk asks again in (\d+) s, and waits for up to (\d+) s",
        lambda m: f"; next try in {m[1]} s, waiting {_for_up_to(m[2], '--max-outage')}",
    ),
    (
        r"; the bulk asks again in (\d+) s, and waits without a limit",
        r"; next try in \1 s",
    ),
    (
        r"; the call is tried again for up to (\d+) s",
        lambda m: f"; trying again {_for_up_to(m[1], '--call-timeout')}",
    ),
    (r"the Hub is back; the bulk goes on", "the Hub is back; continuing"),
)


def in_shell_words(text: str) -> str:
    """Return a message of the library without names of its settings and parameters."""
    for pattern, words in _REWORDINGS:
        text = re.sub(pattern, words, text)
    return text


def full_text(error: BaseException) -> str:
    """Return the whole text of an error on one line."""
    return clean(in_shell_words(str(error))) or type(error).__name__


def code_of(error: BaseException | None) -> int:
    """Return the exit code for an error."""
    if isinstance(error, ComputeQuotaError):
        return FAILED  # the token was not refused
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
    # A bulk that was stopped left work undone, whatever the errors were; but where the
    # token itself was refused, that is the reason.
    cut_short = report.stopped_by in {
        "deadline",
        "cancelled",
        "left",
        "targets",
        "outage",
        "journal",
        "store",
    }
    if len(codes) == 1 and not cut_short and codes <= {USAGE, REFUSED, LIMITED}:
        return codes.pop()
    return FAILED


def hints_for(errors: Iterable[BaseException | None]) -> list[str]:
    """Return what to do about some errors, each advice once."""
    given = [error for error in errors if error is not None]
    given += [
        error.__cause__
        for error in given
        if isinstance(error, SpaceFailedError) and error.__cause__ is not None
    ]
    return [hint for kind, hint in _HINTS if any(_is_about(kind, e) for e in given)]


def _is_about(kind: type[Exception], error: BaseException) -> bool:
    if isinstance(error, ComputeQuotaError):
        return kind is ComputeQuotaError  # the token has all the rights it needs
    return isinstance(error, kind)


def reason(error: BaseException) -> str:
    """Return why something failed, short enough for a table."""
    if isinstance(error, SpaceFailedError) and error.runtime is not None:
        text = error.runtime.error_message
        stage = str(error.runtime.stage)
        return clean(f"{stage}: {text}" if text else stage)
    if isinstance(error, HubResponseError):
        unknown = "; the outcome is unknown" if error.outcome_unknown else ""
        message = in_shell_words(error.message)
        return clean(f"{error.status} {message}{unknown}{_notes(error)}")
    # The text of those that were sent more than once says so itself.
    notes = "" if getattr(error, "attempts", 0) > 1 else _notes(error)
    return clean(f"{full_text(error)}{notes}")


def written_reason(text: str) -> str:
    """Return the reason in the text of an error that a journal or a store has kept.

    Worked example: of "POST https://hub/restart: 400: Bad Request; 2 attempts (request id
    7f3)" it is "400 Bad Request", which is the same for each Space.
    """
    text = _REQUEST.sub("", text)
    text = _REQUEST_ID.sub("", text)
    return _STATUS.sub(r"\1 ", _ATTEMPTS.sub("", text))


def _notes(error: BaseException) -> str:
    notes: list[str] = getattr(error, "__notes__", [])
    return "".join(f" ({note})" for note in notes)


def sentence(error: BaseException) -> str:
    """Return an error in one line: what happened, why, and what to do."""
    return " ".join([full_stop(full_text(error).rstrip(".")), *hints_for([error])])
