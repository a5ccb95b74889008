"""`python -m spaces_async`, and the command `spaces-async`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code.

    Without click and rich, which only the extra `cli` installs, it says so.
    """
    try:
        # The library itself must work without them.
        from spaces_async.cli import main as run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.stderr.write(
            f"Error: the command line needs {missing}."
            " Run: pip install 'spaces-async[cli]'\n"
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
