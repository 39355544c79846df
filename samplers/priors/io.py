"""Priors saved with a model: `restore.save(..., prior=...)` writes one, `load_prior` reads it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from degrade import make
from degrade.serializable import is_runtime
from restore import latest
from restore.checkpoint.config import read_checkpoint_config
from samplers.priors.base import PRIORS, Prior

__all__ = ["load_prior"]


def load_prior(folder: str | Path, **live: Any) -> Prior:
    """Return the prior that was saved with the newest checkpoint in `folder`.

    Args:
        folder: folder of the checkpoints, or of the run, or one checkpoint.
        **live: what no file can hold: D, a source of images, a device. Those that the prior has no use for are left
            aside; without D, it is rebuilt from the checkpoint.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it holds no prior, or the prior needs a live object that is not given.
    """
    checkpoint = latest(folder)
    specification = read_checkpoint_config(checkpoint)
    spec = specification.prior
    if spec is None:
        raise ValueError(f"{checkpoint} holds no prior: fit one with samplers.fit_prior(D, images)")
    cls = PRIORS.get(spec.name)
    fields = {field.name: field for field in dataclasses.fields(cls) if is_runtime(field)}
    given = {name: value for name, value in live.items() if name in fields}
    if "D" in fields and "D" not in given:
        given["D"] = make(specification.degradation.name, **specification.degradation.arguments)
    missing = [name for name, field in fields.items() if name not in given and field.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"the prior {spec.name!r} of {checkpoint} needs it: load_prior(folder, {missing[0]}=...)")
    return PRIORS.make(spec.name, **spec.arguments, **given)
