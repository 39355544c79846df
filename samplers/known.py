"""Known pixels: a walk that keeps a part of the image as it is given.

After the inner step, the known part of x_s is replaced by the known image degraded to severity s:

    x_s <- m D(known, s, z) + (1 - m) x_s,    m = 1 where the image is known

(Lugmayr et al., "RePaint", arXiv 2201.09865, 2022, eq. 8), so that any restorer, trained on noise or on something cold,
fills in a mask it never saw. z is the one the step gave x_s, where the paper draws new noise for the known part: both
have the right distribution, and this one needs no case for any D. It is exact where D acts on each pixel alone (noise,
interpolation, masks); under a blur the known part bleeds into the rest. RePaint is `Resample(Known(DDPM(), ...))`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from degrade import Degradation
from samplers.registry import AnyStep, register_step
from samplers.step import Restore, Stage, Step, Walked
from samplers.steps import Algorithm2

__all__ = ["Known"]


@register_step("known")
class Known(Step):
    """Another step, with the known part of the image put back after it.

    Args:
        step: the other step.
        image: (B or 1, C, H, W) clean images, right where they are known; live, so not among the saved arguments.
        mask: (B or 1, C or 1, H, W) in [0, 1], 1 where they are known; live too.

    >>> import torch, degrade
    >>> from samplers import sample
    >>> D, image = degrade.make("gaussian_noise", T=10), torch.full((1, 1, 1, 2), 0.5)
    >>> step = Known(image=image, mask=torch.tensor([[[[1.0, 0.0]]]]))
    >>> sample(D, lambda x_t, t: torch.zeros_like(x_t), step, torch.ones(1, 1, 1, 2)).flatten().tolist()
    [0.5, 0.0]
    """

    step: AnyStep = Algorithm2()
    image: Any = dataclasses.field(default=None, compare=False, repr=False)
    mask: Any = dataclasses.field(default=None, compare=False, repr=False)

    def accept(self, D: Degradation) -> None:
        """Raise ValueError if the inner step does not apply to `D`, or nothing is known."""
        if self.image is None or self.mask is None:
            raise ValueError("known lacks its image or mask; give both: dataclasses.replace(step, image=..., mask=...)")
        self.step.accept(D)

    def walk(self, D: Degradation, R: Restore, at: Stage) -> Walked:
        """Walk as the inner step would, and put the known part back."""
        walked = self.step.walk(D, R, at)
        known = D(self.image.to(at.x_t).expand_as(at.x_t), at.s, walked.z)
        mask = self.mask.to(at.x_t)
        return walked._replace(x_s=mask * known + (1 - mask) * walked.x_s)
