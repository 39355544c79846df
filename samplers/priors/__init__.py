"""Priors over x_T: where a trajectory starts."""
