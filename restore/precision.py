"""The precision in which a network is fast on a device.

In bfloat16 a network takes half the memory, and on hardware with bfloat16 products less time. A processor without them
(x86 without AVX-512, older ARM) emulates every product: a training step takes about 20 times as long as in float32.
"""

from __future__ import annotations

import warnings

import torch

from restore.choices import Precision, PrecisionChoice

__all__ = ["choose_precision", "has_fast_bfloat16"]


def has_fast_bfloat16(device: torch.device | str) -> bool:
    """Whether `device` computes products in bfloat16 itself: CUDA since Ampere, CPUs with AVX-512 or ARM's bf16.

    Of other kinds of device nothing was measured; they count as slow.

    >>> has_fast_bfloat16("meta")
    False
    """
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # The criterion of PyTorch's own convolutions, which has no public name.
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def choose_precision(name: PrecisionChoice, device: torch.device | str) -> Precision:
    """Return the precision that an option names, with a warning if it is `bfloat16` and `device` emulates that.

    Args:
        name: `float32`, `bfloat16`, or `auto` for bfloat16 on devices that compute in it and float32 on all others.
        device: device of the network.

    >>> choose_precision("auto", "meta"), choose_precision("float32", "cpu")
    ('float32', 'float32')
    """
    fast = name != "float32" and has_fast_bfloat16(device)
    if name == "bfloat16" and not fast:
        warnings.warn(
            f"precision bfloat16: {torch.device(device)} emulates its products, which takes about 20 times as long as"
            " float32; choose float32, or auto",
            stacklevel=2,
        )
    return "bfloat16" if fast or name == "bfloat16" else "float32"
