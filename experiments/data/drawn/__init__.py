"""Endless sets of drawn pictures, rendered in pure torch: human faces and animals, for demos without data."""

from experiments.data.drawn.animals import DrawnAnimals
from experiments.data.drawn.faces import DrawnFaces

__all__ = ["DrawnAnimals", "DrawnFaces"]
