"""Whole tasks built on samplers: restoring a picture, estimating a severity, likelihood."""
