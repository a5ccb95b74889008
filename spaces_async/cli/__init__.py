"""The command line: click commands and rich output over the client, nothing else."""

from spaces_async.cli._main import main

__all__ = ["main"]
