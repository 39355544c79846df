"""Fitting the parameters of a degradation to pairs of images."""
