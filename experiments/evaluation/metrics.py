"""What is measured: distance to the truth where there is one, distance between sets where there is none.

All images (B, C, H, W) come in [-1, 1] and are measured in [0, 1] after clipping.

* `rmse`, `ssim`: of a restoration against its truth; SSIM with the usual 11 x 11 window of sigma 1.5
* `thumbnail_distance`: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means m and covariances C of 8 x 8 thumbnails
(Dowson and
  Landau, 1982; the formula of FID without its network), which sees color and coarse shape only
* `centered_correlation`: the mean correlation of result and start, after each set's mean image is taken off: 0 when a
result
  has nothing to do with its start, 1 when it is its start
* `pairwise_rmse`: the root of the mean squared difference between two images of a set; with `colors=False` each image
is
  measured without its own mean color, which leaves what is pictured
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["centered_correlation", "pairwise_rmse", "rmse", "ssim", "thumbnail_distance"]

THUMBNAIL = 8


def unit(x: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1], clipped."""
    return ((x + 1) / 2).clamp(0, 1)


def need_pairs(x: Tensor, other: Tensor) -> None:
    """Raise an error unless the two sets have one shape: images are compared in pairs, and none counts twice."""
    if x.shape != other.shape:
        raise ValueError(f"images {tuple(x.shape)} and {tuple(other.shape)} make no pairs; give two sets of one shape")


def rmse(x: Tensor, truth: Tensor) -> float:
    """Return the root of the mean squared error over all images.

    Raises:
        ValueError: if the two sets are of different shapes.

    >>> rmse(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    0.5
    """
    need_pairs(x, truth)
    return float((unit(x) - unit(truth)).pow(2).mean().sqrt())


def ssim(x: Tensor, truth: Tensor) -> float:
    """Return the mean structural similarity (Wang et al., 2004); 1 for equal images.

    Raises:
        ValueError: if the two sets are of different shapes.

    >>> image = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    >>> round(ssim(image, image), 6)
    1.0
    """
    need_pairs(x, truth)
    from kornia.metrics import ssim as similarity  # heavy to import

    return float(similarity(unit(x), unit(truth), window_size=11).mean())


def thumbnail_distance(x: Tensor, y: Tensor) -> float:
    """Return the Fréchet distance between the Gaussians fitted to the thumbnails of two sets.

    >>> x = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> round(thumbnail_distance(x, x), 6), thumbnail_distance(x, x.flip(0)) < 1e-6 < thumbnail_distance(x, x - 1)
    (0.0, True)
    """
    (m1, c1), (m2, c2) = moments(x), moments(y)
    distance = (m1 - m2).pow(2).sum() + c1.trace() + c2.trace() - 2 * trace_of_root(c1, c2)
    return max(0.0, float(distance))  # rounding may end below 0


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and covariance (D, D) in float64 of the thumbnails of x; that of a single image is 0."""
    features = F.adaptive_avg_pool2d(unit(x), THUMBNAIL).flatten(1).cpu().double()
    mean = features.mean(0)
    off = features - mean
    # What float32 leaves where all images agree is no variance, and eigenvalues of it need not converge.
    off = torch.where(off.abs() < 1e-6, 0, off)
    return mean, off.T @ off / max(1, len(x) - 1)


def trace_of_root(c1: Tensor, c2: Tensor) -> Tensor:
    """Return tr((C1 C2)^(1/2)) of two covariances, by way of the symmetric C1^(1/2) C2 C1^(1/2)."""
    values, vectors = torch.linalg.eigh(c1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product: Tensor = torch.linalg.eigvalsh(root @ c2 @ root)
    return product.clamp(min=0).sqrt().sum()


def centered_correlation(x: Tensor, start: Tensor) -> float:
    """Return the mean correlation of each image with its start, both without their set's mean.

    Raises:
        ValueError: if the two sets are of different shapes.

    >>> x = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> round(centered_correlation(x, x), 6), round(centered_correlation(x, -x), 6)
    (1.0, -1.0)
    """
    need_pairs(x, start)
    a, b = (F.normalize((v - v.mean(0)).flatten(1).cpu().double(), dim=1) for v in (x, start))
    return float((a * b).sum(1).mean())


def pairwise_rmse(x: Tensor, colors: bool = True) -> float:
    """Return how much two images of the set x (B, C, H, W), B >= 2, differ: 0 when all are the same.

    Raises:
        ValueError: for a single image.

    >>> x = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    >>> pairwise_rmse(x), pairwise_rmse(x, colors=False)
    (1.0, 0.0)
    """
    if len(x) < 2:
        raise ValueError(f"the diversity of {len(x)} images is not defined; give two or more")
    y = unit(x).cpu().double()  # on the host: not every device has float64
    y = y if colors else y - y.mean((2, 3), keepdim=True)
    return float((2 * y.var(0).mean()).sqrt())  # of pairs, E (a - b)^2 = 2 var
