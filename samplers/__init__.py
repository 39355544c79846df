"""Samplers: steps from severity t to severity s, the loop that takes them, and the priors they start from."""

from degrade.lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
