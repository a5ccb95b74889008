"""From `HfApi` to `AsyncHfApi`: the same methods, awaited.

`before` is a job as one writes it with the official client, `after` is the same job
with this package. Three lines differ: how the client is made, `async for`, `await`.
What is sent is the same, too: `before` and `after` can be compared call by call. `then`
is what one writes next: all of them at once, paced against the quota.

    HF_TOKEN=hf_... python examples/migrate_from_hfapi.py acme --way after

Without any token, against the Hub that comes with the package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/migrate_from_hfapi.py acme --way after

`--way before` needs huggingface_hub, the others do not.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from spaces_async import AsyncHfApi, Selection, SpacesError


def before(org: str) -> None:
    """Restart an org's failed Spaces with the official client."""
    from huggingface_hub import HfApi  # noqa: PLC0415  (only this way needs it)

    api = HfApi()
    for space in api.list_spaces(author=org, expand=["runtime"]):
        if space.runtime and space.runtime.stage == "RUNTIME_ERROR":
            runtime = api.restart_space(space.id)
            print(space.id, runtime.stage)


async def after(org: str) -> None:
    """Do the same, and let the event loop do other things meanwhile."""
    async with AsyncHfApi() as api:
        async for space in api.list_spaces(author=org, expand=["runtime"]):
            if space.runtime and space.runtime.stage == "RUNTIME_ERROR":
                runtime = await api.restart_space(space.id)
                print(space.id, runtime.stage)


async def then(org: str) -> None:
    """Restart them all at the same time: the client beneath has the bulk operations."""
    async with AsyncHfApi() as api:
        failed = Selection(author=org, stages={"RUNTIME_ERROR"})
        report = await api.client.bulk.restart(failed)
        for outcome in report.succeeded:
            print(outcome.repo_id, outcome.value and outcome.value.stage)
        report.raise_for_failures()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description="Restart an org's failed Spaces.")
    parser.add_argument("org", help="user or organization")
    parser.add_argument(
        "--way", choices=["before", "after", "then"], default="after", help="how"
    )
    options = parser.parse_args(argv)
    try:
        if options.way == "before":
            before(options.org)
        else:
            asyncio.run((after if options.way == "after" else then)(options.org))
    # `except HfHubHTTPError` becomes `except SpacesError`.
    except SpacesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
