"""Restoration: a network R(x_t, t) = x0_hat that predicts the clean image, its training, and its checkpoints."""

from degrade.lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
