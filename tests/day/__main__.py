"""Write the page on a day with an org: `python -m tests.day`, or `make day`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.day.play import ROOT, play, write


def main() -> int:
    """Play the day, write what it showed, and name the files."""
    with tempfile.TemporaryDirectory() as folder:
        day = play(Path(folder))
    for path in write(day):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
