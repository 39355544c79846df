"""Reports: what a benchmark ran on, its tables, and its file."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.run.folder import write_json

if TYPE_CHECKING:
    import torch

__all__ = ["machine", "parser", "table", "write_report"]

RESULTS = Path(__file__).resolve().parents[1] / "results"


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share; `name` is the program's, and begins the file's."""
    made = argparse.ArgumentParser(name, description=description)
    made.add_argument(
        "--out", type=Path, metavar="FILE", help=f"default: experiments/results/{name}-DEVICE.json, quick: none"
    )
    made.add_argument("--threads", type=int, default=1, help="of PyTorch, for all sides")
    made.add_argument("--device", type=_device, default="cpu", help="cpu or cuda")
    made.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    return made


def _device(name: str) -> torch.device:
    import torch

    return torch.device(name)


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_at_start": os.getloadavg()[0],
    }


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return aligned columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths)] for row in (head, *rows)]
    return "\n".join("  ".join([row[0].strip().ljust(widths[0]), *row[1:]]) for row in lines)


def write_report(report: dict[str, Any], text: str, name: str, options: argparse.Namespace) -> None:
    """Print the tables, and write the report where --out says, or among the results if it was not a quick run."""
    print("PyTorch {torch}, {device} ({processor}), {threads} of {cores} threads\n".format(**report))
    print(text)
    if options.out or not options.quick:
        out = options.out or RESULTS / f"{name}-{options.device.type}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, report)
        print(f"\n{out}")
