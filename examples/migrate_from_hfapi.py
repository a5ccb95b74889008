"""From `HfApi` to `AsyncHfApi`: the same methods, awaited.

`before` is a job written with the official client, `after` is the same job with this
package. Three lines differ: the creation of the client, `async for`, and `await`. Both
send the same calls, which you can compare one by one. `then` is the next step: restart
all Spaces concurrently, within the quota.

    HF_TOKEN=hf_... python examples/migrate_from_hfapi.py acme --way after

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/migrate_from_hfapi.py acme --way after

Only `--way before` needs huggingface_hub.
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
    """Do the same without blocking the event loop."""
    async with AsyncHfApi() as api:
        async for space in api.list_spaces(author=org, expand=["runtime"]):
            if space.runtime and space.runtime.stage == "RUNTIME_ERROR":
                runtime = await api.restart_space(space.id)
                print(space.id, runtime.stage)


async def then(org: str) -> None:
    """Restart all of them concurrently with the client's bulk operations."""
    async with AsyncHfApi() as api:
        failed = Selection(author=org, stages={"RUNTIME_ERROR"})
        report = await api.client.bulk.restart(failed)
        for outcome in report.succeeded:
            print(outcome.repo_id, outcome.value and outcome.value.stage)
        report.raise_for_failures()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three versions."""
    parser = argparse.ArgumentParser(description="Restart an org's failed Spaces.")
    parser.add_argument("org", help="user or organization")
    parser.add_argument(
        "--way",
        choices=["before", "after", "then"],
        default="after",
        help="version to run",
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
