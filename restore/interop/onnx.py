"""A restorer as an ONNX file, for ONNX Runtime and everything else that reads the format.

The graph is that of `restore.interop.program`, with the inputs `x_t` (batch, C, height, width) float32, `t` (batch,)
int64 and each condition by its name, and the output `x0_hat` (batch, C, height, width) float32. The metadata of the
file hold the degradation as JSON under `degradation`, and the divisor of the sides under `size_divisor`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degrade.optional import require
from restore.base_restorer import BaseRestorer
from restore.interop.program import export_program

__all__ = ["export_onnx"]


def export_onnx(
    R: BaseRestorer,
    path: str | Path,
    cond: Mapping[str, Tensor] | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Path:
    """Write a restorer as an ONNX file and return its path. It needs the extra `onnx`.

    Args:
        R: a restorer in evaluation mode with weights in float32.
        path: the file, whose folder must exist.
        cond: the conditions that are inputs, by name, as for `export_program`.
        image_size: (height, width) in pixels to which the graph is restricted; None for any size.
        channels: number of channels of the images; None for `R.image_channels`.

    Raises:
        ValueError: for what `export_program` refuses, and for an operation that ONNX does not have.
        ImportError: if the packages `onnx` and `onnxscript` are not installed.
        OSError: if the file cannot be written.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "export_onnx", extra="onnx")
    program = export_program(R, cond, image_size, channels)
    try:
        written: Any = torch.onnx.export(program, (), dynamo=True, verbose=False, output_names=["x0_hat"])
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(f"{type(R).__name__} of {R.degradation.name} cannot be written as ONNX: {reason}") from error
    dimensions = zip(written.model.graph.inputs[0].shape, ("batch", "channels", "height", "width"))
    written.rename_axes({str(symbol): name for symbol, name in dimensions if not isinstance(symbol, int)})
    written.model.metadata_props["size_divisor"] = str(R.size_divisor)
    if R.degradation.registered:
        written.model.metadata_props["degradation"] = json.dumps(R.degradation.to_dict())
    written.save(path)
    return Path(path)
