"""Fitting a prior: from images and a degradation to something that starts can be drawn from.

What has to be drawn depends on how much of an image D leaves at T, and that is measured. Let y be the k x k thumbnail
of an image x0, and E y the thumbnail upsampled to the size of x0 (`samplers.priors.low_resolution`); for k = 0, E y is
an empty image. A filter need not preserve the mean of a block, so y is fitted in a few steps of Landweber's iteration,
y <- y + downsample(D(x0, T, z) - D(E y, T, z)). Then

    error(k) = rms of D(x0, T, z) - D(E y, T, z)    over pixels and images, in units of [-1, 1]

and the least k with error(k) <= tolerance (one step of 8 bits by default) keeps all that D leaves of an image:

    k = 0            D leaves nothing but z: `DegradedZero` (noise, interpolation, masks to a color)
    k = 1, 2, ...    a Gaussian mixture of the thumbnails y: `LowResolution` (1 x 1 is the mean color)
    none             D leaves too much to be drawn: `DegradedData`, which starts from images (snow, decolor)

So a new degradation has a prior without any declaration. Mixtures are fitted by scikit-learn's GaussianMixture (extra
`priors`) with full covariances; drawing from them needs torch alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from degrade import Degradation, Params, Source, expand_level
from degrade.frozen import frozen
from degrade.optional import require
from degrade.random import fold_seed, randint, seeded_generator
from samplers.choices import PriorKind
from samplers.priors.base import MAX_RMS, DegradedData, DegradedZero, Prior, StandardNormal, UniformColor
from samplers.priors.low_resolution import MAX_DIM, UPSAMPLINGS, LowResolution, Upsampling, downsample, upsample

__all__ = [
    "MAX_RMS",
    "FitOptions",
    "RemainingDetail",
    "fit_prior",
    "measure_remaining_detail",
    "tensor_source",
]

NUM_PROBES = 128  # images on which error(k) is measured
NUM_CORRECTIONS = 4  # steps of the iteration that fits a thumbnail


class RemainingDetail(NamedTuple):
    """What D leaves of an image at T: a k x k thumbnail.

    Args:
        k: side of the thumbnail in pixels; 0 where D leaves nothing.
        upsampling: method that enlarges it to the size of the image.
        error: rms of D(x0, T, z) - D(E y, T, z), in units of [-1, 1].
    """

    k: int
    upsampling: Upsampling
    error: float


def measure_remaining_detail(
    D: Degradation,
    x0: Tensor,
    tolerance: float = MAX_RMS,
    seed: int = 0,
    sizes: Sequence[int] | None = None,
) -> RemainingDetail | None:
    """Return the least k within the tolerance, with the better upsampling for it; None if there is none.

    Args:
        D: the degradation, able to draw z.
        x0: (B, C, H, W) images in [-1, 1].
        tolerance: largest rms error of D(x0, T, z) over all pixels, in units of [-1, 1].
        seed: seed of z.
        sizes: the k to try, in this order; by default 0, 1, ... up to the largest that a mixture can be fitted to.

    >>> import degrade
    >>> x0 = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> measure_remaining_detail(degrade.make("pixelate", T=2, filter="area"), x0)[:2]
    (4, 'blocks')
    >>> measure_remaining_detail(degrade.make("mask_to_color", T=3, sigmas="incremental:step=2"), x0)[0]
    0
    >>> print(measure_remaining_detail(degrade.make("inpaint", T=3), x0))
    None
    """
    t, z = expand_level(D.T, x0), D.draw(x0, seeded_generator("cpu", seed, "z"))
    x_T = D(x0, t, z)
    for k in range(max_side(x0) + 1) if sizes is None else sizes:
        tried = []
        for how in UPSAMPLINGS if k > 1 else UPSAMPLINGS[:1]:
            kept = upsample(fit_thumbnail(D, x0, z, how, k), how, *x0.shape[2:]) if k else torch.zeros_like(x0)
            tried.append(RemainingDetail(k, how, float((D(kept, t, z) - x_T).pow(2).mean().sqrt())))
        best = min(tried, key=lambda one: one.error)
        if best.error <= tolerance:
            return best
    return None


def fit_thumbnail(D: Degradation, x0: Tensor, z: Params, how: Upsampling, k: int) -> Tensor:
    """Return thumbnails y (B, C, k, k) of images x0 such that D(E y, T, z) is near D(x0, T, z)."""
    t, y = expand_level(D.T, x0), downsample(x0, how, k)
    x_T = D(x0, t, z)
    for _ in range(NUM_CORRECTIONS):
        y = y + downsample(x_T - D(upsample(y, how, *x0.shape[2:]), t, z), how, k)
    return y


def max_side(x0: Tensor) -> int:
    """Return the largest k of low-resolution pictures of images (B, C, H, W)."""
    height, width = x0.shape[2:]
    return min(height, width, math.isqrt(MAX_DIM // x0.shape[1]))


@frozen
class FitOptions:
    """How a prior is fitted.

    Args:
        n: number of images that are drawn from a source, 1 or more; a tensor is used whole.
        k: side of the low-resolution pictures; by default the least that the rule of the module finds.
        components: number of components of the Gaussian mixture, 1 or more.
        jitter: standard deviation of the noise that the prior adds to x_T, 0 or more; the paper takes 0.002 for
            generation from blur.
        tolerance: root mean square by which starting points may differ from what D makes of images, in units of
            [-1, 1]; one step of 8 bits by default.
        seed: seed of the images that are drawn, of z, and of the initial mixture.
    """

    n: int = 2000
    k: int | None = None
    components: int = 1
    jitter: float = 0.0
    tolerance: float = MAX_RMS
    seed: int = 0


def fit_prior(
    D: Degradation, images: Source | Tensor, kind: PriorKind = "auto", options: FitOptions = FitOptions()
) -> Prior:
    """Return a prior over x_T, fitted to clean images.

    Args:
        D: the degradation, able to draw z.
        images: a source of clean images in [-1, 1], of which `options.n` are drawn; or a tensor (n, C, H, W) of them.
        kind: kind of prior. `auto` follows the rule of the module; any other kind is used as it is, with a warning
            that gives the error where it does not fit.
        options: number of images, components, jitter and so on.

    Returns:
        The prior, with its runtime objects, on the device of the images.

    Raises:
        ValueError: for an unknown kind, too few images for a mixture, or if there is no such k.
        ImportError: if a mixture is to be fitted without scikit-learn.

    >>> import degrade
    >>> D = degrade.make("blur", T=4, mean_at_T=True, kernel_size=3)
    >>> x0 = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> prior = fit_prior(D, x0, options=FitOptions(jitter=0.002))
    >>> prior.name, prior.k, prior(2).x_T.shape
    ('low_resolution', 1, torch.Size([2, 3, 8, 8]))
    """
    if kind not in get_args(PriorKind):
        raise ValueError(f"no kind of prior is called {kind!r}: choose from {', '.join(get_args(PriorKind))}")
    if options.k is not None and kind != "low_resolution":
        raise ValueError(f"k = {options.k} is the side of thumbnails; it needs kind = 'low_resolution'")
    x0 = _read_images(images, options.n, options.seed)
    _warn_if_far(D, x0[:NUM_PROBES], kind, options.tolerance, options.seed)
    shape: Any = tuple(x0.shape[1:])
    if kind == "standard_normal":
        return StandardNormal(shape, x0.device, jitter=options.jitter)
    detail = _detail(D, x0[:NUM_PROBES], kind, options.k, options.tolerance, options.seed)
    if kind == "degraded_zero" or (kind == "auto" and detail is not None and detail.k == 0):
        return DegradedZero(D, shape, x0.device, jitter=options.jitter)
    if kind == "uniform_color":
        low, high = (tuple(color.tolist()) for color in torch.aminmax(x0.mean((2, 3)), dim=0))
        return UniformColor(D, shape, low, high, x0.device, jitter=options.jitter)
    if detail is None:
        return DegradedData(D, tensor_source(x0) if isinstance(images, Tensor) else images, jitter=options.jitter)
    mixture = _mixture(D, x0, detail, options.components, options.seed)
    return LowResolution(D, shape, detail.k, detail.upsampling, *mixture, x0.device, jitter=options.jitter)


def _read_images(images: Source | Tensor, n: int, seed: int) -> Tensor:
    """Return the images to fit a prior to, n of a source."""
    x0 = images if isinstance(images, Tensor) else images(n, seeded_generator("cpu", seed, "images of the prior"))
    if x0.ndim != 4 or not len(x0):
        raise ValueError(f"the images to fit a prior to are {tuple(x0.shape)}; it needs (n, C, H, W), n of 1 or more")
    return x0


def _detail(
    D: Degradation, x0: Tensor, kind: PriorKind, k: int | None, tolerance: float, seed: int
) -> RemainingDetail | None:
    """Return what the rule of the module finds; None where `kind` does not need it.

    Raises:
        ValueError: if a low-resolution prior is asked for and there is no such k.
    """
    if kind == "auto":
        return measure_remaining_detail(D, x0, tolerance, seed)
    if kind != "low_resolution":
        return None
    max_k = max_side(x0)
    if k is not None and not 1 <= k <= max_k:
        raise ValueError(f"k = {k}: thumbnails of images {tuple(x0.shape[1:])} have a side of 1 to {max_k}")
    if k is not None:
        return measure_remaining_detail(D, x0, math.inf, seed, [k])
    detail = measure_remaining_detail(D, x0, tolerance, seed, range(1, max_k + 1))
    if detail is None:
        at_most = measure_remaining_detail(D, x0, math.inf, seed, [max_k])
        error = at_most.error if at_most else math.inf
        raise ValueError(
            f"{D.name or type(D).__name__} leaves more of an image at T = {D.T} than low-resolution pictures hold: "
            f"{max_k} x {max_k} is off by {error:.3g}, more than {tolerance:.3g}; choose k, or kind = 'degraded_data'"
        )
    return detail


def _warn_if_far(D: Degradation, x0: Tensor, kind: PriorKind, tolerance: float, seed: int) -> None:
    """Warn if D(x0, T, z) of images x0 differs from what a prior of this kind draws."""
    if kind == "standard_normal":
        shape: Any = tuple(x0.shape[1:])
        StandardNormal(shape).check_compatible(D)
    if kind not in ("degraded_zero", "uniform_color"):
        return
    kept = torch.zeros_like(x0) if kind == "degraded_zero" else x0.mean((2, 3), keepdim=True).expand_as(x0)
    t, z = expand_level(D.T, x0), D.draw(x0, seeded_generator("cpu", seed, "z"))
    error = float((D(x0, t, z) - D(kept, t, z)).pow(2).mean().sqrt())
    if error > tolerance:
        warnings.warn(
            f"{kind} starts are off by {error:.3f} (rms) from what {D.name} makes of the images at T = {D.T}, more than"
            f" {tolerance:.3f}; kind = 'auto' chooses a prior that fits",
            stacklevel=3,
        )


def tensor_source(images: Tensor) -> Source:
    """Return a source that draws from images (N, C, H, W), with replacement."""

    def source(n: int, generator: torch.Generator | None) -> Tensor:
        return images[randint(len(images), (n,), images, generator)]

    return source


def _mixture(D: Degradation, x0: Tensor, detail: RemainingDetail, components: int, seed: int) -> tuple[Any, Any, Any]:
    """Return weights, means and covariances of the mixture fitted to thumbnails of images x0, as nested lists."""
    z = D.draw(x0, seeded_generator("cpu", seed, "z of the prior"))
    y = fit_thumbnail(D, x0, z, detail.upsampling, detail.k).flatten(1).double()
    n, numbers = y.shape
    if components < 1 or n <= components * numbers:
        raise ValueError(
            f"components = {components} of {numbers} numbers each cannot be fitted to {n} images: "
            f"take 1 component or more and, for each, more than {numbers} images; or a smaller k"
        )
    mixture = require("sklearn.mixture", "fitting a mixture", "priors").GaussianMixture
    fitted = mixture(components, max_iter=500, random_state=fold_seed(seed, "mixture") % 2**32).fit(y.cpu().numpy())
    return fitted.weights_.tolist(), fitted.means_.tolist(), fitted.covariances_.tolist()
