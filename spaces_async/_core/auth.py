"""Where a token comes from, and where it may be sent.

The token is looked up in this order: the `token=` argument; `HF_TOKEN`,
`HUGGINGFACE_TOKEN`, `HUGGING_FACE_HUB_TOKEN`; the token file (`HF_TOKEN_PATH`, else
`token` in `HF_HOME`, else `huggingface/token` in the user's cache directory). The file
is read when the first call needs it, outside the event loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen
from yarl import URL

from spaces_async._redacted import Redacted, Token, TokenArgument
from spaces_async._wire.proxies import is_loopback
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
TOKEN_VARIABLES: Final = ("HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_TRUE_WORDS: Final = frozenset({"1", "on", "yes", "true"})
_VISIBLE_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))
_MAX_TOKEN_CHARS: Final = 4096


@frozen
class Environment:
    """The environment variables that matter.

    Read once, so that `os.environ`, whose repr shows everything, is a local variable in
    only one place.

    Attributes:
        token: The redacted token; None if no variable has one.
        token_source: The variable that it came from.
        token_path: The official client's token file; None if the environment disables
            the lookup.
        hints: Why no token may be found, though the user may think that there is one.
        endpoint: `HF_ENDPOINT`; "" if it is not set.
        offline: Whether `HF_HUB_OFFLINE` is on.
    """

    token: Redacted[str] | None = None
    token_source: str = ""
    token_path: Path | None = None
    hints: tuple[str, ...] = ()
    endpoint: str = ""
    offline: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables. Never raises."""
        implicit = not _is_set(environ, "HF_HUB_DISABLE_IMPLICIT_TOKEN")
        source = next((n for n in TOKEN_VARIABLES if environ.get(n, "").strip()), "")
        redacted = Redacted(environ[source].strip()) if source and implicit else None
        path = _token_path_or_none(environ) if implicit else None
        return cls(
            token=redacted,
            token_source=source,
            token_path=path,
            hints=tuple(_hints(environ, path)),
            endpoint=environ.get("HF_ENDPOINT", "").strip(),
            offline=_is_set(environ, "HF_HUB_OFFLINE"),
        )


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in _TRUE_WORDS


def _token_path_or_none(environ: Mapping[str, str]) -> Path | None:
    try:
        return token_path(environ)
    except RuntimeError:
        return None  # a user without a home directory, as in many containers


def _hints(environ: Mapping[str, str], path: Path | None) -> Iterator[str]:
    if _is_set(environ, "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        yield "HF_HUB_DISABLE_IMPLICIT_TOKEN is set"
    elif path is None:
        yield "this user has no home directory, so set HF_TOKEN or HF_TOKEN_PATH"
    for name in TOKEN_VARIABLES:
        if name in environ and not environ[name].strip():
            yield f"{name} is empty"
    if environ.get("HF_OIDC_RESOURCE"):
        yield "HF_OIDC_RESOURCE is set, but this package exchanges no OIDC tokens"
    if any(name.startswith("COLAB_") for name in environ):
        yield (
            "this looks like Colab, whose secrets this package does not read: pass"
            " token=userdata.get('HF_TOKEN')"
        )


def make_token(redacted: Redacted[str], *, source: str) -> Token:
    """Check a token.

    Args:
        redacted: The token.
        source: Where it comes from, for the error message.

    Raises:
        ConfigurationError: The token is not a string, is empty, or cannot be sent as a
            header. The error does not show it.
    """
    problem = _token_problem(redacted)
    if problem is not None:
        raise ConfigurationError(f"{source} {problem}")
    return Token(redacted.reveal())


def _token_problem(redacted: Redacted[str]) -> str | None:
    if not isinstance(redacted.reveal(), str):
        kind = type(redacted.reveal()).__name__
        return f"must be a string, None (look it up) or False (anonymous), not {kind}"
    if not redacted.reveal():
        return "is empty; pass None to look up the token, or False for no token"
    if not {"\n", "\r"}.isdisjoint(redacted.reveal()):
        return "contains a line break; remove it"
    if len(redacted.reveal()) > _MAX_TOKEN_CHARS:
        return f"is too long for a token: at most {_MAX_TOKEN_CHARS} characters"
    if not _VISIBLE_ASCII.issuperset(redacted.reveal()):
        return "contains a space or a character outside printable ASCII"
    return None


def _cache_home(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME")
    return Path(cache).expanduser() if cache else Path.home() / ".cache"


def token_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the official client's token file."""
    if path := environ.get("HF_TOKEN_PATH"):
        return Path(path).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "token"
    return _cache_home(environ) / "huggingface" / "token"


def _read_token_file(path: Path) -> Token | None:
    try:
        redacted = Redacted(path.read_text("utf-8").strip())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the token file {path} cannot be read ({type(error).__name__}); fix it, or"
            " pass a token"
        ) from None
    return make_token(redacted, source=f"the token file {path}") if redacted else None


class Credentials:
    """The identity of a client: a token, anonymous, or the token file's token."""

    __slots__ = ("_hints", "_path", "_token", "_unread")

    def __init__(
        self,
        token: Token | None,
        path: Path | None = None,
        hints: tuple[str, ...] | None = None,
    ) -> None:
        """Keep a token, or where to look for one.

        Args:
            token: The token; None if there is none, or none yet.
            path: The file to read when the first call needs it.
            hints: See `Environment`; None if no token was looked up.
        """
        self._token = token
        self._path = path
        self._unread = path is not None
        self._hints = hints

    @classmethod
    def find(cls, token: TokenArgument, environment: Environment) -> Credentials:
        """Look up the token in the order that the module describes; read no file.

        Args:
            token: The argument.
            environment: The environment variables.
        """
        if token is False:
            return cls(None)
        if token is not None:
            return cls(make_token(token, source="token"))
        if environment.token is not None:
            source = environment.token_source
            return cls(make_token(environment.token, source=source))
        return cls(None, environment.token_path, environment.hints)

    @property
    def known(self) -> Token | None:
        """The token, if it is known without reading the file."""
        return self._token

    @property
    def from_file(self) -> bool:
        """Whether the token comes from the token file."""
        return self._path is not None and self._token is not None

    async def resolve(self) -> Token | None:
        """Return the token; None means anonymous."""
        if self._path is not None and self._unread:
            # Two concurrent first calls may both read the file; the result is the same.
            self._token = await asyncio.to_thread(_read_token_file, self._path)
            self._unread = False
        return self._token

    async def resolve_again(self, refused: Token) -> Token | None:
        """Return another token than the one that was refused; None if there is none.

        The official client writes a new token into the file before the old one ends.
        """
        if self._path is None:
            return None
        if self._token == refused:
            found = await asyncio.to_thread(_read_token_file, self._path)
            self._token = found or refused
        return None if self._token == refused else self._token

    def advice(self) -> str:
        """Return what may help where the Hub asks for a login; "" if nothing does."""
        if self.from_file:
            return (
                "the token of the token file was refused; log in again: hf auth login"
            )
        if self._token is not None or self._hints is None:
            return ""
        reasons = ", ".join(self._hints)
        return f"no token was found{f' ({reasons})' if reasons else ''}"


def make_endpoint(argument: str | None, environment: Environment) -> URL:
    """Return the endpoint: the argument, else `HF_ENDPOINT`, else the Hub.

    Raises:
        ConfigurationError: It is not a plain http or https URL.
    """
    text = argument or environment.endpoint or DEFAULT_ENDPOINT
    source = "endpoint" if argument else "HF_ENDPOINT"
    try:
        url = URL(text.rstrip("/"))
        valid = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
    except (ValueError, TypeError):
        valid = False
        url = URL()
    if not valid:
        raise ConfigurationError(
            f"{source} must be an http or https URL such as {DEFAULT_ENDPOINT}; add a"
            " path only if a mirror needs one"
        )
    if url.user or url.password or url.query_string or url.fragment:
        raise ConfigurationError(
            f"{source} must not contain a user, a password, a query or a fragment"
        )
    return url


def require_private_channel(url: URL, *, allow_insecure_http: bool) -> None:
    """Refuse to send a token over plain http to another host."""
    if url.scheme == "https" or allow_insecure_http or is_loopback(url):
        return
    raise ConfigurationError(
        f"the token would be sent to {url} unencrypted; use https, pass token=False, or"
        " set ClientSettings(allow_insecure_http=True)"
    )
