"""Degradations: one file for each operator."""
