"""Samplers: steps from severity t to severity s, the loop that takes them, and the priors they start from."""

from samplers.priors import Degraded, OtherSet, Prior, PureNoise, Start
from samplers.reverse import Visit, direct, reverse, sample
from samplers.steps import DDIM, DDPM, Algorithm1, Algorithm2, Ancestral, Restore, Step, Walked
from samplers.times import strided

__all__ = [
    "DDIM",
    "DDPM",
    "Algorithm1",
    "Algorithm2",
    "Ancestral",
    "Degraded",
    "OtherSet",
    "Prior",
    "PureNoise",
    "Restore",
    "Start",
    "Step",
    "Visit",
    "Walked",
    "direct",
    "reverse",
    "sample",
    "strided",
]
