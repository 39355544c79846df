"""The laws of `degrade.base`, run on any degradation.

`check(D, x0)` is meant for the author of a new degradation: it returns what it measured, law by law, or raises a
`LawError` that names each broken law, the input on which it broke and by how much.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.base import Degradation, Params, expand_level, map_params
from degrade.declarations import Deviation, largest_difference, measure_declarations
from degrade.registry import make

__all__ = ["LAWS", "LawError", "LawResult", "check", "measure"]

# Largest difference that counts as equal, where a result may be computed in another order.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


class LawResult(NamedTuple):
    """What one law was found to be off by, where it was worst, and how much it may be."""

    law: str
    error: float
    location: str
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the law holds (an error that is not a number does not)."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        sign = "holds" if self.passed else "BROKEN"
        location = f", {self.location}" if self.error else ""  # nan is true
        return f"{self.law:<13} {sign:<6} off by {self.error:.2g} (at most {self.tolerance:.2g}){location}"


class LawError(ValueError):
    """A degradation breaks its contract; the message says which law, on which input, by how much."""


class Case(NamedTuple):
    """A degradation, clean images, one draw of z for them, and the generator's seed behind it."""

    D: Degradation
    x0: Tensor
    z: Params
    seed: int

    def draw(self) -> Params:
        """Draw the same z again."""
        return self.D.draw(self.x0, torch.Generator(self.x0.device).manual_seed(self.seed))

    def levels(self, first: int) -> list[int]:
        """All severities from `first` when there are few, else both ends and a few between."""
        T = self.D.T
        return [t for t in range(T + 1) if T <= 16 or t in {0, 1, 2, T // 4, T // 2, T - 1, T}][first:]

    def expand_level(self, t: int) -> Tensor:
        """Severity t for every image."""
        return expand_level(t, self.x0)


def identity(case: Case) -> Iterator[Deviation]:
    """D(x0, 0, z) = x0."""
    yield largest_difference(case.D(case.x0, case.expand_level(0), case.z), case.x0), "t = 0"


def function(case: Case) -> Iterator[Deviation]:
    """Equal arguments give equal results; arguments stay as they are; chance comes from the generator alone."""
    D, x0 = case.D, case.x0
    before, host_state = x0.clone(), torch.random.get_rng_state()
    for t in case.levels(0):
        x_t = D(x0, case.expand_level(t), case.z)
        yield (0.0 if x_t.shape == x0.shape else math.inf), f"shape {tuple(x_t.shape)} at t = {t}"
        yield largest_difference(x_t, D(x0, case.expand_level(t), case.z)), f"the same call twice, t = {t}"
        yield largest_difference(x_t, D(x0, case.expand_level(t), case.draw())), f"z drawn twice from one seed, t = {t}"
    yield largest_difference(x0, before), "x0 changed in place"
    same = torch.equal(host_state, torch.random.get_rng_state())
    yield (0.0 if same else math.inf), "numbers taken from torch's global generator"


def consistency(case: Case) -> Iterator[Deviation]:
    """D(x0', t, estimate(x_t, x0', t, z)) = x_t when x_t = D(x0', t, z)."""
    for t in case.levels(1):
        x_t = case.D(case.x0, case.expand_level(t), case.z)
        z = case.D.estimate(x_t, case.x0, case.expand_level(t), case.z)
        yield largest_difference(case.D(case.x0, case.expand_level(t), z), x_t), f"t = {t}"


def independence(case: Case) -> Iterator[Deviation]:
    """Image i of the result depends on image i of the arguments only."""
    D, x0 = case.D, case.x0
    others = x0.clone()
    others[1:] = -others[1:].flip(-1)
    z_others = map_params(lambda v: torch.cat([v[:1], v[1:].flip(0)]), case.z)
    for t in case.levels(0):
        mixed = case.expand_level(t)
        mixed[1:] = D.T - t
        alone = D(x0, case.expand_level(t), case.z)[:1]
        yield largest_difference(D(others, mixed, z_others)[:1], alone), f"image 0 at t = {t}, all others changed"


def batching(case: Case) -> Iterator[Deviation]:
    """A batch of mixed severities equals the calls one by one; dtype and device are those of x0."""
    D, x0, z = case.D, case.x0, case.z
    levels = torch.tensor(case.levels(0), device=x0.device)
    for first in range(0, len(levels), len(x0)):
        t = levels[(torch.arange(len(x0), device=x0.device) + first) % len(levels)]
        batch = D(x0, t, z)
        for i in range(len(x0)):
            row = slice(i, i + 1)
            alone = D(x0[row], t[row], map_params(operator.itemgetter(row), z))
            yield largest_difference(batch[row], alone), f"image {i} of {len(x0)}, t = {int(t[i])}"
    for dtype in (torch.float32, torch.bfloat16):
        x_t = D(x0.to(dtype), case.expand_level(D.T), z)
        kept = x_t.dtype == dtype and x_t.device == x0.device
        yield (0.0 if kept else math.inf), f"{dtype} on {x0.device} became {x_t.dtype} on {x_t.device}"


def difference(case: Case) -> Iterator[Deviation]:
    """D.delta(x0, t, s, z) = D(x0, s, z) - D(x0, t, z), for one pair of severities and for a batch of mixed pairs."""
    D, x0, z = case.D, case.x0, case.z
    levels = case.levels(0)
    pairs = [(case.expand_level(t), case.expand_level(s)) for t, s in [*pairwise(levels[::-1]), (D.T, 0), (0, D.T)]]
    mixed = [torch.tensor([values[i % len(values)] for i in range(len(x0))]) for values in (levels[::-1], levels)]
    for t, s in [*pairs, (mixed[0].to(x0.device), mixed[1].to(x0.device))]:
        yield largest_difference(D.delta(x0, t, s, z), D(x0, s, z) - D(x0, t, z)), f"t = {t.tolist()}, s = {s.tolist()}"


def adjointness(case: Case) -> Iterator[Deviation]:
    """<A u, v> = <u, A^T v> for the linear part A of an affine D, relative to |u| |v|."""
    D, u, z = case.D, case.x0, case.z
    v = u.flip(-1) - 0.5 * u.roll(1, 0)
    for t in case.levels(0):
        level = case.expand_level(t)
        Au = D(u, level, z) - D(torch.zeros_like(u), level, z)
        gap = (Au * v).double().sum() - (u * D.adjoint(v, level, z)).double().sum()
        yield float(gap.abs() / (u.double().norm() * v.double().norm())), f"t = {t}"


def proximity(case: Case) -> Iterator[Deviation]:
    """The gradient A^T (D(v) - x_t) + rho (v - x) vanishes at v = prox, which is x for rho -> infinity."""
    D, x, z = case.D, case.x0, case.z
    for t in case.levels(0):
        level, x_t = case.expand_level(t), x.flip(-1)
        v = D.prox(x, x_t, level, z, rho=0.1)
        gradient = D.adjoint(D(v, level, z) - x_t, level, z) + 0.1 * (v - x)
        yield largest_difference(gradient, torch.zeros_like(x)), f"gradient of the objective at prox, t = {t}"
        yield largest_difference(D.prox(x, x_t, level, z, rho=1e12), x), f"rho = 1e12, t = {t}"


def drawing(case: Case) -> Iterator[Deviation]:
    """With one generator for each image, z of an image is what that generator gives it alone."""
    D, x0 = case.D, case.x0

    def own(i: int) -> torch.Generator:
        return torch.Generator(x0.device).manual_seed(case.seed + 1 + i)

    try:
        together = D.draw(x0, [own(i) for i in range(len(x0))])
    except Exception as error:  # of any kind: the code is not ours
        yield math.inf, f"draw with a list of generators, one for each image: {type(error).__name__}: {error}"
        return
    for i in range(len(x0)):
        row = slice(i, i + 1)
        alone = D.draw(x0[row], [own(i)])
        z = map_params(operator.itemgetter(row), together)
        for t in case.levels(1):
            level = case.expand_level(t)[row]
            yield (
                largest_difference(D(x0[row], level, z), D(x0[row], level, alone)),
                f"z of image {i} drawn alone, t = {t}",
            )


def rebuilding(case: Case) -> Iterator[Deviation]:
    """The registered name and the arguments rebuild an equal degradation."""
    D = case.D
    if not D.name:
        yield math.inf, f"{type(D).__name__} has no name: decorate it with @degrade.register('...')"
        return
    again = make(D.name, **D.arguments, **D.runtime)
    yield (0.0 if again == D else math.inf), f"{D!r} became {again!r}"
    x_T, x_T_again = (each(case.x0, case.expand_level(D.T), case.z) for each in (D, again))
    yield largest_difference(x_T_again, x_T), f"t = {D.T}"


def declarations(case: Case) -> Iterator[Deviation]:
    """What D declares about itself is true."""
    other_z = case._replace(seed=case.seed + 1).draw()
    yield from measure_declarations(case.D, case.x0, case.z, other_z, case.levels(1))


LAWS: dict[str, Callable[[Case], Iterator[Deviation]]] = {
    law.__name__: law
    for law in (
        *(identity, function, consistency, independence, batching, difference, drawing, rebuilding),
        *(adjointness, proximity, declarations),
    )
}
AFFINE_ONLY = {"adjointness", "proximity"}  # laws of the verbs that only an affine degradation has
EXACT = {"identity", "function"}


def measure(D: Degradation, x0: Tensor, seed: int = 0) -> list[LawResult]:
    """Run every law on a degradation and return one result per law, each with the largest deviation found.

    `adjointness` and `proximity` are laws of affine degradations, and run if `D.affine` is true.

    Args:
        D: the degradation.
        x0: (B, C, H, W) clean images, two at least, best in float64.
        seed: seed of the generator that draws z.

    Raises:
        ValueError: if there are fewer than two images.
    """
    if len(x0) < 2:
        raise ValueError(f"x0 holds {len(x0)} image; the laws need two at least to compare")
    case = Case(D, x0, D.draw(x0, torch.Generator(x0.device).manual_seed(seed)), seed)
    results = []
    for name, law in LAWS.items():
        if name in AFFINE_ONLY and not D.affine:
            continue
        # A deviation that is not a number is the worst of all; max() alone would pass over it.
        error, location = max(law(case), key=lambda found: math.inf if math.isnan(found[0]) else found[0])
        results.append(LawResult(name, error, location, 0.0 if name in EXACT else TOLERANCE[x0.dtype]))
    return results


def check(D: Degradation, x0: Tensor, seed: int = 0) -> list[LawResult]:
    """Run every law on a degradation, as `measure` does, and insist that it holds.

    Raises:
        LawError: listing every broken law.

    >>> import degrade
    >>> x0 = torch.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=torch.float64).view(2, 3, 8, 8)
    >>> [result.law for result in check(degrade.make("gaussian_noise", T=4), x0)][:4]
    ['identity', 'function', 'consistency', 'independence']
    """
    results = measure(D, x0, seed)
    broken = [str(result) for result in results if not result.passed]
    if broken:
        raise LawError("\n".join([f"{D!r} breaks {len(broken)} of {len(results)} laws:", *broken]))
    return results
