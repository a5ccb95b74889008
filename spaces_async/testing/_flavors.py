"""The Hub's catalogue: hardware with prices, and templates."""

from __future__ import annotations

from typing import Any

from spaces_async.models import SpaceHardware

__all__ = [
    "FLAVORS",
    "TEMPLATES",
    "hardware_list",
    "is_free",
    "is_paid",
    "pretty_name",
    "price_per_minute",
]

FLAVORS = frozenset(flavor.value for flavor in SpaceHardware)

_GPU = "gpu"
# name, pretty name, cpu, ram, accelerator (model, quantity, vram), dollars per hour
_TABLE: tuple[tuple[str, str, str, str, tuple[str, str, str] | None, float], ...] = (
    ("cpu-basic", "CPU basic", "2 vCPU", "16 GB", None, 0.0),
    ("cpu-upgrade", "CPU upgrade", "8 vCPU", "32 GB", None, 0.03),
    ("cpu-performance", "CPU performance", "32 vCPU", "256 GB", None, 1.9),
    ("cpu-xl", "CPU XL", "16 vCPU", "124 GB", None, 1.0),
    ("t4-small", "Nvidia T4 - small", "4 vCPU", "15 GB", ("T4", "1", "16 GB"), 0.4),
    ("t4-medium", "Nvidia T4 - medium", "8 vCPU", "30 GB", ("T4", "1", "16 GB"), 0.6),
    ("l4x1", "1x Nvidia L4", "8 vCPU", "30 GB", ("L4", "1", "24 GB"), 0.8),
    ("l4x4", "4x Nvidia L4", "48 vCPU", "186 GB", ("L4", "4", "96 GB"), 3.8),
    ("l40sx1", "1x Nvidia L40S", "8 vCPU", "62 GB", ("L40S", "1", "48 GB"), 1.8),
    ("l40sx4", "4x Nvidia L40S", "48 vCPU", "382 GB", ("L40S", "4", "192 GB"), 8.3),
    ("a10g-small", "Nvidia A10G - small", "4 vCPU", "15 GB", ("A10G", "1", "24 GB"), 1),
    ("a10g-large", "Nvidia A10G - large", "12 vCPU", "46 GB", ("A10G", "1", "24 GB"), 1.5),
    ("a10g-largex2", "2x Nvidia A10G", "24 vCPU", "92 GB", ("A10G", "2", "48 GB"), 3),
    ("a10g-largex4", "4x Nvidia A10G", "48 vCPU", "184 GB", ("A10G", "4", "96 GB"), 5),
    ("a100-large", "Nvidia A100", "12 vCPU", "142 GB", ("A100", "1", "80 GB"), 2.5),
    ("a100x4", "4x Nvidia A100", "48 vCPU", "568 GB", ("A100", "4", "320 GB"), 10),
    ("a100x8", "8x Nvidia A100", "96 vCPU", "1136 GB", ("A100", "8", "640 GB"), 20),
    ("h200", "Nvidia H200", "23 vCPU", "256 GB", ("H200", "1", "141 GB"), 5),
)  # fmt: skip
_MINUTES_PER_HOUR = 60
_PRICES = {row[0]: round(row[5] * 1_000_000 / _MINUTES_PER_HOUR) for row in _TABLE}

TEMPLATES: list[dict[str, Any]] = [
    {
        "sdk": sdk,
        "name": name,
        "repoId": repo_id,
        "preferredPrivate": preferred_private,
    }
    for sdk, name, repo_id, preferred_private in (
        ("gradio", "chatbot", "gradio-templates/chatbot", False),
        ("gradio", "text-to-image", "gradio-templates/text-to-image-gradio-template", False),
        ("docker", "JupyterLab", "SpacesExamples/jupyterlab", True),
        ("docker", "Streamlit", "streamlit/streamlit-template-space", False),
        ("static", "React", "static-templates/react", False),
    )
]  # fmt: skip


def is_free(flavor: str) -> bool:
    """Whether this flavor costs nothing."""
    return flavor in {"cpu-basic", "zero-a10g"}


def is_paid(flavor: str) -> bool:
    """Whether the owner pays for this flavor by the minute."""
    return not is_free(flavor)


def price_per_minute(flavor: str) -> int | None:
    """Return the price of a minute in millionths of a dollar; None if it has none."""
    return _PRICES.get(flavor)


def pretty_name(flavor: str) -> str:
    """Return the display name of a flavor."""
    return next((row[1] for row in _TABLE if row[0] == flavor), flavor)


def hardware_list() -> list[dict[str, Any]]:
    """Return the response of `GET /api/spaces/hardware`."""
    rows: list[dict[str, Any]] = []
    for name, pretty, cpu, ram, accelerator, _ in _TABLE:
        micro = _PRICES[name]
        rows.append(
            {
                "name": name,
                "prettyName": pretty,
                "cpu": cpu,
                "ram": ram,
                "accelerator": accelerator
                and {
                    "type": _GPU,
                    "model": accelerator[0],
                    "quantity": accelerator[1],
                    "vram": accelerator[2],
                    "manufacturer": "Nvidia",
                },
                "unitCostMicroUSD": micro,
                "unitCostUSD": micro / 1_000_000,
                "unitLabel": "minute",
            }
        )
    return rows
