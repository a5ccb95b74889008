"""Bulks with a journal in processes of their own, for tests that kill them.

Reads one job a line, `[endpoint, token, journal, operation, ids_file, report_file]` as
JSON, with "resume" in place of the operation to go on with what the journal says. For
each it forks, so that only the first waits for the imports, and prints the process id,
then a line when that process has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from spaces_async import SpacesClient
from spaces_async.bulk import BulkReport, operations

CONCURRENCY = 16
OPERATIONS = {
    "restart": operations.restart(),
    "factory": operations.restart(factory_reboot=True),
    "pause": operations.pause(),
}


async def work(  # noqa: PLR0917
    endpoint: str, token: str, journal: str, name: str, ids: str, output: str
) -> None:
    report: BulkReport[Any]
    async with SpacesClient(token=token, endpoint=endpoint) as client:
        if name == "resume":
            report = await client.bulk.resume(journal, concurrency=CONCURRENCY)
        else:
            targets = Path(ids).read_text(encoding="utf-8").split()  # noqa: ASYNC240
            report = await client.bulk.run(
                OPERATIONS[name], targets, journal=journal, concurrency=CONCURRENCY
            )
    Path(output).write_text(json.dumps(report.to_dict()), encoding="utf-8")  # noqa: ASYNC240


def main() -> None:
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            job = json.loads(line)
            try:
                asyncio.run(work(*job))
            except BaseException as error:  # noqa: BLE001  (this process ends here)
                told = json.dumps({"error": f"{type(error).__name__}: {error}"})
                Path(job[-1]).write_text(told, encoding="utf-8")
            os._exit(0)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        os.waitpid(process, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
