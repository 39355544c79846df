"""The weights of a UNet2DModel of diffusers under our names, and ours under theirs.

Query, key and value are three linear layers there and one here; files of the first versions call them `query`, `key`,
`value` and `proj_attn`. The rest are other names for the same tensors, but for the first layer that the embedded time
goes through: the embedding may have the cosines before the sines, or count from another time, and

    sin((t + d) w) = cos(d w) sin(t w) + sin(d w) cos(t w)
    cos((t + d) w) = cos(d w) cos(t w) - sin(d w) sin(t w)

so its weights for one embedding are a rotation of those for the other.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from restore.nets.unet import UNet

__all__ = ["load_weights", "their_weights"]

QKV = ("to_q", "to_k", "to_v")
FIRST = "time_embed.linear_1.weight"
LEGACY_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

# From our names to theirs, where they differ, in this order.
RENAMED = [
    (re.compile(pattern), theirs)
    for pattern, theirs in (
        (r"^norm_out\.", "conv_norm_out."),
        (r"^time_embed\.", "time_embedding."),
        (r"\.(down|up)sample\.", r".\1samplers.0."),
        (r"\.resnets\.(\d+)\.attention\.", r".attentions.\1."),
        (r"\.to_out\.", ".to_out.0."),
    )
]


def load_weights(net: UNet, theirs: dict[str, Tensor], flip: bool) -> None:
    """Load the tensors of a UNet2DModel.

    Args:
        net: network of the same shape, with `time_offset` -1.
        theirs: tensors by their names in diffusers, of today's or of the first versions.
        flip: whether their embedding of time has the cosines first.

    Raises:
        ValueError: naming the tensors that are missing, superfluous or of another shape.
    """
    left = {
        re.sub(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.", _renewed, name): v for name, v in theirs.items()
    }
    faults: list[str] = []
    loaded: dict[str, Tensor] = {}
    for name, mine in net.state_dict().items():
        parts = [left.pop(their) for their in _theirs(name) if their in left]
        loaded[name] = torch.cat(parts) if parts else torch.empty(0)
        if loaded[name].shape != mine.shape:
            faults.append(f"{_theirs(name)[0]} is {tuple(loaded[name].shape) if parts else 'missing'}")
    faults += [f"{name} has no place" for name in left]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ValueError(f"the weights are not of the network in the configuration: {', '.join(faults[:3])}{more}")
    if flip:
        cosines, sines = loaded[FIRST].chunk(2, dim=1)
        loaded[FIRST] = torch.cat([sines, cosines], dim=1)
    net.load_state_dict(loaded)


def their_weights(net: UNet) -> dict[str, Tensor]:
    """Return the tensors of a network under the names of a UNet2DModel that is called with k = t - 1."""
    named: dict[str, Tensor] = {}
    for name, tensor in net.state_dict().items():
        if name == FIRST and net.config.time_offset != -1:
            tensor = _turned(tensor, net.time_embed.frequencies, net.config.time_offset + 1)
        theirs = _theirs(name)
        # Copies: safetensors takes neither views nor channels_last tensors.
        named |= {
            their: part.clone(memory_format=torch.contiguous_format)
            for their, part in zip(theirs, tensor.chunk(len(theirs)))
        }
    return named


def _theirs(name: str) -> tuple[str, ...]:
    for pattern, theirs in RENAMED:
        name = pattern.sub(theirs, name)
    return tuple(name.replace("to_qkv", one) for one in QKV) if "to_qkv" in name else (name,)


def _renewed(found: re.Match[str]) -> str:
    return f"{found[1]}.{LEGACY_NAMES[found[2]]}."


def _turned(weight: Tensor, frequencies: Tensor, d: int) -> Tensor:
    """Return the weights that make of the waves at t what `weight` makes of those at t + d."""
    sin, cos = torch.sin(d * frequencies.double()), torch.cos(d * frequencies.double())
    of_sines, of_cosines = weight.double().chunk(2, dim=1)
    return torch.cat([of_sines * cos - of_cosines * sin, of_sines * sin + of_cosines * cos], dim=1).to(weight)
