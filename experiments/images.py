"""Sets of photographs: a folder or a zip, decoded once, kept on the device as uint8.

Every image is scaled and cropped to a square of 1.12 S pixels when it is read; a batch is a random S x S window of it,
mirrored half the time. Grey, RGBA, palette and 16-bit images become RGB. An image that cannot be decoded or is smaller
than S is named, skipped and counted.
"""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Generator, Tensor
from tqdm import tqdm

from degrade.keyed import keyed
from degrade.picture import as_rgb
from experiments.cli import UserError

__all__ = ["ImageSet", "load_images"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
MARGIN = 1.12  # side of what is kept, over the side of what is used

Read = Callable[[], bytes]


class ImageSet:
    """Images (N, 3, M, M) uint8 on a device; a `Source` of random S x S windows in [-1, 1].

    Args:
        images: (N, 3, M, M) uint8, M >= size.
        size: side S of the windows.

    >>> faces = ImageSet(torch.full((5, 3, 9, 9), 255, dtype=torch.uint8), 8)
    >>> faces(2, Generator().manual_seed(0)).shape, faces(2).max().item()
    (torch.Size([2, 3, 8, 8]), 1.0)
    """

    def __init__(self, images: Tensor, size: int) -> None:
        self.images, self.size = images, size
        offsets = images.shape[-1] - size + 1
        # How many images, first rows and first columns there are to choose from; kept on the device.
        self._choices = torch.tensor([[len(images)], [offsets], [offsets]], device=images.device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __call__(self, n: int, generator: Generator | None = None) -> Tensor:
        """Return n random windows (n, 3, S, S) float32 in [-1, 1]; images are drawn with replacement."""
        device = self.images.device
        u = torch.rand(4, n, generator=generator, device=generator.device if generator else device).to(device)
        index, top, left = (u[:3] * self._choices).long()
        pixel = torch.arange(self.size, device=device)
        columns = torch.where(u[3, :, None] < 0.5, pixel, self.size - 1 - pixel) + left[:, None]
        rows = top[:, None] + pixel
        window = self.images[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return window.permute(0, 3, 1, 2).float() / 127.5 - 1

    def split(self, seed: int) -> tuple[ImageSet, ImageSet]:
        """Return (training, held out): one in eight images, at least one, is held out, unless there is but one."""
        held_out = max(1, len(self) // 8)
        order = torch.randperm(len(self), generator=keyed("cpu", seed, "held out")).to(self.images.device)
        kept = self.images[order[held_out:]] if len(self) > 1 else self.images
        return ImageSet(kept, self.size), ImageSet(self.images[order[:held_out]], self.size)


def load_images(path: Path, size: int, device: torch.device, option: str) -> ImageSet:
    """Read all images of a folder (searched recursively) or a zip.

    Args:
        path: of the folder or zip.
        size: side of the images to come.
        device: where they shall live.
        option: the option that named the path, for messages.

    Raises:
        UserError: if there is nothing to read; or if no image can be used.
    """
    entries = sorted(_entries(path, option), key=lambda entry: entry[0])
    if not entries:
        raise UserError(
            f"{option} {path} holds no images ({', '.join(sorted(SUFFIXES))}); name a folder or zip of images"
        )
    side = round(MARGIN * size)
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(partial(_decoded, size=size, side=side), (read for _, read in entries))
        results = list(tqdm(decoded, f"reading {path.name}", len(entries), disable=None, unit=" images", leave=False))
    faults = [(name, fault) for (name, _), fault in zip(entries, results) if isinstance(fault, str)]
    for name, fault in faults[:5]:
        print(f"skipped {name}: {fault}", file=sys.stderr)
    if len(faults) == len(entries):
        raise UserError(f"{option} {path}: none of its {len(entries)} images can be used ({faults[0][1]})")
    if faults:
        print(f"skipped {len(faults)} of {len(entries)} images of {path}", file=sys.stderr)
    pixels = np.stack([image for image in results if not isinstance(image, str)])
    return ImageSet(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device), size)


def _entries(path: Path, option: str) -> Iterator[tuple[str, Read]]:
    """Yield (name, how to read it) of every image in a folder or zip."""
    if path.is_dir():
        for file in path.rglob("*"):
            if _is_image(file.name) and file.is_file():
                yield str(file), file.read_bytes
    elif zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        for name in archive.namelist():
            if _is_image(Path(name).name):
                yield f"{path}/{name}", partial(archive.read, name)
    elif path.exists():
        raise UserError(f"{option} {path} is neither a folder nor a zip; name a folder or zip of images")
    else:
        raise UserError(f"{option} {path} does not exist; name a folder or zip of images")


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _decoded(read: Read, size: int, side: int) -> np.ndarray | str:
    """Return (side, side, 3) uint8, or what is wrong with the image."""
    try:
        with warnings.catch_warnings(action="ignore"):  # oddities of metadata, not of pixels
            file = Image.open(io.BytesIO(read()))
            file.load()
            image = ImageOps.exif_transpose(file)
    except Exception as error:  # decoders and archives raise all kinds of errors on broken files
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if min(image.size) < size:
        return f"it has {image.width} x {image.height} pixels, fewer than --size {size}"
    return np.asarray(ImageOps.fit(as_rgb(image), (side, side), Image.Resampling.LANCZOS))
