"""Checkpoints: saving, loading and resuming a training."""
