"""Folders of pictures, as users have them."""

from __future__ import annotations

import torch
from PIL import Image

from experiments.drawn import DrawnFaces


def photographs(folder, n=10, size=40, drawn=DrawnFaces):
    folder.mkdir(parents=True)
    for i, x in enumerate(drawn(size)(n, torch.Generator().manual_seed(0))):
        pixels = ((x + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder
