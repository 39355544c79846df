"""Low-resolution pictures as starts: a Gaussian mixture on k x k versions of images, enlarged.

    x0 = E_h y E_w^T,    y ~ sum_j w_j N(m_j, C_j)    y (C, k, k): C k^2 numbers, jointly normal in each component
    y  = E_h^+ x0 (E_w^+)^T                           the k x k version of an image: what enlarges to the nearest to it

with an (H, k) and a (W, k) matrix E. Two enlargements serve, each exact for what it is named after:

    blocks    every number becomes a block of pixels; y are the means of the blocks: for pixelation
    waves     y is read as k samples of the first k waves of DCT-II, which go on between them: for blur

With k = 1 both make a plain color, and y is the mean color, whose mixture Bansal et al. (arXiv 2208.09392, 2022,
section 5) start from. The mixture is drawn with torch alone; `samplers.priors.fit` fits it.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from degrade.functional.boundary import boundary_basis
from degrade.functional.levels import LevelTables
from degrade.random import Generators, rand, randn
from degrade.serializable import runtime_field
from samplers.priors.base import DegradedPrior, Device, Shape, register_prior

__all__ = ["ENLARGEMENTS", "MOST", "Enlargement", "LowResolution", "enlarge", "enlarging", "reduce"]

MOST = 256  # numbers of a low-resolution picture: a full covariance has MOST^2
Enlargement = Literal["blocks", "waves"]
ENLARGEMENTS: tuple[Enlargement, ...] = ("blocks", "waves")


def enlarging(how: Enlargement, k: int, N: int) -> Tensor:
    """Return the matrix E (N, k) in float64 that enlarges k numbers to N.

    >>> enlarging("blocks", 2, 4).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> bool(torch.allclose(enlarging("waves", 3, 8).sum(1), torch.ones(8).double()))
    True
    """
    E: Tensor
    if how == "blocks":
        E = interpolate(torch.eye(k, dtype=torch.float64)[None, None], (N, k), mode="nearest-exact")[0, 0]
    else:
        (_, small), (_, large) = boundary_basis("symmetric", k), boundary_basis("symmetric", N)
        E = large[:, :k] @ torch.linalg.inv(small)
    return E


def enlarge(y: Tensor, how: Enlargement, height: int, width: int) -> Tensor:
    """Return E_h y E_w^T (B, C, height, width) of y (B, C, k, k)."""
    E_h, E_w = (enlarging(how, y.shape[-1], N).to(y) for N in (height, width))
    return torch.einsum("ij,bcjk,lk->bcil", E_h, y, E_w)


def reduce(x0: Tensor, how: Enlargement, k: int) -> Tensor:
    """Return the k x k version of images x0 (B, C, H, W).

    >>> y = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    >>> all(torch.allclose(reduce(enlarge(y, how, 12, 17), how, 4), y) for how in ENLARGEMENTS)
    True
    """
    P_h, P_w = (torch.linalg.pinv(enlarging(how, k, N)).to(x0) for N in x0.shape[2:])
    return torch.einsum("ij,bcjk,lk->bcil", P_h, x0, P_w)


@register_prior("low_resolution")
class LowResolution(DegradedPrior):
    """x_T = D(x0, T, z) of enlarged k x k pictures drawn from a Gaussian mixture.

    Args:
        D: the degradation; a runtime field, not saved.
        shape: (C, H, W) of one image.
        k: side of the low-resolution pictures.
        enlargement: `blocks` or `waves`.
        weights: (components,) that sum to 1.
        means: (components, C k^2), a picture (C, k, k) row by row.
        covariances: (components, C k^2, C k^2), positive definite.
        device: where to put the images; a runtime field, not saved.

    >>> import degrade
    >>> D = degrade.make("pixelate", T=2, filter="area")
    >>> prior = LowResolution(D, (1, 4, 4), 1, "blocks", (1.0,), ((0.5,),), (((0.01,),),))
    >>> x_T, _ = prior(1000, torch.Generator().manual_seed(0))
    >>> round(x_T.mean().item(), 1), round(x_T.std().item(), 1), x_T[0].std().item() < 1e-6
    (0.5, 0.1, True)
    """

    shape: Shape
    k: Annotated[int, Field(ge=1)]
    enlargement: Enlargement
    weights: tuple[Annotated[float, Field(ge=0)], ...]
    means: tuple[tuple[float, ...], ...] = dataclasses.field(repr=False)
    covariances: tuple[tuple[tuple[float, ...], ...], ...] = dataclasses.field(repr=False)
    device: Device = runtime_field(default="cpu", compare=False)

    tables: ClassVar[LevelTables]  # set on the instance, but no argument: it follows from them

    def __post_init__(self) -> None:
        C, H, W = self.shape
        numbers = C * self.k**2
        if self.k > min(H, W) or numbers > MOST:
            raise ValueError(
                f"k = {self.k} gives {numbers} numbers for images {self.shape}; it needs k <= {min(H, W)} and at most "
                f"{MOST} numbers"
            )
        found = len(self.means), {len(m) for m in self.means}, {(len(S), *map(len, S)) for S in self.covariances}
        if found != (len(self.weights), {numbers}, {(numbers,) * (numbers + 1)}) or len(self.covariances) != found[0]:
            raise ValueError(
                f"{len(self.weights)} weights need as many means and square covariances of {numbers} numbers"
            )
        if abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights = {self.weights} sum to {sum(self.weights)}; they need to sum to 1")
        covariances = torch.tensor(self.covariances, dtype=torch.float64)
        roots, faults = torch.linalg.cholesky_ex(covariances)
        if faults.any() or not torch.allclose(covariances, covariances.mT):
            raise ValueError("covariances are not all symmetric and positive definite; fit them to more images")
        means = torch.tensor(self.means, dtype=torch.float64)
        below = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)[:-1]
        E = (enlarging(self.enlargement, self.k, N) for N in (H, W))
        object.__setattr__(self, "tables", LevelTables(means, roots, constants=(below, *E)))

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Draw enlarged pictures."""
        empty = torch.empty(n, *self.shape, device=self.device)
        _, (below, E_h, E_w) = self.tables.whole(empty.device, empty.dtype)
        component = (rand((n, 1), empty, generator) >= below).sum(1)
        mean, root = self.tables.gather(component, empty)
        # A sum, not a product of matrices, whose last digits may depend on how many images there are.
        eps = randn((n, 1, mean.shape[1]), empty, generator)
        y = (mean + (root * eps).sum(2)).view(n, self.shape[0], self.k, self.k)
        return E_h @ y @ E_w.mT
