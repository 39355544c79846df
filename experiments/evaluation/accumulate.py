"""Rows of metrics and features, accumulated over batches and over processes.

A set of images is cut into batches, and the batches into one run for each process (`process_share`). Every process
observes its own; `Accumulator.rows` puts the rows together in the order of the images. The batches are the same however
many processes there are, so the numbers are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from degrade.files import replace_file
from experiments.evaluation.feature_networks import FeatureNetwork
from experiments.evaluation.metrics.base import Metric, check_finite
from restore.distributed import SingleProcess

__all__ = ["Accumulator", "Rows", "gather_objects", "process_share", "reference_rows", "tensor_sha256"]

Rows = dict[str, Tensor]  # name of a metric, or `features` or `logits` -> (n, K) on the CPU
T = TypeVar("T")


def process_share(n: int, batch_size: int, processes: SingleProcess) -> list[slice]:
    """Return the batches of n images that this process works on: consecutive ones, in order of the ranks.

    >>> process_share(10, 4, SingleProcess())
    [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    """
    batches = [slice(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]
    first, end = (len(batches) * rank // processes.world_size for rank in (processes.rank, processes.rank + 1))
    return batches[first:end]


def gather_objects(value: T, processes: SingleProcess) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if processes.world_size == 1:
        return [value]
    values: list[Any] = [None] * processes.world_size
    torch.distributed.all_gather_object(values, value)
    return values


class Accumulator:
    """Collects the rows that metrics need of one set of images.

    Args:
        metrics: the metrics to compute.
        features: the network of the metrics that compare features, or None without them.
        processes: the processes that share the set; each adds its own batches.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        features: FeatureNetwork | None = None,
        processes: SingleProcess = SingleProcess(),
    ) -> None:
        self.metrics, self.features, self.processes = list(metrics), features, processes
        self._parts: list[Rows] = []

    def add(self, images: Tensor, truth: Tensor | None = None, start: Tensor | None = None) -> None:
        """Observe a batch.

        Args:
            images: (B, C, H, W) in [-1, 1].
            truth: the clean images they restore, for metrics that need a truth.
            start: images at the start of the trajectories, for metrics that need them.

        Raises:
            ValueError: for images that are not finite, or of another shape than their truths or starts.
        """
        check_finite(images)
        part: Rows = {}
        needs = set().union(*(metric.needs for metric in self.metrics))
        if self.features is not None and needs & {"features", "logits"}:
            rows = self.features(images)
            part["features"] = rows.features.cpu()
            if rows.logits is not None:
                part["logits"] = rows.logits.cpu()
        for metric in self.metrics:
            other = truth if "truth" in metric.needs else start
            if metric.needs & {"features", "logits"} or (metric.needs & {"truth", "start"} and other is None):
                continue
            if min(images.shape[-2:]) < metric.minimum_size:
                continue
            part[metric.column()] = metric.observe(images, other).cpu()
        self._parts.append(part)

    def rows(self) -> Rows:
        """Return the rows of all batches of all processes, in the order of the images; every process must ask."""
        parts = [part for parts in gather_objects(self._parts, self.processes) for part in parts]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]} if parts else {}


def tensor_sha256(images: Tensor) -> str:
    """Return the fingerprint of images: a hash of shape, dtype and values.

    >>> tensor_sha256(torch.zeros(2)) == tensor_sha256(torch.zeros(2)), tensor_sha256(torch.zeros(2, 1))[:8]
    (True, '14ec042c')
    """
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
    digest.update(images.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def reference_rows(
    features: FeatureNetwork, images: Tensor, batch_size: int = 64, cache: str | Path | None = None
) -> Rows:
    """Return the feature rows of a reference set, read from a cache where they were computed before.

    Args:
        features: the network.
        images: (n, C, H, W) in [-1, 1].
        batch_size: images in a forward pass.
        cache: folder of earlier results; a file is named after the fingerprints of network and images. None computes.
    """
    file = None
    if cache is not None:
        key = hashlib.sha256(f"{features.fingerprint} {tensor_sha256(images)}".encode()).hexdigest()
        file = Path(cache) / f"{features.name}-{key[:32]}.safetensors"
        if file.is_file():
            return load_file(file)
    check_finite(images)
    parts = [features(batch) for batch in torch.split(images, batch_size)]
    rows: Rows = {"features": torch.cat([part.features.cpu() for part in parts]).contiguous()}
    if parts[0].logits is not None:
        rows["logits"] = torch.cat([part.logits.cpu() for part in parts if part.logits is not None]).contiguous()
    if file is not None:
        replace_file(file, save(rows))
    return rows
