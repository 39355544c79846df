"""Samplers around another sampler: `AveragedPrediction`, `RePaint` and `MaskReplacement`.

**Averaged prediction.** The inner sampler is given the running average of the predictions,

    x0_bar <- momentum x0_bar + (1 - momentum) R(x_t, t),    from the first prediction on

It reduces random errors of single predictions, and gives weight to predictions at high severities. With momentum = 0
it is the inner sampler.

**RePaint** (Lugmayr et al., arXiv 2201.09865, 2022) repeats every step from t to s, and in between
degrades the result to t again:

    repeat:  x_s = step(x_t);  x_t ~ q(x_t | x_s)

For Gaussian noise q(x_t | x_s) = N((a_t / a_s) x_s, b_t^2 - (a_t b_s / a_s)^2), which does not depend on a prediction.
For a degradation without fresh randomness the way up is its own change under the last prediction,

    x_t = x_s + D(x0_hat, t, z) - D(x0_hat, s, z)

so Algorithm 1 goes back to D(x0_hat, t, z) and asks R about its own prediction: a fixed-point iteration. Algorithm 2
comes back to the very x_t it left, and repeating it changes nothing. The length of a step is t - s:
`spaced_timesteps(250, 25)` goes back ten levels. With repeats = 1 it is the inner sampler. The error of a long step
occurs at every repeat, so many repeats need short steps.

**Mask replacement** holds a part of the image at what is known of it, so that any restorer fills in a mask that it was
not trained on. With m = 1 where the image is known, there are two rules:

    forward     x0_hat <- m image + (1 - m) R(x_t, t), then the inner step, then x_s <- D(x0_hat, s, z) where m = 1
    guidance    the inner step with R(x_t, t), then x_s <- m D(image, s, z) + (1 - m) x_s

With `forward`, the estimated z explains x_t by the image that is known. So where D acts on each pixel alone (noise,
interpolation, masks) the known pixels are at every level what the forward process makes of them: q(x_s | x0) is the
distribution of D(image, s, z) for z as D draws it, which is RePaint's eq. 8. The paper draws them again at every level;
here `Ancestral` draws them from q(x_s | x_t, x0), so that they have the joint distribution of the forward process, too.
Under a blur the step moves the known part and the predicted rest as one image. The method of the RePaint paper is
`RePaint(MaskReplacement(DDPM(), ...))`.

With `guidance`, z explains x_t by the prediction of R. On x_t = a_t x0 + b_t z the known pixels then become

    x_s = a_s image + (b_s / b_t) (x_t - a_t image) + (a_t b_s / b_t) (image - R(x_t, t))

whose last term is not in q: it pushes R towards what is known. The known pixels leave the distribution that R was
trained on, but without repeats the push makes up for the rest not having been conditioned. For pairs of pixels
N(0, ((0.5, 0.4), (0.4, 0.5))), one known to be 0.6, an exact R and 30 steps of `Ancestral` through 60 levels, where the
mean of the other pixel is 0.48:

| rule, repeats | mean of the other (0.48) | its std (0.42) | mean of known pixels off q by | their std off by |
|---------------|--------------------------|----------------|------------------------------|------------------|
| forward, 1    | 0.29                     | 0.49           | 0.02 b_s                     | 0.02 b_s         |
| forward, 10   | 0.46                     | 0.35           | 0.03 b_s                     | 0.02 b_s         |
| guidance, 1   | 0.43                     | 0.41           | 1.02 b_s                     | 0.29 b_s         |
| guidance, 10  | 0.47                     | 0.34           | 0.86 b_s                     | 0.31 b_s         |

(8000 pairs; the largest deviation over all levels.)
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, Params
from degrade.frozen import frozen
from degrade.random import Generators, randn_like
from degrade.serializable import runtime_field
from restore import BaseRestorer, FunctionRestorer
from samplers.base import Sampler, StepInput, StepOutput
from samplers.registry import AnySampler, register_sampler
from samplers.steps.cold import Algorithm2
from samplers.steps.diffusion import DDPM

__all__ = ["AveragedPrediction", "MaskReplacement", "RePaint", "renoise"]


@frozen
class _Wrapper(Sampler):
    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the inner sampler cannot undo `D`."""
        inner: Sampler = self.sampler  # type: ignore[attr-defined]
        inner.check_compatible(D)


@register_sampler("averaged_prediction")
class AveragedPrediction(_Wrapper):
    """Another sampler, with a running average of the predictions in place of each prediction.

    Args:
        sampler: the other sampler.
        momentum: weight of the average so far, in [0, 1).

    >>> AveragedPrediction().arguments
    {'sampler': {'name': 'algorithm2', 'arguments': {'estimate': True}}, 'momentum': 0.5}
    """

    sampler: AnySampler = Algorithm2()
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the step of the inner sampler; the state is the average so far, and the inner sampler's state."""
        average, inner = at.state or (None, None)

        def averaged(x: Tensor, level: Tensor) -> Tensor:
            x0_hat: Tensor = R(x, level)
            return x0_hat if average is None else torch.lerp(x0_hat, average, self.momentum)

        out = self.sampler.step(FunctionRestorer(averaged, R.degradation), at._replace(state=inner))
        return out._replace(state=(out.x0_hat, out.state))


@register_sampler("repaint")
class RePaint(_Wrapper):
    """Another sampler that repeats every step, each time after degrading the result again.

    Args:
        sampler: the other sampler.
        repeats: number of times that every step from t to s is taken, 1 or more.

    >>> from samplers.registry import parse_sampler
    >>> parse_sampler("repaint:repeats=3,sampler=ddim:eta=0.5").sampler
    DDIM(eta=0.5)
    """

    sampler: AnySampler = DDPM()
    repeats: Annotated[int, Field(ge=1)] = 10

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the last of the repeated steps of the inner sampler."""
        out = self.sampler.step(R, at)
        for _ in range(self.repeats - 1):
            x_t, z = renoise(R.degradation, out, at.s, at.t, at.generator)
            out = self.sampler.step(R, at._replace(x_t=x_t, z=z, state=out.state))
        return out


def renoise(
    D: Degradation, out: StepOutput, s: Tensor, t: Tensor, generator: Generators = None
) -> tuple[Tensor, Params]:
    """Return images (B, C, H, W) at severity t > s that degrade `out.x_s` further, and the z in them.

    Args:
        D: the degradation.
        out: a step that ended at severities s.
        s: (B,) int64 severities of `out.x_s`.
        t: (B,) int64 severities, t > s.
        generator: for the noise that is added where D is Gaussian noise.

    >>> import degrade
    >>> D, x_s = degrade.make("decolor", T=4), torch.rand(1, 3, 4, 4)
    >>> x_t, z = renoise(D, StepOutput(x_s, x0_hat=x_s, z=None), torch.tensor([0]), torch.tensor([3]))
    >>> torch.allclose(x_t, D(x_s, torch.tensor([3])))
    True
    """
    x_s, x0_hat, z, _ = out
    if not (D.additive and D.gaussian):
        return x_s - D.delta(x0_hat, t, s, z), z
    (a_t, b_t), (a_s, b_s) = D.coefficients(t, x_s), D.coefficients(s, x_s)
    kept = a_t / a_s
    x_t = kept * x_s + (b_t**2 - (kept * b_s) ** 2).clamp(min=0).sqrt() * randn_like(x_s, generator)
    x_t = x_t.to(x_s.dtype)  # the coefficients have the compute precision, which is float32 at least
    return x_t, D.estimate(x_t, x0_hat, t, z)


@register_sampler("mask_replacement")
class MaskReplacement(_Wrapper):
    """Another sampler that keeps the known part of an image.

    Args:
        sampler: the other sampler.
        image: (B or 1, C, H, W) clean images, right where they are known; a runtime field, not saved.
        mask: (B or 1, C or 1, H, W) bool, or in [0, 1]; true (1) where the image is missing; a runtime field, too.
        rule: `forward`, which keeps the known part where the forward process has it, or `guidance`; see the module.

    With a trained model (drawn faces of 32 pixels, T = 200, x0 predicted, 1,200 steps of batch 16; 50 steps of `DDPM`,
    a hole of 12 x 16 pixels in 32 unseen faces): the RMSE in the hole, the mean difference of neighbors across its edge
    (0.157 in the faces themselves), and the standard deviation between two samples. The mean face has RMSE 0.416. So
    `guidance` is nearer to the face and has the weaker seam, `forward` has more variety, and more repeats help neither:
    the errors of a model after so short a training add up over 250 predictions.

    | rule, repeats | RMSE  | edge  | std   |
    |---------------|-------|-------|-------|
    | forward, 1    | 0.477 | 0.220 | 0.302 |
    | guidance, 1   | 0.433 | 0.186 | 0.182 |
    | forward, 5    | 0.608 | 0.286 | 0.312 |
    | guidance, 5   | 0.560 | 0.270 | 0.230 |

    >>> import degrade
    >>> from samplers import sample
    >>> R = FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), degrade.make("gaussian_noise", T=10))
    >>> image, mask = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[False, True]]]])
    >>> x_0 = sample(R, MaskReplacement(image=image, mask=mask), torch.ones(1, 1, 1, 2))
    >>> x_0.flatten().round(decimals=6).abs().tolist()
    [0.5, 0.0]
    """

    sampler: AnySampler = Algorithm2()
    image: Any = runtime_field(default=None, compare=False)
    mask: Any = runtime_field(default=None, compare=False)
    rule: Literal["forward", "guidance"] = "forward"

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the inner sampler cannot undo `D`, or image or mask is not given."""
        if self.image is None or self.mask is None:
            raise ValueError(
                "mask_replacement lacks its image or mask; give both: dataclasses.replace(sampler, image=..., mask=...)"
            )
        super().check_compatible(D)

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the step of the inner sampler, with the known part held."""
        D = R.degradation
        image, known = self._like("image", self.image, at.x_t), 1 - self._like("mask", self.mask, at.x_t)
        if self.rule == "guidance":
            out = self.sampler.step(R, at)
            return out._replace(x_s=known * D(image, at.s, out.z) + (1 - known) * out.x_s)

        def conditioned(x_t: Tensor, t: Tensor) -> Tensor:
            # No product: what R returns for a pixel that is known may be anything, infinity included.
            return torch.where(known == 1, image, known * image + (1 - known) * R(x_t, t))

        out = self.sampler.step(FunctionRestorer(conditioned, D), at)
        # A step with estimated z has done so already; one that keeps z has not.
        return out._replace(x_s=torch.where(known == 1, D(out.x0_hat, at.s, out.z), out.x_s))

    def _like(self, name: str, value: Tensor, x: Tensor) -> Tensor:
        """Return `image` or `mask`, expanded to the shape of the images `x`."""
        if value.ndim != 4 or any(n not in (1, N) for n, N in zip(value.shape, x.shape)):
            found, needed = tuple(value.shape), (1, *x.shape[1:])
            raise ValueError(
                f"mask_replacement has {name} of shape {found} for images {tuple(x.shape)}; it needs {needed}, or one"
                " for each of them"
            )
        return value.to(x).expand_as(x)
