"""InDI's pull: a share of the way from x_t to the guess.

    x_s = (s / t) x_t + (1 - s / t) x0_hat

(Delbracio and Milanfar, "Inversion by Direct Iteration", arXiv 2303.11435, 2023, without its noise.) It applies no
degradation at all, so it costs the least and knows no z. Where x_t = (1 - t / T) x0 + (t / T) z, the straight mixture,
it is Algorithm 1 and 2 with z estimated. Elsewhere its states leave the path of D, and R sees images it was not trained
on: for blur, say, a sum of a blurred and a sharp image. That may still work; it is not exact even for a perfect R.
"""

from __future__ import annotations

from degrade import Degradation
from degrade.functional.levels import compute_dtype
from samplers.base import Restore, Sampler, StepInput, StepOutput
from samplers.registry import register_sampler

__all__ = ["InDI"]


@register_sampler("indi")
class InDI(Sampler):
    """x_s = (s / t) x_t + (1 - s / t) x0_hat, whatever D is; z stays as it was.

    >>> import torch, degrade
    >>> D, x_t = degrade.make("blur", T=8), torch.ones(1, 1, 2, 2)
    >>> t, s = torch.tensor([8]), torch.tensor([6])
    >>> InDI()(D, lambda x_t, t: torch.zeros_like(x_t), x_t, t, s).x_s.mean().item()
    0.75
    """

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk a share of the way to the guess."""
        x0_hat = R(at.x_t, at.t)
        # In float32 at least: half precisions know no t = 999, and some not even t = 257.
        t, s = (level.to(compute_dtype(at.x_t.dtype)).view(-1, 1, 1, 1) for level in (at.t, at.s))
        share = s / t
        return StepOutput((share * at.x_t + (1 - share) * x0_hat).to(at.x_t.dtype), x0_hat, at.z)
