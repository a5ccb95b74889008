"""Quick start: list the Spaces of an org and restart the failed ones.

Run it with a token that can write to the org:

    HF_TOKEN=hf_... python examples/quickstart.py acme

Or without a token, against the local Hub in this package. In one terminal:

    python -m spaces_async.testing --port 8080

and in another:

    HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=hf_test_token \
        python examples/quickstart.py acme
"""

import argparse
import asyncio

from spaces_async import Selection, SpacesClient


async def main(org: str) -> None:
    """List the Spaces, restart the failed ones, and print a report."""
    async with SpacesClient() as client:
        async for space in client.catalog.list_spaces(author=org, expand=["runtime"]):
            print(space.id, space.stage)
        failed = Selection(author=org, stages="failed")
        report = await client.bulk.restart(failed)
        print(report.summary())
        for outcome in report.failed:
            print(outcome.repo_id, outcome.error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restart an org's failed Spaces.")
    parser.add_argument("org", help="user or organization")
    asyncio.run(main(parser.parse_args().org))
