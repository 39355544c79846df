"""Trajectories of a degradation of random images: their start, their states, and whether two are the same."""

from __future__ import annotations

import torch

import degrade
from restore import FunctionRestorer
from samplers import trajectory
from tests.cases import build, images, seed
from tests.oracles import imperfect

EXACT = {"rtol": 0, "atol": 1e-12}
SHAPE = (3, 12, 16)


def straight(T=12):
    return build("interpolation", {"T": T, "schedule": "rectified"}, SHAPE)


def start(D, n=2):
    """Clean images, z drawn for them, and x_T."""
    x0 = images(n, *SHAPE)
    z = D.draw(x0, seed(1))
    return x0, z, D(x0, degrade.expand_level(D.T, x0), z)


def ends(D, R, step, x_T, z, times=None):
    """The states x_s of a trajectory, one after another."""
    visits = trajectory(FunctionRestorer(R, D), step, x_T, z, times, seed(2))
    return torch.stack([visit.x_s for visit in visits])


def same_walk(D, one, other, times=None, R=imperfect):
    _, z, x_T = start(D)
    torch.testing.assert_close(*(ends(D, R, step, x_T, z, times) for step in (one, other)), **EXACT)
