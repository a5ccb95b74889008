"""The proxy that the environment sets for a URL. Pure, apart from reading it.

The rules are those of curl and the official client: `https_proxy`, `http_proxy`,
`all_proxy` and `no_proxy`, in lower or upper case; lower case wins.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from typing import TYPE_CHECKING, Final

from yarl import URL

from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXY_SCHEMES: Final = ("http", "https")


def find_proxy(url: URL) -> URL | None:
    """Return the proxy that the environment sets for a URL; None if there is none.

    Raises:
        ConfigurationError: The proxy cannot be used. The error does not show its URL,
            which may contain a password.
    """
    proxies = urllib.request.getproxies()
    name = url.scheme if proxies.get(url.scheme) else "all"
    if not proxies.get(name) or _bypasses_proxy(url, proxies):
        return None
    proxy, problem = _parse_proxy(proxies[name])
    # A traceback that prints local variables must not show the URL.
    del proxies
    if proxy is not None:
        return proxy
    raise ConfigurationError(
        f"the environment variable {name.upper()}_PROXY {problem};"
        " correct it, or set ClientSettings(trust_env=False) to ignore it"
    )


def _parse_proxy(text: str) -> tuple[URL | None, str]:
    """Return the URL of a proxy, or None and what is wrong with it."""
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
        port = proxy.port
    except ValueError:
        return None, "is not a valid URL"
    if proxy.scheme not in _PROXY_SCHEMES:
        return None, (
            f"names a {proxy.scheme} proxy; only http and https proxies are supported"
        )
    return (proxy, "") if proxy.host and port else (None, "has no host")


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
