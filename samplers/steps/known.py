"""Known pixels: a walk that keeps a part of the image as it is given.

Any restorer, trained on noise or on something cold, then fills in a mask it never saw. With m = 1 where the image is
known, there are two rules:

    forward     x0_hat <- m known + (1 - m) R(x_t, t), then the inner step, then x_s <- D(x0_hat, s, z) where m = 1
    guidance    the inner step with R(x_t, t), then x_s <- m D(known, s, z) + (1 - m) x_s

By the rule `forward` the z that is estimated explains x_t by the image that is known. So where D acts on each pixel
alone (noise, interpolation, masks) the known pixels are at every level what the forward process makes of them,

    q(x_s | x0) = the law of D(known, s, z), z as D draws it

which is RePaint's eq. 8 (Lugmayr et al., arXiv 2201.09865, 2022). The paper draws them anew at every level; here
`ancestral` draws them from q(x_s | x_t, x0), so that they have the joint law of the forward process, too. Under a blur
the step moves the known part and the guess of the rest as one image. RePaint is `RePaint(MaskReplacement(DDPM(),
...))`.

By the rule `guidance` z explains x_t by R's guess. In a mixture the known pixels then become

    x_s = a_s known + (b_s / b_t) (x_t - a_t known) + (a_t b_s / b_t) (known - R(x_t, t))

whose last term is not in q: it pushes R towards what is known. The known pixels leave what R was trained on, but
without repeats the push makes up for the rest not having been told. For pairs of pixels N(0, ((0.5, 0.4), (0.4, 0.5))),
one known to be 0.6, an exact R and 30 steps of `ancestral` through 60 levels, where the other one's mean is 0.48:

| rule, repeats | mean of the other (0.48) | its std (0.42) | mean of known pixels off q by | their std off by |
|---------------|--------------------------|----------------|------------------------------|------------------|
| forward, 1    | 0.29                     | 0.49           | 0.02 b_s                     | 0.02 b_s         |
| forward, 10   | 0.46                     | 0.35           | 0.03 b_s                     | 0.02 b_s         |
| guidance, 1   | 0.43                     | 0.41           | 1.02 b_s                     | 0.29 b_s         |
| guidance, 10  | 0.47                     | 0.34           | 0.86 b_s                     | 0.31 b_s         |

(8000 pairs; off q at most, over all levels.)
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from degrade import Degradation
from samplers.base import Restore, Sampler, StepInput, StepOutput
from samplers.registry import AnySampler, register_sampler
from samplers.steps.diffusion import Algorithm2

__all__ = ["MaskReplacement"]


@register_sampler("known")
class MaskReplacement(Sampler):
    """Another step, with a part of the image held to what is known of it.

    Args:
        step: the other step.
        image: (B or 1, C, H, W) clean images, right where they are known; live, so not among the saved arguments.
        mask: (B or 1, C or 1, H, W) in [0, 1], 1 where they are known; live too.
        rule: `forward`, which keeps the known part where the forward process has it, or `guidance`; see the module.

    >>> import torch, degrade
    >>> from samplers import sample
    >>> D, image = degrade.make("gaussian_noise", T=10), torch.full((1, 1, 1, 2), 0.5)
    >>> step = MaskReplacement(image=image, mask=torch.tensor([[[[1.0, 0.0]]]]))
    >>> x_0 = sample(D, lambda x_t, t: torch.zeros_like(x_t), step, torch.ones(1, 1, 1, 2))
    >>> x_0.flatten().round(decimals=6).abs().tolist()
    [0.5, 0.0]
    """

    step: AnySampler = Algorithm2()
    image: Any = dataclasses.field(default=None, compare=False, repr=False)
    mask: Any = dataclasses.field(default=None, compare=False, repr=False)
    rule: Literal["forward", "guidance"] = "forward"

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the inner step does not apply to `D`, or nothing is known."""
        if self.image is None or self.mask is None:
            raise ValueError("known lacks its image or mask; give both: dataclasses.replace(step, image=..., mask=...)")
        self.step.check_compatible(D)

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk as the inner step would, with the known part held."""
        image, mask = self._like("image", self.image, at.x_t), self._like("mask", self.mask, at.x_t)
        if self.rule == "guidance":
            walked = self.step.walk(D, R, at)
            return walked._replace(x_s=mask * D(image, at.s, walked.z) + (1 - mask) * walked.x_s)

        def told(x_t: Tensor, t: Tensor) -> Tensor:
            # No product: what R says of a pixel that is known may be anything.
            return torch.where(mask == 1, image, mask * image + (1 - mask) * R(x_t, t))

        walked = self.step.walk(D, told, at)
        # The step has done so already if it estimated z; with a z that is kept it has not.
        return walked._replace(x_s=torch.where(mask == 1, D(walked.x0_hat, at.s, walked.z), walked.x_s))

    def _like(self, name: str, value: Tensor, x: Tensor) -> Tensor:
        """Return the image or the mask, expanded to the shape of the images `x`."""
        if value.ndim != 4 or any(n not in (1, N) for n, N in zip(value.shape, x.shape)):
            found, needed = tuple(value.shape), (1, *x.shape[1:])
            raise ValueError(
                f"known has the {name} {found} for images {tuple(x.shape)}; it needs {needed}, or one for each of them"
            )
        return value.to(x).expand_as(x)
