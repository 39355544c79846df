"""Low-resolution pictures as a prior: a Gaussian mixture of k x k thumbnails, upsampled to the size of images.

    x0 = E_h y E_w^T,    y ~ sum_j w_j N(m_j, C_j)    y (C, k, k): C k^2 numbers, jointly normal in each component
    y  = E_h^+ x0 (E_w^+)^T                           the thumbnail of an image: its E_h y E_w^T is nearest to the image

with matrices E_h (H, k) and E_w (W, k), and E^+ the pseudoinverse. There are two ways to upsample:

    blocks    every number becomes a block of pixels; y are the means of the blocks. Exact for pixelation.
    waves     y are k samples of a sum of the first k waves of DCT-II, which is evaluated at every pixel. Exact for
    blur.

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

__all__ = ["MAX_DIM", "UPSAMPLINGS", "LowResolution", "Upsampling", "downsample", "upsample", "upsampling_matrix"]

MAX_DIM = 256  # largest number of values of a thumbnail; a full covariance has MAX_DIM^2 entries
Upsampling = Literal["blocks", "waves"]
UPSAMPLINGS: tuple[Upsampling, ...] = ("blocks", "waves")


def upsampling_matrix(how: Upsampling, k: int, N: int) -> Tensor:
    """Return the matrix E (N, k) in float64 that upsamples k numbers to N.

    >>> upsampling_matrix("blocks", 2, 4).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> bool(torch.allclose(upsampling_matrix("waves", 3, 8).sum(1), torch.ones(8).double()))
    True
    """
    E: Tensor
    if how == "blocks":
        E = interpolate(torch.eye(k, dtype=torch.float64)[None, None], (N, k), mode="nearest-exact")[0, 0]
    else:
        (_, small), (_, large) = boundary_basis("symmetric", k), boundary_basis("symmetric", N)
        E = large[:, :k] @ torch.linalg.inv(small)
    return E


def upsample(y: Tensor, how: Upsampling, height: int, width: int) -> Tensor:
    """Return E_h y E_w^T (B, C, height, width) of y (B, C, k, k)."""
    E_h, E_w = (upsampling_matrix(how, y.shape[-1], N).to(y) for N in (height, width))
    return torch.einsum("ij,bcjk,lk->bcil", E_h, y, E_w)


def downsample(x0: Tensor, how: Upsampling, k: int) -> Tensor:
    """Return the thumbnails (B, C, k, k) of images x0 (B, C, H, W).

    >>> y = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    >>> all(torch.allclose(downsample(upsample(y, how, 12, 17), how, 4), y) for how in UPSAMPLINGS)
    True
    """
    P_h, P_w = (torch.linalg.pinv(upsampling_matrix(how, k, N)).to(x0) for N in x0.shape[2:])
    return torch.einsum("ij,bcjk,lk->bcil", P_h, x0, P_w)


@register_prior("low_resolution")
class LowResolution(DegradedPrior):
    """x_T = D(x0, T, z) of upsampled k x k thumbnails drawn from a Gaussian mixture.

    Args:
        D: the degradation; a runtime field, not saved.
        shape: (C, H, W) of one image.
        k: side of the thumbnails in pixels, 1 or more.
        upsampling: `blocks` or `waves`.
        weights: (components,) weights, which sum to 1.
        means: (components, C k^2) means of thumbnails (C, k, k), row by row.
        covariances: (components, C k^2, C k^2), positive definite.
        device: device of the images; a runtime field, not saved.

    >>> import degrade
    >>> D = degrade.make("pixelate", T=2, filter="area")
    >>> prior = LowResolution(D, (1, 4, 4), 1, "blocks", (1.0,), ((0.5,),), (((0.01,),),))
    >>> x_T, _ = prior(1000, torch.Generator().manual_seed(0))
    >>> round(x_T.mean().item(), 1), round(x_T.std().item(), 1), x_T[0].std().item() < 1e-6
    (0.5, 0.1, True)
    """

    shape: Shape
    k: Annotated[int, Field(ge=1)]
    upsampling: Upsampling
    weights: tuple[Annotated[float, Field(ge=0)], ...]
    means: tuple[tuple[float, ...], ...] = dataclasses.field(repr=False)
    covariances: tuple[tuple[tuple[float, ...], ...], ...] = dataclasses.field(repr=False)
    device: Device = runtime_field(default="cpu", compare=False)

    tables: ClassVar[LevelTables]  # computed from the arguments, and set on the instance

    def __post_init__(self) -> None:
        C, H, W = self.shape
        numbers = C * self.k**2
        if self.k > min(H, W) or numbers > MAX_DIM:
            raise ValueError(
                f"k = {self.k} gives {numbers} numbers for images {self.shape}; it needs k <= {min(H, W)} and at most "
                f"{MAX_DIM} numbers"
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
        thresholds = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)[:-1]
        E = (upsampling_matrix(self.upsampling, self.k, N) for N in (H, W))
        object.__setattr__(self, "tables", LevelTables(means, roots, constants=(thresholds, *E)))

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Draw upsampled thumbnails."""
        empty = torch.empty(n, *self.shape, device=self.device)
        _, (thresholds, E_h, E_w) = self.tables.convert(empty.device, empty.dtype)
        component = (rand((n, 1), empty, generator) >= thresholds).sum(1)
        mean, root = self.tables.gather(component, empty)
        # A sum, since the rounding of a matrix product depends on the number of images.
        eps = randn((n, 1, mean.shape[1]), empty, generator)
        y = (mean + (root * eps).sum(2)).view(n, self.shape[0], self.k, self.k)
        return E_h @ y @ E_w.mT
