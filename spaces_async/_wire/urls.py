"""Where a response points to: a Space under another id, the next page. Pure.

A response only names a target. The endpoint, the method and the query stay ours as far
as they can, so that no token and no body goes to another place.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from yarl import URL

from spaces_async import _validate
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted
    from spaces_async._wire.messages import Response

SAME_REQUEST: Final = frozenset(
    {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
)
"""The redirects that ask for the same request again, with its method and body."""

_SUBDOMAIN: Final = re.compile(r"[a-z0-9-]{1,100}")
_SCHEMES: Final = frozenset({"http", "https"})
_OWNER: Final = 1
"""Place of the owner in the segments of a path below a Space."""
_ID_PARTS: Final = 2


def app_url(
    template: str, subdomain: str | None, path: str, key: Redacted[str] | None
) -> URL | None:
    """Return a URL of a Space's app; None if its subdomain is not known, or is odd.

    The subdomain becomes part of a host, so it must not lead to another one.

    Args:
        template: `ClientSettings.app_url`.
        subdomain: What the Hub says.
        path: A path of the app, perhaps with a query.
        key: Opens an app that is not public; None for a public one. The Hub's web page
            adds it as `__sign`.
    """
    if subdomain is None or _SUBDOMAIN.fullmatch(subdomain) is None:
        return None
    base = template.replace("{subdomain}", subdomain).rstrip("/")
    url = URL(f"{base}{path}")
    return url if key is None else url.update_query(__sign=key.reveal())


def new_id(response: Response, url: URL, segments: tuple[str, ...]) -> str | None:
    """Return the id that a Space has now, if a redirect says only that.

    Args:
        response: The response, already scrubbed.
        url: Where the call went.
        segments: Its path below `/api`.

    Returns:
        "owner/name" if the redirect keeps the origin and, apart from the owner and the
        name of the Space, the path; else None.
    """
    if response.status not in SAME_REQUEST or not response.location:
        return None
    if segments[:1] != ("spaces",) or len(segments) <= _OWNER + _ID_PARTS:
        return None
    target = within(url, response.location)
    if target is None:
        return None
    here, there = url.raw_parts, target.raw_parts
    start = len(here) - len(segments) + _OWNER
    end = start + _ID_PARTS
    around = (here[:start], here[end:]) == (there[:start], there[end:])
    if not around or len(here) != len(there) or here == there:
        return None
    found = "/".join(there[start:end])
    return found if _is_id(found) else None


def within(url: URL, location: str) -> URL | None:
    """Return the target of a redirect or a link; None if it is at another origin."""
    try:
        target = url.join(URL(location))
        same = target.origin() == url.origin()
    except ValueError:
        return None
    return target if same and not (target.user or target.password) else None


def next_page(url: URL, link: str, segments: tuple[str, ...]) -> URL | None:
    """Return the next page of a listing; None if a link leads to something else.

    A mirror may pass on links that name the Hub, not itself. Only their query is taken:
    the page is read where this one was.

    Args:
        url: This page.
        link: Target of `Link: …; rel="next"`.
        segments: The path of the listing below `/api`.
    """
    try:
        target = url.join(URL(link))
    except ValueError:
        return None
    if target.scheme not in _SCHEMES or not target.query_string:
        return None
    at_the_hub = ("/", "api", *segments)
    if target.parts not in {url.parts, at_the_hub}:
        return None
    return url.with_query(target.query)


def _is_id(text: str) -> bool:
    try:
        _validate.repo_id(text)
    except ConfigurationError:
        return False
    return True


def at_id(url: URL, segments: tuple[str, ...], repo_id: str) -> URL:
    """Return the URL of the same call for another Space."""
    parts = list(url.raw_parts)
    start = len(parts) - len(segments) + _OWNER
    parts[start : start + _ID_PARTS] = repo_id.split("/")
    path = "/" + "/".join(parts[1:])
    return url.with_path(path, encoded=True).with_query(url.query)


def same_owner(one: str, other: str) -> bool:
    """Return whether two ids of Spaces name the same owner."""
    return one.partition("/")[0].lower() == other.partition("/")[0].lower()
