"""Which proxy the environment names for a URL. Pure but for reading it.

As curl and the official client read it: `https_proxy`, `http_proxy`, `all_proxy` and
`no_proxy`, in lower or upper case, lower winning.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from typing import TYPE_CHECKING, Final

from yarl import URL

from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final = ("http", "https")


def find_proxy(url: URL) -> URL | None:
    """Return the proxy that the environment names for a URL.

    Raises:
        ConfigurationError: It cannot be used. What it is, is not said: it may hold a
            password.
    """
    proxies = urllib.request.getproxies()
    name = url.scheme if proxies.get(url.scheme) else "all"
    if not proxies.get(name) or _goes_direct(url, proxies):
        return None
    proxy, problem = _read(proxies[name])
    # Not in the frames of the error, if locals are printed with those.
    del proxies
    if proxy is not None:
        return proxy
    raise ConfigurationError(
        f"the environment variable {name.upper()}_PROXY {problem};"
        " ClientSettings(trust_env=False) ignores it"
    )


def _read(text: str) -> tuple[URL | None, str]:
    """Return the URL of a proxy, or what is wrong with it."""
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
        port = proxy.port
    except ValueError:
        return None, "holds no URL"
    if proxy.scheme not in _KINDS:
        return None, (
            f"names a {proxy.scheme} proxy, but only http and https proxies can be used"
        )
    return (proxy, "") if proxy.host and port else (None, "names no host")


def _goes_direct(url: URL, proxies: Mapping[str, str]) -> bool:
    host, port = (url.host or "").lower().rstrip("."), url.port
    entries = [entry.strip().lower() for entry in proxies.get("no", "").split(",")]
    if any(_is_for(entry, url.scheme, host, port) for entry in entries if entry):
        return True
    # Where the environment says nothing, this asks the settings of macOS or Windows.
    return bool(urllib.request.proxy_bypass(host))


def _is_for(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY is about a place."""
    if entry == "*":
        return True
    if "://" in entry:
        wanted, _, entry = entry.partition("://")
        if wanted not in {scheme, "all"}:
            return False
    name, wanted_port = _split(entry)
    if wanted_port not in {None, str(port)}:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # ".example.com" and "*.example.com" are for the name itself, too, as in curl.
        domain = name.removeprefix("*").lstrip(".").rstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split(entry: str) -> tuple[str, str | None]:
    """Take an entry apart into a name, or network, and a port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":") or None
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, None
