"""`exporter`: serve the metrics of a fleet until it is interrupted."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from attrs import frozen

from spaces_async._validate import name as valid_name
from spaces_async.bulk import Healthy
from spaces_async.cli._app import App
from spaces_async.cli._errors import in_shell_words
from spaces_async.cli._output import plural
from spaces_async.cli._text import full_stop
from spaces_async.client import session_of
from spaces_async.errors import ConfigurationError
from spaces_async.settings import RetryPolicy

if TYPE_CHECKING:
    from spaces_async._exporter.fleet import OwnerReading
    from spaces_async.client import SpacesClient

__all__ = ["ExporterCommand"]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@frozen(kw_only=True)
class ExporterCommand:
    """One run of `exporter`.

    Attributes:
        app: The run.
        orgs: Users and orgs.
        host: Address to listen on.
        port: Port to listen on.
        probe: A path that each running app is asked for; None asks none.
        timeout: Seconds that a scrape may take.
    """

    app: App
    orgs: tuple[str, ...]
    host: str
    port: int
    probe: str | None
    timeout: float

    def run(self) -> int:
        """Serve until it is interrupted, and return the exit code."""
        if find_spec("prometheus_client") is None:
            raise click.UsageError(
                "The exporter needs prometheus_client."
                " Run: pip install 'spaces-async[cli,prometheus]'"
            )
        try:
            for org in self.orgs:
                valid_name(org, "--org")
            Healthy(probe=self.probe)
        except ConfigurationError as error:
            raise click.UsageError(full_stop(in_shell_words(str(error)))) from None
        # Before the event loop, which an import would block.
        from spaces_async._exporter import fleet, server

        async def work(client: SpacesClient) -> None:
            # A scrape does not wait for the quota longer than Prometheus does for it.
            quick = client.with_options(
                retry=RetryPolicy(max_rate_limit_wait=self.timeout)
            )
            spaces = fleet.Fleet(quick, self.orgs, probe=self.probe, limit=self.timeout)
            try:
                async with server.serve(spaces, self.host, self.port) as urls:
                    self._greet(urls)
                    await self._warn_without_token(client)
                    for owner in (await spaces.read()).owners:
                        self._tell(owner)
                    await asyncio.get_running_loop().create_future()
            except OSError as error:
                where = f"{self.host} port {self.port}"
                # The event loop's own text names the address once more.
                code = error.errno or 0
                why = os.strerror(code) if code > 0 else error.strerror or str(error)
                raise click.ClickException(
                    f"Cannot listen on {where}: {why}."
                ) from None

        try:
            self.app.run(work)
        except asyncio.CancelledError:
            self.app.output.say("Stopped.")
        # A server runs until it is told to end, so that is no failure.
        return 0

    def _greet(self, urls: list[str]) -> None:
        say = self.app.output.say
        for url in urls:
            say(f"Serving {url}; Ctrl-C ends it.")
        if self.host not in _LOOPBACK:
            say(
                "Other machines can read it: the ids and stages of all Spaces listed,"
                " private ones too."
            )

    async def _warn_without_token(self, client: SpacesClient) -> None:
        """Say that there is no token, unless none is wanted: nothing else fails then."""
        if not self.app.anonymous and not await session_of(client).has_token():
            self.app.output.complain(
                f"Warning: there is no token, so private Spaces are not seen:"
                f" {self.app.why_no_token()}."
            )

    def _tell(self, owner: OwnerReading) -> None:
        # Why one could not be listed is logged.
        if not owner.success:
            return
        count = len(owner.spaces)
        text = f"{owner.owner}: {plural(count)}"
        if not count:
            text += ". Is the name right, and may the token see its Spaces?"
        self.app.output.say(text)
