from restore.base_restorer import BaseRestorer, CondRestorer, FunctionRestorer
from restore.checkpoint.api import latest, load, load_pretrained, resume, save
from restore.checkpoint.config import CheckpointConfig, ComponentConfig, DatasetInfo, read_checkpoint_config
from restore.checkpoint.severity import keep_severity_model
from restore.choices import Precision, Predict
from restore.conditioned import RULES, Conditioned, Measurement, Rule, register_rule
from restore.data_order import MapDataset
from restore.distributed import init_distributed
from restore.ema import EMAConfig
from restore.guidance import Guided
from restore.interop.diffusers import from_diffusers, to_diffusers
from restore.interop.onnx import export_onnx
from restore.interop.program import export_program
from restore.inverse_input import InverseInput
from restore.linear_inverse import LinearInverse
from restore.losses import register_loss
from restore.lr_schedules import register_lr_schedule
from restore.models.catalog import model_names
from restore.models.export import export_model
from restore.nets.registry import make_network, network_names, register_network
from restore.nets.res_unet import ResUNet, ResUNetConfig
from restore.nets.residual_cnn import ResidualCNN, ResidualCNNConfig
from restore.nets.unet import UNet, UNetConfig
from restore.optimizers import register_optimizer
from restore.restorer import Restorer
from restore.tiling import TiledRestorer
from restore.timesteps import register_timesteps
from restore.train_config import TrainConfig
from restore.training import StepStats, Trainer
from restore.weightings import register_weighting

__all__ = [
    "RULES",
    "BaseRestorer",
    "CheckpointConfig",
    "ComponentConfig",
    "CondRestorer",
    "Conditioned",
    "DatasetInfo",
    "EMAConfig",
    "FunctionRestorer",
    "Guided",
    "InverseInput",
    "LinearInverse",
    "MapDataset",
    "Measurement",
    "Precision",
    "Predict",
    "ResUNet",
    "ResUNetConfig",
    "ResidualCNN",
    "ResidualCNNConfig",
    "Restorer",
    "Rule",
    "StepStats",
    "TiledRestorer",
    "TrainConfig",
    "Trainer",
    "UNet",
    "UNetConfig",
    "export_model",
    "export_onnx",
    "export_program",
    "from_diffusers",
    "init_distributed",
    "keep_severity_model",
    "latest",
    "load",
    "load_pretrained",
    "make_network",
    "model_names",
    "network_names",
    "read_checkpoint_config",
    "register_loss",
    "register_lr_schedule",
    "register_network",
    "register_optimizer",
    "register_rule",
    "register_timesteps",
    "register_weighting",
    "resume",
    "save",
    "to_diffusers",
]
