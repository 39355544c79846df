"""How a classifier sees images: how many it recognizes, of which classes they are, and how far they are from real ones.

An image is recognized if the classifier gives one class a probability above `confidence`. What real images reach is the
mark that samples are held against; so is the Fréchet distance from real images to other real ones, on the features of
the classifier. A distance between sets of different size is biased upward for the smaller ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.evaluation.distances import frechet_distance
from experiments.evaluation.feature_networks import FeatureRows, StoredClassifier
from experiments.evaluation.intervals import bootstrap
from experiments.evaluation.tables import render_table

__all__ = ["RecognitionEvaluator", "recognition_table"]


class RecognitionEvaluator:
    """A classifier, and real images that its training has not seen.

    Args:
        features: the classifier.
        reference: (n, C, H, W) real images in [-1, 1].
        confidence: probability from which on an image counts as recognized, in (0, 1).
        batch_size: images in one forward pass.
    """

    def __init__(
        self, features: StoredClassifier, reference: Tensor, confidence: float = 0.9, batch_size: int = 100
    ) -> None:
        self.features, self.confidence, self.batch_size = features, confidence, batch_size
        self.classes = features.trained().classes
        self.reference = self.rows(reference).features

    def rows(self, x: Tensor) -> FeatureRows:
        """Return features (n, D) and logits (n, classes) of images (n, C, H, W)."""
        parts = [self.features(part) for part in torch.split(x, self.batch_size)]
        logits = [part.logits for part in parts if part.logits is not None]
        return FeatureRows(torch.cat([part.features for part in parts]), torch.cat(logits))

    def measure(self, x: Tensor, asked: Sequence[str] | None = None) -> dict[str, Any]:
        """Return what the classifier sees in images (n, C, H, W), as JSON values.

        Args:
            x: the images, at least two.
            asked: the name of the class that each of them should be of; None where none was asked for.

        Returns:
            `recognized`, the fraction above the confidence, and its 95 % interval; `counts` by class;
            `largest_over_smallest` of the counts, None if a class is missing; `frechet_distance` to the reference; and
            where classes were asked for `as_asked`, the fraction that is of the right one.
        """
        features, logits = self.rows(x)
        assert logits is not None
        probability, found = logits.double().softmax(1).max(1)
        sure = (probability > self.confidence).double()
        counts = torch.bincount(found, minlength=len(self.classes)).tolist()
        interval = bootstrap(sure)
        measured: dict[str, Any] = {
            "images": len(x),
            "recognized": float(sure.mean()),
            "recognized_interval": list(interval),
            "counts": dict(zip(self.classes, counts, strict=True)),
            "largest_over_smallest": max(counts) / min(counts) if min(counts) else None,
            "frechet_distance": frechet_distance(features, self.reference),
        }
        if asked is not None:
            wanted = torch.tensor([self.classes.index(name) for name in asked], device=found.device)
            measured["as_asked"] = float((found == wanted).double().mean())
        return measured


def recognition_table(measured: Mapping[str, Mapping[str, Any]], features: str, confidence: float) -> str:
    """Return a table of what `RecognitionEvaluator.measure` found, by name of the set."""
    rows = []
    for name, found in measured.items():
        low, high = found["recognized_interval"]
        ratio, asked = found["largest_over_smallest"], found.get("as_asked")
        rows.append([
            name, str(found["images"]), f"{found['recognized']:.3f} [{low:.3f}, {high:.3f}]",
            "a class is missing" if ratio is None else f"{ratio:.2f}", f"{found['frechet_distance']:.3f}",
            "" if asked is None else f"{asked:.3f}",
        ])  # fmt: skip
    headings = ["images", "number", f"recognized above {confidence:g}", "most / least", "Fréchet distance", "as asked"]
    return render_table(headings, rows, f"as {features} sees them:")
