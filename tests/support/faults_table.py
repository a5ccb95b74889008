"""The fault matrix: what goes wrong, and what the client should make of it.

Each `Row` is one way in which an answer can go wrong, as a script for the server, with
what is wanted of a read and of a write. What a class of failure means for the number
of requests is said once, in `READS` and `WRITES`. Faults that need more than a script
have a test of their own: `ELSEWHERE` names it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Final

from attrs import frozen

import spaces_async as sa
from tests.support.fault_server import (
    Script,
    close,
    drip,
    flood,
    pause,
    reply,
    reset,
    send,
    stall,
)

MIB: Final = 1024 * 1024
QUICK: Final = 0.15
"""Seconds after which a client in these tests gives up on a silent server."""

GOOD: Final = b'{"stage":"RUNNING","hardware":{"current":"cpu-basic"},"path":"fault"}'

MANY: Final = -1


@frozen
class Counts:
    """How many requests of its route a server sees; MANY is more than one.

    Attributes:
        off: With `RetryPolicy.off()`.
        always: With the default policy, when it goes wrong each time.
        once: With the default policy, when it goes wrong the first time only.
        recovers: Whether a call that always goes wrong has a result all the same.
    """

    off: int
    always: int
    once: int
    recovers: bool = False


READS: Final = {
    "ok": Counts(1, 1, 1, recovers=True),
    "B": Counts(1, MANY, 2),
    "C": Counts(1, 5, 2),
    "E": Counts(1, 1, 1),
}
WRITES: Final = {
    "ok": Counts(1, 1, 1, recovers=True),
    "B": Counts(1, MANY, 2),
    # Each time a look at the state shows that nothing happened.
    "C": Counts(1, 5, 2),
    # The Hub acted: the state is read, nothing is sent again.
    "D": Counts(1, 1, 1, recovers=True),
    "E": Counts(1, 1, 1),
}


@frozen(kw_only=True)
class Want:
    """What is wanted of a call.

    Attributes:
        kind: "ok", or the class of the failure: A never sent, B refused, C ambiguous,
            D applied, E definite.
        error: The error that ends it; None if there is none.
        says: What `str(error)` contains.
        hides: What it does not contain.
        requests: Requests of one attempt.
    """

    kind: str
    error: type[sa.SpacesError] | None = None
    says: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    requests: int = 1


@frozen(kw_only=True)
class Row:
    """One way in which things go wrong.

    Attributes:
        number: Its number in the matrix.
        name: What tells it from other rows of the number.
        script: What the server does with the request.
        read: What is wanted of `lifecycle.get_runtime`.
        write: What is wanted of `lifecycle.pause`.
        attempt: Time limit of an attempt in real seconds.
        total: Time limit of a call in seconds of the manual clock.
        warm: Whether it happens to the second request of a connection.
        quiet: Whether no time may pass by the manual clock.
    """

    number: int
    name: str = ""
    script: Script
    read: Want
    write: Want
    attempt: float | None = None
    total: float = 60.0
    warm: bool = False
    quiet: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether it ends only because nothing comes for a while."""
        errors = {self.read.error, self.write.error}
        return self.attempt is None and sa.RequestTimeoutError in errors

    @property
    def id(self) -> str:
        return f"{self.number}-{self.name}" if self.name else str(self.number)


OK: Final = Want(kind="ok")


def lost(*says: str) -> tuple[Want, Want]:
    """Nothing but silence or garbage came: a write is in doubt."""
    want = Want(kind="C", error=sa.ConnectionLostError, says=says)
    return want, want


def late(*says: str) -> tuple[Want, Want]:
    """No answer in time."""
    want = Want(kind="C", error=sa.RequestTimeoutError, says=says)
    return want, want


def torn(*says: str, read: type[sa.SpacesError]) -> tuple[Want, Want]:
    """A 2xx came and its body did not, or makes no sense: a write is done."""
    return (
        Want(kind="C", error=read, says=says),
        Want(kind="D", error=sa.UnexpectedResponseError, says=says),
    )


def broken(*says: str) -> tuple[Want, Want]:
    """A 2xx answer that is not the JSON of the Hub: a write is in doubt."""
    want = Want(kind="C", error=sa.UnexpectedResponseError, says=says)
    return want, want


def page(hides: tuple[str, ...]) -> tuple[Want, Want]:
    """A web page with status 200."""
    error = sa.UnexpectedResponseError
    return (
        Want(kind="C", error=error, says=("not valid JSON",), hides=hides),
        Want(kind="C", error=error, says=("is a web page",), hides=hides),
    )


def too_large() -> tuple[Want, Want]:
    """More than anybody asked for."""
    error = sa.ResponseTooLargeError
    says = (f"max_response_bytes ({MIB} bytes)",)
    return (
        Want(kind="E", error=error, says=says),
        Want(kind="D", error=error, says=says),
    )


def same(kind: str, error: type[sa.SpacesError], *says: str) -> tuple[Want, Want]:
    """The same of a read and of a write."""
    want = Want(kind=kind, error=error, says=says, hides=("<", ">"))
    return want, want


def row(
    number: int,
    name: str,
    wants: tuple[Want, Want],
    *script: object,
    attempt: float | None = None,
    total: float = 60.0,
    warm: bool = False,
    quiet: bool = False,
) -> Row:
    steps = tuple(send(s) if isinstance(s, bytes) else s for s in script)
    return Row(
        number=number,
        name=name,
        script=steps,  # type: ignore[arg-type]  # what is no bytes is a step
        read=wants[0],
        write=wants[1],
        attempt=attempt,
        total=total,
        warm=warm,
        quiet=quiet,
    )


def head(*headers: bytes, status: int = 200, length: int = -1) -> bytes:
    return reply(status, b"", *headers, length=length)


CHUNKED: Final = head(b"Transfer-Encoding: chunked")
CHUNK: Final = b"%x\r\n%s\r\n" % (len(GOOD), GOOD)
END: Final = b"0\r\n\r\n"
GZIP: Final = b"Content-Encoding: gzip"


def bomb(size: int) -> bytes:
    """Make a gzip stream that unpacks to so many bytes, quickly: of equal blocks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (size // MIB - 1) + packer.flush()


BOMB: Final = bomb(300 * MIB)
PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Sign in to the guest network</title></head>"
    b"<body><script>alert(1)</script>Welcome</body></html>"
)
GATEWAY: Final = (
    b"<html><head><title>%d Bad Gateway</title></head><h1>nginx</h1></html>"
)


def error_body(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def runtime(**keys: object) -> bytes:
    return json.dumps({"stage": "RUNNING", **keys}).encode()


def _connection() -> list[Row]:
    """Rows 4 to 14: what connections do."""
    eternity = head(length=10**9)
    return [
        row(4, "", lost("the connection broke"), reset),
        row(5, "", lost("the connection broke"), close),
        row(6, "", late(f"no data received for {QUICK:g} s"), stall),
        row(7, "fin", lost("the connection broke"), close, warm=True),
        row(7, "rst", lost("the connection broke"), reset, warm=True),
        row(9, "", lost("the connection broke"), b"HTTP/1.1 20", close),
        row(9, "rst", lost("the connection broke"), b"HTTP/1.1 20", pause, reset),
        row(
            10,
            "",
            torn(f"no data received for {QUICK:g} s", read=sa.RequestTimeoutError),
            head(length=100),
            stall,
        ),
        row(
            11,
            "",
            torn(f"within {QUICK:g} s", read=sa.RequestTimeoutError),
            eternity,
            drip(b" "),
            attempt=QUICK,
        ),
        row(
            12,
            "fin",
            torn("broke off", read=sa.ConnectionLostError),
            reply(body=GOOD, length=len(GOOD) + 100),
            close,
        ),
        row(
            12,
            "rst",
            torn(read=sa.ConnectionLostError),
            reply(body=GOOD, length=len(GOOD) + 100),
            pause,
            reset,
        ),
        row(13, "garbage", lost("not valid HTTP"), reply(body=GOOD) + b"garbage"),
        row(
            13,
            "second-reply",
            (OK, OK),
            reply(body=GOOD) + reply(body=runtime(path="smuggled")),
            quiet=True,
        ),
        row(
            14,
            "",
            torn("broke off", read=sa.ConnectionLostError),
            CHUNKED + CHUNK,
            close,
        ),
    ]


def _garbage() -> list[Row]:
    """Rows 15 to 21: what is no HTTP."""
    no_http = lost("not valid HTTP")
    two = reply(200, GOOD, b"Content-Length: 7")
    return [
        row(15, "", no_http, CHUNKED + b"zz\r\n" + GOOD, stall),
        row(
            15,
            "later",
            torn(read=sa.RequestTimeoutError),
            CHUNKED + CHUNK,
            pause,
            b"zz\r\n" + GOOD,
            stall,
            attempt=2 * QUICK,
        ),
        row(
            16,
            "",
            no_http,
            reply(200, CHUNK + END, b"Transfer-Encoding: chunked"),
            stall,
        ),
        row(17, "two", no_http, two, stall),
        row(17, "negative", no_http, head(b"Content-Length: -5") + GOOD, stall),
        row(18, "long", no_http, head(b"X-Long: " + b"a" * MIB, length=0), stall),
        row(18, "many", no_http, head(*[b"X-Many: 1"] * 50_000, length=0), stall),
        row(18, "nul", no_http, head(b"X-Nul: a\0b", length=0), stall),
        row(19, "", no_http, b"SSH-2.0-OpenSSH_9.6\r\n", stall),
        row(
            20,
            "",
            broken("not valid JSON"),
            reply(body=GOOD[:-9], length=-1, version=b"1.0"),
            close,
        ),
        row(
            21,
            "100",
            late(f"within {QUICK:g} s"),
            drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
            attempt=QUICK,
        ),
        row(
            21,
            "103",
            late(f"within {QUICK:g} s"),
            drip(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            attempt=QUICK,
        ),
    ]


def _bodies() -> list[Row]:
    """Rows 22 to 28: whole answers with a body that is not the Hub's."""
    packed = gzip.compress(GOOD)
    no_json = broken("not valid JSON")
    packed_wrongly = torn(read=sa.UnexpectedResponseError)
    rot = bytes(b ^ 0x5A for b in GOOD)
    return [
        row(22, "", too_large(), reply(200, BOMB, GZIP)),
        row(23, "chunked", too_large(), CHUNKED, flood(b"10000\r\n%65536d\r\n" % 0)),
        row(23, "close-delimited", too_large(), head(), flood(b" " * 65536)),
        row(23, "announced", too_large(), head(length=10**12), flood(b" " * 65536)),
        row(24, "", broken(), reply(200, packed[:-12], GZIP)),
        row(25, "not-gzip", packed_wrongly, reply(200, GOOD, GZIP)),
        row(25, "unknown", no_json, reply(200, rot, b"Content-Encoding: x-rot")),
        row(26, "arrays", no_json, reply(body=b"[" * 200_000)),
        row(
            26,
            "objects",
            no_json,
            reply(body=b'{"a":' * 150_000 + b"1" + b"}" * 150_000),
        ),
        row(27, "cut", no_json, reply(body=GOOD[:-9])),
        row(27, "utf8", no_json, reply(body=GOOD.replace(b"fault", b"\xff\xfe\xc0"))),
        row(
            27,
            "utf16",
            no_json,
            reply(
                body=GOOD.decode().encode("utf-16"),
                kind=b"application/json; charset=utf-16",
            ),
        ),
        row(27, "bom", no_json, reply(body=b"\xef\xbb\xbf" + GOOD)),
        row(27, "nan", no_json, reply(body=GOOD.replace(b'"fault"', b"NaN"))),
        row(
            27,
            "digits",
            no_json,
            reply(body=GOOD.replace(b'"fault"', b"9" * 5000)),
        ),
        row(27, "surrogate", no_json, reply(body=GOOD.replace(b"fault", b"\\ud800"))),
        row(
            28,
            "",
            page(hides=("<", "Welcome")),
            reply(body=PAGE, kind=b"text/html"),
        ),
        row(30, "empty", broken("is empty"), reply()),
        row(30, "blank", broken("is empty"), reply(body=b" \r\n")),
        row(30, "null", broken("expected an object, got null"), reply(body=b"null")),
        row(
            31,
            "",
            broken("the disk of the Hub is full"),
            reply(body=error_body("the disk of the Hub is full")),
        ),
        row(
            32,
            "flag",
            (OK, OK),
            reply(body=runtime(devMode="false")),
        ),
        row(
            32,
            "hardware",
            (OK, OK),
            reply(body=runtime(hardware=[])),
        ),
        row(32, "stage", broken("$.stage", "string"), reply(body=b'{"stage":7}')),
        row(
            33,
            "",
            (OK, OK),
            reply(
                body=json.dumps(
                    {
                        "stage": "DREAMING",
                        "hardware": {"current": "abacus", "requested": None},
                        "mood": {"deep": [1]},
                    }
                ).encode()
            ),
            quiet=True,
        ),
    ]


def _statuses() -> list[Row]:
    """Rows 29 and 34 to 45: what a status or a header says."""
    rows = [
        row(
            29,
            str(status),
            same("C", sa.HubServerError, str(status), "Bad Gateway"),
            reply(status, GATEWAY % status, kind=b"text/html"),
        )
        for status in (500, 502, 503, 504, 522)
    ]
    rows += [
        row(
            34,
            str(status),
            same("E", sa.RedirectRefusedError, str(status)),
            reply(status, b"", b"Location: {other}/api/spaces/acme/demo/runtime"),
        )
        for status in (301, 302, 303, 307, 308)
    ]
    rows += [
        row(
            35,
            name,
            same("E", sa.RedirectRefusedError, "302"),
            reply(302, b"", *location),
        )
        for name, location in (
            ("file", (b"Location: file:///etc/passwd",)),
            ("javascript", (b"Location: javascript:alert(1)",)),
            ("nowhere", ()),
            ("malformed", (b"Location: http://[",)),
            ("user", (b"Location: http://a:b@localhost:1/",)),
        )
    ]
    loop = b"Location: /api/spaces/acme/demo/runtime"
    refused = Want(kind="E", error=sa.RedirectRefusedError, says=("302",))
    rows += [
        row(
            35,
            "loop",
            (
                Want(kind="E", error=sa.RedirectRefusedError, requests=4),
                refused,
            ),
            reply(302, b"", loop),
        ),
        row(
            38,
            "",
            same("B", sa.ActionLimitError, "429", "slow down"),
            reply(429, error_body("slow down"), b'RateLimit: "api";r=490;t=200'),
            total=200.0,
        ),
        row(
            39,
            "",
            same("B", sa.RateLimitError, "429", "slow down"),
            reply(429, error_body("slow down")),
        ),
        row(
            40,
            "retry-after",
            same("B", sa.HubServerError, "503", "maintenance"),
            reply(503, error_body("maintenance"), b"Retry-After: 7"),
        ),
        row(
            40,
            "without",
            same("C", sa.HubServerError, "503", "maintenance"),
            reply(503, error_body("maintenance")),
        ),
    ]
    rows += [
        row(41, name, (OK, OK), reply(200, GOOD, *headers), quiet=True)
        for name, headers in (
            ("malformed", (b"RateLimit: ;;;=,,r=t", b'RateLimit-Policy: "')),
            ("exponent", (b'RateLimit: "api";r=1e3;t=5',)),
            ("negative", (b'RateLimit: "api";r=5;t=-5',)),
            ("eternal", (b'RateLimit: "api";r=400;t=1000000000000',)),
            (
                "policies",
                (
                    b'RateLimit: "api";r=9;t=5',
                    b'RateLimit-Policy: "a";q=1;w=1, "b";q=0;w=0',
                ),
            ),
            ("other-bucket", (b'RateLimit: "resolvers";r=400;t=5',)),
            ("two", (b'RateLimit: "api";r=400;t=5', b'RateLimit: "pages";r=0;t=9')),
        )
    ]
    typed: tuple[tuple[int, type[sa.SpacesError]], ...] = (
        (400, sa.BadRequestError),
        (401, sa.AuthenticationError),
        (402, sa.PaymentRequiredError),
        (403, sa.PermissionDeniedError),
        (404, sa.SpaceNotFoundError),
        (409, sa.ConflictError),
        (413, sa.HubResponseError),
        (422, sa.BadRequestError),
    )
    rows += [
        row(
            43,
            str(status),
            same("E", error, str(status), "we would rather not"),
            reply(status, error_body("we would rather not")),
        )
        for status, error in typed
    ]
    rows += [
        row(
            45,
            "101",
            same("E", sa.HubResponseError, "101"),
            head(b"Upgrade: websocket", b"Connection: Upgrade", status=101)
            + b"\x81\1a",
            stall,
        ),
        row(
            45,
            "204",
            broken("is empty"),
            head(status=204),
        ),
        row(45, "204-body", lost("not valid HTTP"), reply(204, GOOD)),
        row(45, "999", same("E", sa.HubResponseError, "999"), reply(999, GOOD)),
    ]
    return rows


ROWS: Final = (*_connection(), *_garbage(), *_bodies(), *_statuses())

HERE: Final = "tests/session/test_faults.py::"
SESSION: Final = "tests/session/"
BULK: Final = "tests/bulk/"
UNIT: Final = "tests/unit/"

ELSEWHERE: Final[dict[int, tuple[str, ...]]] = {
    1: (HERE + "test_nobody_listens",),
    2: (
        HERE + "test_a_connection_that_is_never_accepted",
        HERE + "test_packets_that_get_lost",
    ),
    3: (HERE + "test_reset_on_accept",),
    8: (HERE + "test_an_idle_connection_that_was_closed",),
    36: (HERE + "test_retry_after_in_all_its_forms",),
    37: (SESSION + "test_governor.py::test_one_refusal_stops_all_calls",),
    42: (
        SESSION + "test_quota_machine.py::test_whatever_the_responses_say",
        UNIT + "test_ratelimit.py::test_the_lowest_number_and_the_earliest_end_count",
    ),
    44: (BULK + "test_bulk.py::test_a_token_that_is_gone_stops_the_bulk",),
    46: (
        UNIT + "test_sse.py::test_every_single_cut",
        UNIT + "test_sse.py::test_an_event_has_a_cap",
        UNIT + "test_sse.py::test_no_line_is_lost_and_none_comes_twice",
        SESSION + "test_streams.py::test_a_followed_log_survives_a_break",
        SESSION + "test_streams.py::test_a_stream_that_stays_broken_ends",
    ),
    47: (HERE + "test_a_certificate_that_does_not_fit",),
    48: (HERE + "test_a_name_that_does_not_resolve",),
    49: (SESSION + "test_auth.py::test_a_token_does_not_go_over_plain_http",),
    50: (UNIT + "test_validate.py::test_no_id_reaches_another_path",),
    51: (SESSION + "test_cancel.py::test_cancelled_at_every_step",),
    52: (BULK + "test_kill.py::test_kills",),
    53: (
        BULK + "test_journal.py::test_any_cut_of_the_end",
        BULK + "test_journal.py::test_any_damaged_byte",
        BULK + "test_journal.py::test_a_disk_that_fails",
        BULK + "test_journal.py::test_nothing_is_sent_before_it_is_durable",
        BULK + "test_journal.py::test_a_journal_belongs_to_one_job",
        BULK + "test_kill.py::test_two_processes",
    ),
    54: (HERE + "test_the_wall_clock_does_not_matter",),
    55: (
        BULK + "test_breaker.py::test_a_minute_out_fails_nobody",
        BULK + "test_breaker.py::test_a_minute_out_at_any_concurrency",
    ),
    56: (
        SESSION + "test_pacing.py::test_programs_that_are_greedy",
        SESSION + "test_pacing.py::test_a_ledger",
        SESSION + "test_quota_machine.py::test_whatever_the_responses_say",
    ),
    57: (
        HERE + "test_a_secret_is_never_shown",
        SESSION + "test_secrets.py::test_a_bulk_shows_no_secret",
    ),
}
"""Numbers that have tests of their own, and where."""
