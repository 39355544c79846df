"""Folders and zips of small pictures, and the sets that are read from them."""

from __future__ import annotations

import os
import warnings
import zipfile

import torch
from PIL import Image

from degrade.command_line import validated
from experiments.data.archives import from_path
from experiments.data.datasets import load_data
from experiments.data.decoding import decode
from experiments.data.options import DataOptions

CPU = torch.device("cpu")


def load(path, size=16, **options):
    return load_data(validated(DataOptions, options), size, 0, CPU, str(path), "--data")


def pixels_of(path, policy):
    return decode(from_path(path, 0, "--data").training, policy, "--data", path.name)


def every(path):
    """The pictures of both parts."""
    training, validation = from_path(path, 0, "--data")
    return [*training, *validation]


def numbered(folder, n, start=0):
    """Pictures of 20 x 20 pixels, the i-th of them of the gray level start + i."""
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new("L", (20, 20), start + i).save(folder / f"{i}.png")
    return folder


def grays(images):
    """The levels of images of one level each."""
    return [int(level) for level in images.images.flatten(1)[:, 0]]


def names(path):
    """The paths of the training and held-out pictures under a folder or zip."""
    return tuple(sorted(os.path.relpath(name, path) for name, _ in part) for part in from_path(path, 0, "--data"))


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):  # of names that repeat
        for name, level in entries:
            with archive.open(zipfile.ZipInfo(name), "w") as file:
                Image.new("L", (20, 20), level).save(file, "png")
    return path
