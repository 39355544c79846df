"""Pictures, as users have them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from experiments.data.drawn import DrawnFaces


def photographs(folder, n=10, size=40, drawn=DrawnFaces):
    folder.mkdir(parents=True)
    for i, x in enumerate(drawn(size)(n, torch.Generator().manual_seed(0))):
        pixels = ((x + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def photo(mode, size=(37, 29)):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if mode in ("I;16", "I"):
        deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 256 + noise[..., 1])
        return deep if mode == "I;16" else deep.convert("I")
    return Image.fromarray(noise).convert("RGB" if mode in ("P", "CMYK") else "RGBA").convert(mode)
