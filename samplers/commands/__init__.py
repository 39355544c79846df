"""The commands of `python -m samplers` and of `degrade-restore`: restore pictures, generate images."""
