"""Samplers: one file for each family."""
