"""Endless sets of drawn pictures, rendered in pure torch: human faces and animals, for demos without data."""

from experiments.drawn.animals import DrawnAnimals
from experiments.drawn.faces import DrawnFaces

__all__ = ["DrawnAnimals", "DrawnFaces"]
