"""Programs that tests start, in debug mode and with every warning an error, or import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

_EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"

_WITH_IMPORTS_DONE: Final = """
import logging, runpy, sys
from importlib import import_module
from spaces_async.client import USED_BY_CALLS
for name in USED_BY_CALLS:
    import_module(name)
slow = lambda record: not record.getMessage().startswith("Executing <")
logging.getLogger("asyncio").addFilter(slow)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def strict_python(*argv: str) -> tuple[str, ...]:
    """Return the command for a script, or for `-m` and a module, with its arguments.

    What the first client of a process imports is imported before a script starts, and
    asyncio's remarks on slow steps are left out: they depend on the machine.
    """
    before = () if argv[0] == "-m" else ("-c", _WITH_IMPORTS_DONE)
    return (sys.executable, "-X", "dev", "-W", "error", *before, *argv)


def load_example(name: str) -> Any:
    """Import an example, which belongs to no package."""
    spec = importlib.util.spec_from_file_location(name, _EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
