"""Restoration: a network R(x_t, t) = x0_hat that guesses the clean image, its training, and its checkpoints."""

from restore.base_restorer import BaseRestorer, CondRestorer, FunctionRestorer
from restore.checkpoint.api import latest, load, resume, save
from restore.checkpoint.config import CheckpointConfig, ComponentConfig, DatasetInfo, read_checkpoint_config
from restore.data_order import MapDataset
from restore.distributed import init_distributed
from restore.ema import EMAConfig
from restore.interop.diffusers import from_diffusers, to_diffusers
from restore.nets.unet import UNet, UNetConfig
from restore.restorer import Precision, Predict, Restorer
from restore.tiling import TiledRestorer
from restore.train_config import TrainConfig
from restore.training import StepStats, Trainer

__all__ = [
    "BaseRestorer",
    "CheckpointConfig",
    "ComponentConfig",
    "CondRestorer",
    "DatasetInfo",
    "EMAConfig",
    "FunctionRestorer",
    "MapDataset",
    "Precision",
    "Predict",
    "Restorer",
    "StepStats",
    "TiledRestorer",
    "TrainConfig",
    "Trainer",
    "UNet",
    "UNetConfig",
    "from_diffusers",
    "init_distributed",
    "latest",
    "load",
    "read_checkpoint_config",
    "resume",
    "save",
    "to_diffusers",
]
