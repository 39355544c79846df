"""Conditioned restorers: one noise model restores what any known degradation has done to an image.

Let y = D_y(x0, t_y, z_y) + noise be a *measurement*, and R a restorer of Gaussian noise, x_t = a_t x0 + b_t eps, whose
output estimates E[x0 | x_t]. A *rule* turns that into an estimate of E[x0 | x_t, y]:

| rule             | x0_hat becomes                                                                 | source         |
|------------------|--------------------------------------------------------------------------------|----------------|
| `projection`     | argmin_v of |D_y(v) - y|^2 + (noise / spread)^2 |v - x0_hat|^2                 | DDNM (2022)    |
| `proximal`       | the same with the weight lambda noise^2 / (b_t / a_t)^2                        | DiffPIR (2023) |
| `pseudo_inverse` | x0_hat + k (b_t^2 / a_t) J^T A^T (r_t^2 A A^T + noise^2)^-1 (y - D_y(x0_hat))  | PiGDM (2023)   |
| `gradient`       | x0_hat - k (b_t^2 / a_t) grad |y - D_y(x0_hat)|^2 / (2 (noise^2 + r_t^2))      | DPS (2023)     |

with A the linear part of D_y, J = d x0_hat / d x_t, grad the gradient with respect to x_t, and r_t^2 the variance of x0
given x_t that images of standard deviation `spread` would have,

    r_t^2 = spread^2 q_t / (spread^2 + q_t),    q_t = (b_t / a_t)^2

`pseudo_inverse` with k = 1 is the exact posterior mean where Cov[x0 | x_t] = r_t^2 I, because Tweedie's formula says
Cov[x0 | x_t] = C = (b_t^2 / a_t) J. Pictures have another covariance: it reaches q_t > r_t^2 for what is alike over
many pixels, and a step of k = 1 goes beyond its aim there by q_t / r_t^2, so that it diverges. By default k is the best
length of the step d in the same model, x0 ~ N(x0_hat, C),

    k = argmin |y - D_y(x0_hat + k d)|^2 / noise^2 + k^2 <v, d>,    d = C v

which is 1 where the rule is exact, and needs no J again: C^-1 d = v is the correction before J^T. `projection` and
`pseudo_inverse` need an affine D_y; the others take every differentiable one. Only `projection` makes sense around a
restorer of another degradation than noise: it keeps the answers of a cold restorer consistent with a picture.

A conditioned restorer is a restorer, so every sampler of this project can use it. Those that draw much of the noise
again do best, `ancestral:variance=constant` (see `samplers.applications.conditioning`). With it, `proximal` is DDRM
(Kawar et al., arXiv 2201.11793, eq. 7 and 8) with a gradual change from the prediction to the measurement, where DDRM
has an abrupt one at sigma_t = noise / s, s the singular value of A. (DDNM: Wang et al.,
arXiv 2212.00490. DiffPIR: Zhu et al., arXiv 2305.08995. PiGDM: Song et al., ICLR 2023. DPS: Chung et al., arXiv
2209.14687.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, Params, map_params
from degrade.constants import ROUNDING_NOISE
from degrade.frozen import frozen
from degrade.params import need_params
from degrade.registry import Registry
from degrade.serializable import Serializable
from restore.base_restorer import BaseRestorer, WrappedRestorer
from restore.descent import descend, dot, step_length

__all__ = [
    "RULES",
    "Conditioned",
    "Gradient",
    "Measurement",
    "Projection",
    "Proximal",
    "PseudoInverse",
    "Rule",
    "register_rule",
]

Positive = Annotated[float, Field(gt=0)]


class Measurement(NamedTuple):
    """What is known of the images: y = D(x0, t, z) + noise.

    Args:
        degradation: the operator D that made y from the clean images.
        y: (B, C, H, W) degraded images in [-1, 1], or (1, C, H, W) for one picture that several samples share.
        t: (B,) or (1,) int64 severities of y in 1..T of D.
        z: the parameters of D in y, as `D.draw` returns them; None where D has none.
        noise: standard deviation of the error of y, in the units of y; by default that of rounding to 8 bits, 0.0023.
    """

    degradation: Degradation
    y: Tensor
    t: Tensor
    z: Params = None
    noise: float = ROUNDING_NOISE


class Prediction(NamedTuple):
    """What a rule is given: x_t (B, C, H, W), t (B,), q_t = (b_t / a_t)^2 and b_t^2 / a_t (B, 1, 1, 1), or None."""

    x_t: Tensor
    t: Tensor
    q_t: Tensor | None
    gain: Tensor | None


@frozen
class Rule(Serializable):
    """How a prediction of the clean images is corrected by a measurement; subclasses implement `correct`.

    `affine` says that the rule needs an affine degradation, `noise_model` that it needs a restorer of Gaussian noise.
    """

    affine: ClassVar[bool] = True
    noise_model: ClassVar[bool] = True

    def correct(self, R: BaseRestorer, at: Prediction, m: Measurement) -> Tensor:
        """Return the estimate (B, C, H, W) of E[x0 | x_t, y]."""
        raise NotImplementedError(f"{type(self).__name__} does not define correct(R, at, m)")


RULES = Registry(Rule, "rule", "restore.rule_plugins")
register_rule = RULES.register


@register_rule("projection")
class Projection(Rule):
    """Replace what the measurement determines, and keep the prediction where it determines nothing.

    The noise of y comes back in every step, amplified by up to spread / (2 noise), so a noisy y wants `proximal`: for a
    blur with noise of 0.02 it reaches 22.6 dB, where this rule has 17.1 (`experiments/results/deepinv.json`).

    Args:
        spread: standard deviation that images have, in the units of images in [-1, 1].
    """

    noise_model: ClassVar[bool] = False

    spread: Positive = 0.5

    def correct(self, R: BaseRestorer, at: Prediction, m: Measurement) -> Tensor:
        """Return prox(x0_hat) with the weight (noise / spread)^2."""
        return m.degradation.prox(R(at.x_t, at.t), m.y, m.t, m.z, (m.noise / self.spread) ** 2)


@register_rule("proximal")
class Proximal(Rule):
    """Weigh the prediction against the measurement by the noise that x_t still holds.

    Of a D_y that is not affine, such as JPEG, the minimum is approached in some steps (`restore.descent`).

    Args:
        weight: lambda, the weight of the prediction; larger values trust the restorer more. With 1, the prediction has
            the error (b_t / a_t)^2 I, the noise in x_t.
    """

    affine: ClassVar[bool] = False

    weight: Positive = 1.0

    def correct(self, R: BaseRestorer, at: Prediction, m: Measurement) -> Tensor:
        """Return prox(x0_hat) with the weight lambda noise^2 / q_t."""
        assert at.q_t is not None
        rho, x0_hat = self.weight * m.noise**2 / at.q_t, R(at.x_t, at.t)
        if not m.degradation.affine:
            return descend(lambda v: m.degradation(v, m.t, m.z), x0_hat, m.y, rho)
        return m.degradation.prox(x0_hat, m.y, m.t, m.z, rho.flatten())


@register_rule("pseudo_inverse")
class PseudoInverse(Rule):
    """Follow the gradient of log p(y | x_t) for Gaussian p(x0 | x_t), through the derivative of the restorer.

    Args:
        spread: standard deviation that images have, in the units of images in [-1, 1].
        scale: length k of the step, such as the 1 of PiGDM, or None for the best one. With 1 and neighbors that are
            alike, a spread of 0.5 diverges and 2 does not (`experiments/bench/deepinv_comparison.py` has such images).
    """

    spread: Positive = 0.5
    scale: Positive | None = None

    def correct(self, R: BaseRestorer, at: Prediction, m: Measurement) -> Tensor:
        """Return x0_hat + k (b_t^2 / a_t) J^T v, v = (prox(x0_hat) - x0_hat) / r_t^2, with the weight noise^2 / r_t^2.

        A^T (r^2 A A^T + noise^2)^-1 = (r^2 A^T A + noise^2)^-1 A^T, which is the step to the proximal point.
        """
        assert at.q_t is not None
        r2 = _variance(at.q_t, self.spread)

        def pull(x0_hat: Tensor) -> Tensor:
            return (m.degradation.prox(x0_hat, m.y, m.t, m.z, (m.noise**2 / r2).flatten()) - x0_hat) / r2

        return _guided(R, at, m, pull, self.scale)


@register_rule("gradient")
class Gradient(Rule):
    """Take a step along the negative gradient of the misfit; also for degradations that are not affine, such as snow.

    Args:
        scale: length k of the step, or None for the best one. 1 is the step of a Gaussian p(x0 | x_t) where A A^T is
            the identity; see `PseudoInverse` for when it diverges.
        spread: standard deviation that images have, in the units of images in [-1, 1].
    """

    affine: ClassVar[bool] = False

    scale: Positive | None = None
    spread: Positive = 0.5

    def correct(self, R: BaseRestorer, at: Prediction, m: Measurement) -> Tensor:
        """Return x0_hat - k (b_t^2 / a_t) grad |y - D_y(x0_hat)|^2 / (2 (noise^2 + r_t^2))."""
        assert at.q_t is not None
        variance = m.noise**2 + _variance(at.q_t, self.spread)

        def descent(x0_hat: Tensor) -> Tensor:
            x0_hat.requires_grad_()
            misfit = (m.y - m.degradation(x0_hat, m.t, m.z)).square() / (2 * variance)
            return -torch.autograd.grad(misfit.sum(), x0_hat)[0]

        return _guided(R, at, m, descent, self.scale)


class Conditioned(WrappedRestorer):
    """A restorer whose predictions are corrected by a measurement: (x_t, t) -> an estimate of E[x0 | x_t, y].

    Args:
        R: the restorer; of Gaussian noise, but for the rule `projection`.
        measurement: the measurement y of the images, and how it was made.
        rule: how the two are combined: a rule, or a text such as "proximal" or "proximal:weight=3".

    Raises:
        ValueError: if the noise is not positive, y is no batch of images, the z that was drawn is not known, the
            degradation is not affine and the rule needs that, or R is not a noise model and the rule needs that.

    >>> import degrade
    >>> from restore import FunctionRestorer
    >>> R = FunctionRestorer(lambda x_t, t: x_t, degrade.make("gaussian_noise", T=10))
    >>> D, y = degrade.make("decolor", T=4), torch.full((1, 3, 8, 8), 0.5)
    >>> conditioned = Conditioned(R, Measurement(D, y, torch.tensor([4])), "projection")
    >>> x0_hat = conditioned(torch.zeros(1, 3, 8, 8), torch.tensor([5]))
    >>> torch.allclose(x0_hat.mean(1), y.mean(1), atol=1e-3)
    True
    """

    def __init__(self, R: BaseRestorer, measurement: Measurement, rule: Rule | str = "proximal") -> None:
        super().__init__(R)
        self.measurement = measurement
        self.rule = RULES.from_dict(rule)
        self._check()

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean images (B, C, H, W) from x_t (B, C, H, W) at severities t (B,) and the measurement."""
        m = self.measurement
        if m.y.shape[1:] != x_t.shape[1:] or len(m.y) not in (1, len(x_t)):
            found, expected = tuple(m.y.shape), tuple(x_t.shape)
            raise ValueError(f"the measurement has images {found} and x_t has {expected}; their sizes must agree")
        if len(m.y) < len(x_t):
            z = map_params(lambda part: part.expand(len(x_t), *part.shape[1:]), m.z)
            m = m._replace(y=m.y.expand(len(x_t), -1, -1, -1), t=m.t.expand(len(x_t)), z=z)
        q_t = gain = None
        if self.rule.noise_model:
            a_t, b_t = self.degradation.coefficients(t, x_t)
            q_t, gain = (b_t / a_t) ** 2, b_t**2 / a_t
        R = self.R.with_cond(**cond) if cond else self.R
        return self.rule.correct(R, Prediction(x_t, t, q_t, gain), m).to(x_t.dtype)

    def _check(self) -> None:
        m, rule, D = self.measurement, self.rule, self.degradation
        if not m.noise > 0:
            raise ValueError(f"noise is {m.noise}; a measurement has some error: give its standard deviation, above 0")
        if m.y.ndim != 4 or m.t.shape not in ((1,), m.y.shape[:1]):
            found = f"y {tuple(m.y.shape)} and t {tuple(m.t.shape)}"
            raise ValueError(f"the measurement has {found}; it needs images (B, C, H, W) and severities (B,) or (1,)")
        need_params(m.degradation, m.z)
        if rule.affine and not m.degradation.affine:
            name = m.degradation.name
            raise ValueError(f"rule {rule.name!r} needs an affine degradation, not {name!r}: use the rule 'proximal'")
        if rule.noise_model and not (D.additive and D.gaussian):
            raise ValueError(
                f"rule {rule.name!r} needs a restorer of Gaussian noise, and this one restores {D.name!r}:"
                " use a noise model, or the rule 'projection'"
            )


def _variance(q_t: Tensor, spread: float) -> Tensor:
    """Return r_t^2 = spread^2 q_t / (spread^2 + q_t)."""
    return spread**2 * q_t / (spread**2 + q_t)


def _guided(
    R: BaseRestorer, at: Prediction, m: Measurement, pull: Callable[[Tensor], Tensor], scale: float | None
) -> Tensor:
    """Return x0_hat + k d with x0_hat = R(x_t, t), d = (b_t^2 / a_t) J^T v and v = pull(x0_hat); k is the scale."""
    assert at.gain is not None
    # A sampler may run in inference mode, whose tensors autograd refuses: the copy is an ordinary one.
    with torch.inference_mode(False), torch.enable_grad():
        x_t = at.x_t.clone().requires_grad_()
        x0_hat = R(x_t, at.t.clone())
        v = pull(x0_hat.detach().clone())
        (pulled,) = torch.autograd.grad(x0_hat, x_t, v)
    guess: Tensor = x0_hat.detach()
    d: Tensor = at.gain * pulled
    if scale is not None:
        return guess + scale * d
    fitted = m.degradation(guess, m.t, m.z)
    change = m.degradation(guess + d, m.t, m.z) - fitted
    return guess + step_length(m.y - fitted, change, m.noise**2 * dot(v, d).clamp(min=0)) * d
