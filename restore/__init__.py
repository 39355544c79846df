"""Restoration: a network R(x_t, t) = x0_hat that guesses the clean image, its training, and its checkpoints."""

from restore.checkpoint import latest, load, resume, save
from restore.ema import EMAConfig
from restore.restorer import Predict, Restorer
from restore.training import Record, TrainConfig, Training
from restore.unet import UNet, UNetConfig

__all__ = [
    "EMAConfig",
    "Predict",
    "Record",
    "Restorer",
    "TrainConfig",
    "Training",
    "UNet",
    "UNetConfig",
    "latest",
    "load",
    "resume",
    "save",
]
