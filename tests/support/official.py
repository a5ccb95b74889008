"""The official client, which `AsyncHfApi` is compared with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest

FOLLOWED: Final = (2, 4)
"""The version that our names and parameters follow."""

INSTALLED: Final = tuple(
    int(part) for part in version("huggingface_hub").split(".")[:2]
)

needs_official = pytest.mark.skipif(
    INSTALLED < FOLLOWED,
    reason="AsyncHfApi follows huggingface_hub 2.4; an older one is installed",
)
"""The lowest click, for one, goes only with an older official client."""
