"""Restoration: a network R(x_t, t) = x0_hat that guesses the clean image, its training, and its checkpoints."""

from restore.checkpoint.api import latest, load, resume, save
from restore.checkpoint.config import DataSpec, NamedSpec, Specification, read_specification
from restore.data_order import Indexed
from restore.distributed import connect
from restore.ema import EMAConfig
from restore.interop.diffusers import from_diffusers, to_diffusers
from restore.nets.unet import UNet, UNetConfig
from restore.restorer import Precision, Predict, Restorer
from restore.tiling import Tiled
from restore.training import Record, TrainConfig, Training

__all__ = [
    "DataSpec",
    "EMAConfig",
    "Indexed",
    "NamedSpec",
    "Precision",
    "Predict",
    "Record",
    "Restorer",
    "Specification",
    "Tiled",
    "TrainConfig",
    "Training",
    "UNet",
    "UNetConfig",
    "connect",
    "from_diffusers",
    "latest",
    "load",
    "read_specification",
    "resume",
    "save",
    "to_diffusers",
]
