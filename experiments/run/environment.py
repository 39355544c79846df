"""What a measurement depended on: command, versions and machine, as JSON values to be written beside the numbers."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

__all__ = ["describe_environment"]

PACKAGES = ("degrade-restore", "torch", "torchvision", "torchmetrics", "numpy", "scipy")


def describe_environment(device: torch.device | str, world_size: int = 1) -> dict[str, Any]:
    """Return date, command, versions and device of this process.

    Args:
        device: device of the computation.
        world_size: number of processes that share the work.

    >>> describe_environment("cpu")["device"]["type"]
    'cpu'
    """
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": versions,
        "device": {"type": device.type, "name": name, "processes": world_size, "threads": torch.get_num_threads()},
    }
