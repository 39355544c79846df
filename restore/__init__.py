"""Restoration: a network R(x_t, t) = x0_hat that guesses the clean image, its training, and its checkpoints."""

from restore.checkpoint import latest, load, resume, save
from restore.devices import connect
from restore.diffusers import from_diffusers, to_diffusers
from restore.ema import EMAConfig
from restore.order import Indexed
from restore.restorer import Precision, Predict, Restorer
from restore.specification import DataSpec, NamedSpec, Specification, read_specification
from restore.tiles import Tiled
from restore.training import Record, TrainConfig, Training
from restore.unet import UNet, UNetConfig

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
