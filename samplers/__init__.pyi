from samplers.applications.likelihood import VariationalBound, bits_per_dim
from samplers.applications.restore_image import RestorationResult, RestoreOptions, restore_image
from samplers.applications.severity import SeverityEstimate, estimate_severity
from samplers.applications.severity_calibration import SeverityOptions, calibrate_severity
from samplers.base import Sampler, SinglePrediction, StepInput, StepOutput
from samplers.generation import GeneratedBatch, GenerateOptions, generate, generate_images, rank_slice
from samplers.loop import Transition, direct, sample, trajectory
from samplers.priors.base import (
    PRIORS,
    DatasetPrior,
    DegradedData,
    DegradedPrior,
    DegradedZero,
    Prior,
    PriorSample,
    StandardNormal,
    UniformColor,
    register_prior,
)
from samplers.priors.fit import FitOptions, RemainingDetail, fit_prior, measure_remaining_detail
from samplers.priors.io import load_prior
from samplers.priors.low_resolution import LowResolution
from samplers.registry import (
    SAMPLERS,
    AnySampler,
    make_sampler,
    parse_sampler,
    register_sampler,
    sampler_names,
)
from samplers.respacing import cumulative_change, equal_change_timesteps, equal_error_timesteps
from samplers.steps.bridge import BrownianBridge
from samplers.steps.cold import Algorithm1, Algorithm2, Heun, InDI
from samplers.steps.diffusion import DDIM, DDPM, Ancestral
from samplers.steps.wrappers import AveragedPrediction, MaskReplacement, RePaint, renoise
from samplers.timesteps import spaced_timesteps, validate_timesteps

__all__ = [
    "DDIM",
    "DDPM",
    "PRIORS",
    "SAMPLERS",
    "Algorithm1",
    "Algorithm2",
    "Ancestral",
    "AnySampler",
    "AveragedPrediction",
    "BrownianBridge",
    "DatasetPrior",
    "DegradedData",
    "DegradedPrior",
    "DegradedZero",
    "FitOptions",
    "GenerateOptions",
    "GeneratedBatch",
    "Heun",
    "InDI",
    "LowResolution",
    "MaskReplacement",
    "Prior",
    "PriorSample",
    "RePaint",
    "RemainingDetail",
    "RestorationResult",
    "RestoreOptions",
    "Sampler",
    "SeverityEstimate",
    "SeverityOptions",
    "SinglePrediction",
    "StandardNormal",
    "StepInput",
    "StepOutput",
    "Transition",
    "UniformColor",
    "VariationalBound",
    "bits_per_dim",
    "calibrate_severity",
    "cumulative_change",
    "direct",
    "equal_change_timesteps",
    "equal_error_timesteps",
    "estimate_severity",
    "fit_prior",
    "generate",
    "generate_images",
    "load_prior",
    "make_sampler",
    "measure_remaining_detail",
    "parse_sampler",
    "rank_slice",
    "register_prior",
    "register_sampler",
    "renoise",
    "restore_image",
    "sample",
    "sampler_names",
    "spaced_timesteps",
    "trajectory",
    "validate_timesteps",
]
