"""The numbers of Bansal et al. (arXiv 2208.09392, 2022), and how their protocol differs from a run of ours.

FID, SSIM and RMSE of test images against their restorations from severity T, and FID of generated faces. A number is
`confirmed` if a second source states it as well; the others come from one reading of the tables.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PUBLISHED", "Published", "ThisProtocol", "protocol_differences", "published_rows", "published_text"]


class Published(NamedTuple):
    """Published numbers of one row: None where there is none; `confirmed` says whether the FID is."""

    fid: float
    ssim: float | None = None
    rmse: float | None = None
    confirmed: bool = False


def _restoration(degraded: Published, sampled: Published, direct: Published) -> dict[str, Published]:
    return {"degraded": degraded, "direct": direct, "algorithm2": sampled}


P = Published
PUBLISHED: dict[str, dict[str, Published]] = {
    "mnist-blur": _restoration(
        P(438.59, 0.287, 0.287), P(4.69, 0.718, 0.154, confirmed=True), P(5.10, 0.757, 0.142, confirmed=True)
    ),
    "cifar10-blur": _restoration(
        P(298.60, 0.315, 0.136), P(80.08, 0.773, 0.075, confirmed=True), P(83.69, 0.775, 0.071, confirmed=True)
    ),
    "celeba-blur": _restoration(
        P(382.81, 0.254, 0.193), P(26.14, 0.568, 0.093, confirmed=True), P(36.37, 0.607, 0.083, confirmed=True)
    ),
    "mnist-inpaint": _restoration(
        P(108.48, 0.490, 0.262), P(1.61, 0.941, 0.068, confirmed=True), P(2.24, 0.948, 0.060, confirmed=True)
    ),
    "cifar10-inpaint": _restoration(
        P(40.83, 0.615, 0.143), P(8.92, 0.859, 0.068, confirmed=True), P(9.97, 0.869, 0.063, confirmed=True)
    ),
    "celeba-inpaint": _restoration(
        P(127.85, 0.663, 0.155), P(5.73, 0.917, 0.043, confirmed=True), P(7.74, 0.922, 0.039, confirmed=True)
    ),
    "mnist-pixelate": _restoration(P(368.56, 0.178, 0.231), P(4.33, 0.820, 0.115), P(4.05, 0.823, 0.114)),
    "cifar10-pixelate": _restoration(P(358.99, 0.279, 0.146), P(152.76, 0.411, 0.155), P(169.94, 0.420, 0.152)),
    "celeba-pixelate": _restoration(P(349.85, 0.335, 0.225), P(96.92, 0.381, 0.201), P(112.84, 0.400, 0.196)),
    "cifar10-snow": _restoration(P(125.63, 0.419, 0.327), P(31.10, 0.838, 0.074), P(31.63, 0.843, 0.075)),
    "generation-blur": {"jitter 0": P(97.00), "jitter 0.002": P(49.45, confirmed=True)},
    "generation-noise": {"fixed z": P(59.91), "estimated z": P(23.11, confirmed=True)},
}


class ThisProtocol(NamedTuple):
    """What a run of ours did where the publication may have done something else."""

    data: str
    size: int
    images: int
    features: str
    input_precision: str
    training_precision: str
    steps: int
    batch_size: int
    network: str
    sample_steps: int


def published_rows(task: str) -> dict[str, Published]:
    """Return the published numbers of a task by row, empty if there are none; sight of the inverse is ours alone.

    >>> published_rows("mnist-blur-inverse")["direct"].rmse
    0.142
    """
    return PUBLISHED.get(task.removesuffix("-inverse"), {})


def published_text(found: Published | None, name: str) -> str:
    """Return one published number as text; unconfirmed ones stand in parentheses.

    >>> direct = PUBLISHED["mnist-blur"]["direct"]
    >>> published_text(direct, "fid"), published_text(direct, "ssim")
    ('5.1', '(0.757)')
    """
    value = None if found is None else getattr(found, name)
    if found is None or value is None:
        return ""
    return f"{value:g}" if found.confirmed and name == "fid" else f"({value:g})"


def protocol_differences(task: str, ours: ThisProtocol, T: int) -> list[str]:
    """Return, in one line each, where the protocol of a task differs from the published one.

    >>> ours = ThisProtocol("drawn", 16, 256, "thumbnail", "8bit", "8bit", 150, 16, "UNet, 16 channels", 10)
    >>> protocol_differences("cifar10-blur", ours, T=50)[0]
    'data: drawn at 16 pixels; published: cifar10 at 32 pixels'
    """
    first = task.partition("-")[0]
    restores = first != "generation"  # generation starts from a prior: no image is degraded
    name = {"generation": "celeba", "levels": "cifar10"}.get(first, first)
    size = {"celeba": 128}.get(name, 32)
    test_images = {"celeba": "its test images", "mnist": "10,000", "cifar10": "10,000"}[name]
    input_precision = "8bit" if "inpaint" in task and name != "celeba" else "float32"
    checks = [
        ("data", f"{ours.data} at {ours.size} pixels", f"{name} at {size} pixels"),
        ("images", f"{ours.images:,}", test_images),
        ("features", ours.features, "inception (FID)"),
        ("input", ours.input_precision, input_precision if restores else ours.input_precision),
        ("input in training", ours.training_precision, input_precision if restores else ours.training_precision),
        ("training", f"{ours.steps:,} steps of {ours.batch_size} images", "700,000 steps of 64 images"),
        ("network", ours.network, "UNet of DDPM" if name == "cifar10" else "ConvNeXt UNet, 64 channels"),
        ("sampling", f"{ours.sample_steps} steps", f"{T} steps"),
    ]
    return [f"{what}: {mine}; published: {theirs}" for what, mine, theirs in checks if mine != theirs]
