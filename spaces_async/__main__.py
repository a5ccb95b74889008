"""`python -m spaces_async`, and the command `spaces-async`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code.

    Without click and rich, which only the extra `cli` installs, it says so.
    """
    try:
        # The library itself must work without them. Not only the import tells that one
        # is missing: the shell imports it when a command needs it.
        for name in ("click", "rich"):
            if find_spec(name) is None:
                sys.stderr.write(
                    f"Error: the command line needs {name}."
                    " Run: pip install 'spaces-async[cli]'\n"
                )
                return 2
        from spaces_async.cli import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
