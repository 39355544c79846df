r"""Distances and scores of sets of images, computed on rows of features (n, D), in float64.

    Fréchet distance   |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the means m and covariances C of two sets
                       (Dowson and Landau, 1982; with Inception features it is FID, Heusel et al., 2017)
    kernel distance    the unbiased estimate of MMD^2 under the kernel (x . y / D + 1)^3
                       (Gretton et al., 2012; with Inception features it is KID, Binkowski et al., 2018)
    precision, recall  the share of one set that lies within the k-nearest-neighbor balls of the other
                       (Kynkäänniemi et al., 2019)
    class score        exp(E KL(p(y | x) || p(y))) of class probabilities
                       (with Inception's probabilities it is IS, Salimans et al., 2016)

The square root of the product of two covariances is taken through eigenvalues of a symmetric matrix. All functions
refuse rows that are not finite.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "KernelDistance",
    "PrecisionRecall",
    "class_score",
    "frechet_distance",
    "gaussian_distance",
    "kernel_distance",
    "moments",
    "precision_recall",
]

BLOCK = 2048  # rows of a kernel or distance matrix that are in memory at a time
NEGLIGIBLE = 1e-6  # deviations from the mean below this are rounding errors of float32 features


class KernelDistance(NamedTuple):
    """An unbiased estimate of MMD^2, and its standard error by the delete-one jackknife."""

    value: float
    standard_error: float


class PrecisionRecall(NamedTuple):
    """The share of generated samples near the reference, and the share of the reference near generated samples."""

    precision: float
    recall: float


def check_features(x: Tensor, y: Tensor | None = None, minimum: int = 2, need: str = "a covariance") -> None:
    """Raise ValueError unless the rows (n, D) are finite, of one width, and at least `minimum` in number."""
    sets = [x] if y is None else [x, y]
    for rows in sets:
        if rows.ndim != 2:
            raise ValueError(f"features have shape {tuple(rows.shape)}; expected one row for each image, (n, D)")
        if len(rows) < minimum:
            raise ValueError(f"{len(rows)} samples are too few for {need}; give at least {minimum}")
        if not torch.isfinite(rows).all():
            bad = int((~torch.isfinite(rows)).any(1).sum())
            raise ValueError(f"{bad} of {len(rows)} feature rows are not finite; look for NaN or inf in the images")
    if y is not None and x.shape[1] != y.shape[1]:
        raise ValueError(f"features of {x.shape[1]} and {y.shape[1]} dimensions; use one feature network for both sets")


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and covariance (D, D) of rows (n, D), n >= 2, in float64 on the CPU.

    Raises:
        ValueError: for fewer than two rows, or rows that are not finite.
    """
    check_features(x)
    rows = x.detach().cpu().double()
    mean = rows.mean(0)
    off = rows - mean
    # Without this the covariance of equal rows is rounding noise, of which eigenvalues need not converge.
    off = torch.where(off.abs() < NEGLIGIBLE, 0, off)
    return mean, off.T @ off / (len(rows) - 1)


def gaussian_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """Return the Fréchet distance of two Gaussians, from means (D,) and covariances (D, D) in float64.

    >>> one = torch.eye(2, dtype=torch.float64)
    >>> round(gaussian_distance(torch.zeros(2), one, torch.tensor([3.0, 0.0]), 4 * one), 9)  # 3^2 + 2 (2 - 1)^2
    11.0
    """
    values, vectors = torch.linalg.eigh(covariance1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr((C1 C2)^(1/2)) = tr((C1^(1/2) C2 C1^(1/2))^(1/2)), and the latter is symmetric.
    cross = torch.linalg.eigvalsh(root @ covariance2 @ root).clamp(min=0).sqrt().sum()
    distance = (mean1 - mean2).pow(2).sum() + covariance1.trace() + covariance2.trace() - 2 * cross
    return max(0.0, float(distance))  # rounding may end below 0


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Return the Fréchet distance of the Gaussians fitted to two sets of rows, (n, D) and (m, D).

    The estimate is biased upwards by an amount that falls like 1/n: compare only values of equal n and m.

    Raises:
        ValueError: for too few rows, different D, or rows that are not finite.

    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> frechet_distance(x, x) < 1e-9, round(frechet_distance(x, x + 1), 6)
    (True, 3.0)
    """
    check_features(x, y)
    return gaussian_distance(*moments(x), *moments(y))


def kernel_distance(x: Tensor, y: Tensor) -> KernelDistance:
    """Return the unbiased kernel distance of two sets of rows, (n, D) and (m, D), n, m >= 3, and its standard error.

    The value is that of the whole sets, not a mean over subsets. It may be negative where the distance is near 0.

    Raises:
        ValueError: for too few rows, different D, or rows that are not finite.
    """
    check_features(x, y, 3, "a kernel distance with a standard error")
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    n, m = len(x), len(y)
    xx, yy = _kernel_sums(x, x)[0] - _kernel_diagonal(x), _kernel_sums(y, y)[0] - _kernel_diagonal(y)
    xy, yx = _kernel_sums(x, y)
    within_x, within_y, across = xx.sum(), yy.sum(), xy.sum()
    value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
    # The same without row i of x, or row j of y, in closed form.
    without_x = (within_x - 2 * xx) / ((n - 1) * (n - 2)) - 2 * (across - xy) / ((n - 1) * m)
    without_y = (within_y - 2 * yy) / ((m - 1) * (m - 2)) - 2 * (across - yx) / (n * (m - 1))
    variance = sum((k - 1) ** 2 / k * v.var() for k, v in ((n, without_x), (m, without_y)))
    return KernelDistance(float(value), float(torch.as_tensor(variance).sqrt()))


def _kernel_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of the kernel matrix (n, m) over its rows, (n,), and over its columns, (m,)."""
    rows, columns = [], x.new_zeros(len(y))
    for block in torch.split(x, BLOCK):
        kernel = (block @ y.T / x.shape[1] + 1) ** 3
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
    return torch.cat(rows), columns


def _kernel_diagonal(x: Tensor) -> Tensor:
    return (x.pow(2).sum(1) / x.shape[1] + 1) ** 3


def precision_recall(x: Tensor, y: Tensor, k: int = 3) -> PrecisionRecall:
    """Return precision and recall of the generated rows x (n, D) with respect to the reference rows y (m, D).

    Args:
        x: features of generated images.
        y: features of reference images.
        k: number of the neighbor whose distance is the radius of a ball, in 1..min(n, m) - 1.

    Raises:
        ValueError: for too few rows, different D, or rows that are not finite.

    >>> x = torch.arange(8.0).view(-1, 1)
    >>> precision_recall(x, x, k=2), precision_recall(x, x + 100, k=2)
    (PrecisionRecall(precision=1.0, recall=1.0), PrecisionRecall(precision=0.0, recall=0.0))
    """
    check_features(x, y, k + 1, f"balls that reach to the {k}-th neighbor")
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    return PrecisionRecall(_share_covered(x, y, k), _share_covered(y, x, k))


def _share_covered(points: Tensor, centers: Tensor, k: int) -> float:
    # The distance of a center to itself is 0 and comes first.
    radii = torch.cat([torch.cdist(part, centers).kthvalue(k + 1).values for part in torch.split(centers, BLOCK)])
    covered = [(torch.cdist(part, centers) <= radii).any(1) for part in torch.split(points, BLOCK)]
    return float(torch.cat(covered).double().mean())


def class_score(logits: Tensor, splits: int = 1) -> float:
    """Return exp(E KL(p(y | x) || p(y))) of class logits (n, classes): 1 at worst, the number of classes at best.

    Args:
        logits: unnormalized log-probabilities, one row for each image.
        splits: number of equal consecutive parts that are scored on their own and averaged; 10 in the publication.

    Raises:
        ValueError: for fewer rows than splits, or rows that are not finite.

    >>> round(class_score(torch.eye(4) * 100), 6), round(class_score(torch.zeros(6, 4)), 6)
    (4.0, 1.0)
    """
    check_features(logits, None, max(splits, 1), f"a score over {splits} splits")
    log_p = logits.detach().cpu().double().log_softmax(1)
    scores = []
    for k in range(splits):
        part = log_p[k * len(log_p) // splits : (k + 1) * len(log_p) // splits]
        p = part.exp()
        marginal = p.mean(0)
        # Where a class has probability 0 throughout, its term is 0.
        divergence = (p * (part - marginal.clamp(min=1e-300).log())).sum(1)
        scores.append(divergence.mean().exp())
    return float(torch.stack(scores).mean())
