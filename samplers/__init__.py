"""Samplers: steps from severity t to severity s, the loop that takes them, and the priors they start from."""

from samplers.applications.likelihood import Bound, bits_per_dim
from samplers.applications.restore_image import Restored, restore_image
from samplers.applications.severity import Severity, estimate_severity
from samplers.base import Algorithm, Restore, Stage, Step, Walked
from samplers.generate import Made, many, sample_many, share
from samplers.loop import Visit, direct, reverse, sample
from samplers.priors.base import (
    PRIORS,
    Degraded,
    Forgotten,
    Imagined,
    OtherSet,
    Prior,
    PureNoise,
    Start,
    UniformColor,
    register_prior,
)
from samplers.priors.fit import Rest, fit_prior, rest
from samplers.priors.io import load_prior
from samplers.priors.low_resolution import LowResolution
from samplers.registry import STEPS, AnyStep, make_step, parse_step, register_step, step_names
from samplers.respacing import cumulated_change, equal_shares, respaced
from samplers.steps.averaging import Average
from samplers.steps.bridge import Bridge
from samplers.steps.diffusion import DDIM, DDPM, Algorithm1, Algorithm2, Ancestral
from samplers.steps.heun import Heun
from samplers.steps.indi import InDI
from samplers.steps.known import Known
from samplers.steps.resample import Resample, climb
from samplers.timesteps import falling, strided

__all__ = [
    "DDIM",
    "DDPM",
    "PRIORS",
    "STEPS",
    "Algorithm",
    "Algorithm1",
    "Algorithm2",
    "Ancestral",
    "AnyStep",
    "Average",
    "Bound",
    "Bridge",
    "Degraded",
    "Forgotten",
    "Heun",
    "Imagined",
    "InDI",
    "Known",
    "LowResolution",
    "Made",
    "OtherSet",
    "Prior",
    "PureNoise",
    "Resample",
    "Rest",
    "Restore",
    "Restored",
    "Severity",
    "Stage",
    "Start",
    "Step",
    "UniformColor",
    "Visit",
    "Walked",
    "bits_per_dim",
    "climb",
    "cumulated_change",
    "direct",
    "equal_shares",
    "estimate_severity",
    "falling",
    "fit_prior",
    "load_prior",
    "make_step",
    "many",
    "parse_step",
    "register_prior",
    "register_step",
    "respaced",
    "rest",
    "restore_image",
    "reverse",
    "sample",
    "sample_many",
    "share",
    "step_names",
    "strided",
]
