"""The proxy that the environment sets for a URL. Pure, apart from reading it.

The rules are those of curl and the official client: `https_proxy`, `http_proxy`,
`all_proxy` and `no_proxy`, in lower or upper case; lower case wins. Unlike there, this
host is always reached directly.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from typing import TYPE_CHECKING

from yarl import URL

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_proxy(url: URL) -> URL | None:
    """Return the proxy that the environment sets for a URL; None if there is none.

    This host is reached directly: a proxy elsewhere has another loopback, and a token
    that is sent to this one may be unencrypted.

    Raises:
        ConfigurationError: The proxy cannot be used. The error does not show its URL,
            which may contain a password.
    """
    if is_loopback(url):
        return None
    proxies = urllib.request.getproxies()
    name = url.scheme if proxies.get(url.scheme) else "all"
    if not proxies.get(name) or _bypasses_proxy(url, proxies):
        return None
    boxed = Redacted(proxies[name])
    # A traceback that prints local variables must not show the URL.
    del proxies
    problem = _validate.proxy(boxed)
    if not problem:
        return proxy_url(boxed)
    raise ConfigurationError(
        f"the environment variable {name.upper()}_PROXY {problem};"
        " correct it, or set ClientSettings(trust_env=False) to ignore it"
    )


def proxy_url(boxed: Redacted[str]) -> URL:
    """Return the URL of a proxy that was checked."""
    has_scheme = "://" in boxed.reveal()
    return URL(boxed.reveal() if has_scheme else f"http://{boxed.reveal()}")


def is_loopback(url: URL) -> bool:
    """Return whether a URL points to this host."""
    host = (url.host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _bypasses_proxy(url: URL, proxies: Mapping[str, str]) -> bool:
    host, port = (url.host or "").lower().rstrip("."), url.port
    entries = [entry.strip().lower() for entry in proxies.get("no", "").split(",")]
    if any(_entry_matches(entry, url.scheme, host, port) for entry in entries if entry):
        return True
    # On macOS and Windows this also reads the system settings.
    return bool(urllib.request.proxy_bypass(host))


def _entry_matches(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY covers a host and port."""
    if entry == "*":
        return True
    if "://" in entry:
        wanted, _, entry = entry.partition("://")
        if wanted not in {scheme, "all"}:
            return False
    name, wanted_port = _split_port(entry)
    if wanted_port not in {None, str(port)}:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # As in curl, ".example.com" and "*.example.com" also cover "example.com".
        domain = name.removeprefix("*").lstrip(".").rstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str | None]:
    """Split an entry into a name (or network) and a port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":") or None
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, None
