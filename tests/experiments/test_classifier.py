"""Classifiers: trained, stored and read back, as features, and what they see in samples."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional as F

from degrade.command_line import UsageError, validated
from experiments import classifier, recognize
from experiments.data.drawn import DrawnAnimals
from experiments.evaluation.classifiers.network import ClassifierConfig, ClassifierNet
from experiments.evaluation.classifiers.storage import HERE, TrainedClassifier, accuracy, load_classifier
from experiments.evaluation.feature_networks import FeatureRows, StoredClassifier, make_feature_network
from experiments.evaluation.recognition import RecognitionEvaluator, recognition_table
from restore.checkpoint.integrity import CorruptCheckpointError


def striped(n, upright, seed):
    """Gray images of vertical or horizontal stripes of random brightness and phase."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        stripe = random.uniform(60, 250) * ((np.arange(16) + random.integers(4)) // 2 % 2)
        yield Image.fromarray(np.broadcast_to(stripe if upright else stripe[:, None], (16, 16)).astype(np.uint8))


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """A folder of pictures of two classes."""
    folder = tmp_path_factory.mktemp("stripes")
    for part, n in (("train", 48), ("test", 12)):
        for label in ("flat", "upright"):
            (folder / part / label).mkdir(parents=True)
            for i, picture in enumerate(striped(n, label == "upright", n)):
                picture.save(folder / part / label / f"{label}{i}.png")
    return folder


@pytest.fixture(scope="module")
def trained(stripes, tmp_path_factory):
    """The folder of a classifier of the two classes."""
    out = tmp_path_factory.mktemp("classifier") / "out"
    classifier.main(["--data", str(stripes), "--out", str(out), "--size", "16", "--width", "2", "--epochs", "12",
                     "--batch-size", "16", "--lr-schedule", "cosine", "--device", "cpu"])  # fmt: skip
    return out


def test_a_classifier_is_trained_stored_and_read_back(trained, stripes):
    read = load_classifier(trained)
    assert read.classes == ("flat", "upright")
    x = torch.stack([torch.from_numpy(np.array(p)).float() for k in (0, 1) for p in striped(12, k, 12)])[:, None]
    found = accuracy(read.net, x / 127.5 - 1, torch.arange(2).repeat_interleave(12))
    assert found == pytest.approx(read.training["accuracy"])
    assert found > 0.9
    assert f"| accuracy | {found:.4f} of 24 held-out images |" in (trained / "card.md").read_text()
    rows = make_feature_network(f"classifier:folder={trained}")(x[:3])
    assert (rows.features.shape, rows.logits.shape) == ((3, 16), (3, 2))


def test_what_is_no_classifier_is_named(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is no classifier; name one of .*mnist"):
        make_feature_network("classifier:folder=nowhere")
    with pytest.raises(ValueError, match="images have 3 channels; the classifier takes 1"):
        make_feature_network("mnist_classifier")(torch.zeros(1, 3, 32, 32))
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "classifier.json").write_text((trained / "classifier.json").read_text().replace("upright", "uprigth"))
    with pytest.raises(CorruptCheckpointError, match=r"classifier\.json"):
        load_classifier(tmp_path)
    with pytest.raises(UsageError, match=r"--out .* is there and not empty; name a new folder"):
        classifier.main(["--out", str(trained)])
    with pytest.raises(UsageError, match="--optimizer adamm: no optimizer is called"):
        classifier.main(["--out", str(tmp_path / "new"), "--optimizer", "adamm"])


def test_augmentation_moves_turns_and_scales():
    still = {"max_shift": 0.0, "max_rotation": 0.0, "max_zoom": 0.0}
    ramp = torch.linspace(-1, 1, 32).view(1, 1, 1, 32).expand(64, 1, 32, 32)

    def augmented(x, **options):
        config = validated(classifier.Config, {**still, **options})
        return classifier.augment(x, config, torch.Generator().manual_seed(0))

    torch.testing.assert_close(augmented(ramp), ramp)
    pixel = 2 / 31
    moved = (augmented(ramp, max_shift=0.1)[:, 0, 16, 16] - ramp[0, 0, 16, 16]) / pixel
    assert 2 < moved.abs().max() <= 3.2
    assert abs(moved.mean()) < 1
    # A turn by a makes the slope along x cos(a), a zoom by r makes it r; both keep the middle.
    for options, least in (({"max_rotation": 60.0}, 0.5), ({"max_zoom": 0.25}, 0.75)):
        found = augmented(ramp, **options)
        slope = (found[:, 0, 16, 18] - found[:, 0, 16, 13]) / (5 * pixel)
        assert least - 1e-3 <= slope.min() < least + 0.15
        assert (found[:, 0, 15:17, 15:17].mean((1, 2))).abs().max() < 1e-5


def test_the_shipped_classifier_of_digits_reads_digits_of_another_set():
    assert sum(file.stat().st_size for file in (HERE / "mnist").iterdir()) < 1_000_000
    read = load_classifier("mnist")
    assert read.classes == tuple("0123456789")
    assert read.training["accuracy"] > 0.985
    digits = load_digits()  # 8 x 8 pixels, by other hands, about as large as those of MNIST when enlarged to 20
    x = torch.from_numpy(digits.images[:500]).float()[:, None] / 8 - 1
    x = F.pad(F.interpolate(x, (20, 20), mode="bicubic").clamp(-1, 1), [6] * 4, value=-1.0)
    assert accuracy(read.net, x, torch.from_numpy(digits.target[:500])) > 0.8


def test_the_shipped_classifier_of_thumbnails_is_read_and_tells_pictures_apart():
    read = load_classifier("cifar10")
    assert read.training["accuracy"] > 0.75
    assert len(read.classes) == 10
    animals = DrawnAnimals(32)(32, torch.Generator().manual_seed(0))
    rows = make_feature_network("cifar10_classifier")(torch.cat([animals, torch.zeros_like(animals[:1])]))
    assert (rows.features.shape, rows.logits.shape) == ((33, 128), (33, 10))
    kinds = [read.classes[i] for i in rows.logits[:32].argmax(1)]
    living = {"bird", "cat", "deer", "dog", "frog", "horse"}
    assert sum(kind in living for kind in kinds) >= 20  # of drawings, which it has never seen


class Told(StoredClassifier):
    """A classifier of three classes that is sure of the shade of an image: 0, 0.5 or 1; of others it is not sure."""

    def trained(self):
        return TrainedClassifier(ClassifierNet(ClassifierConfig()), ("black", "gray", "white"), {})

    def forward(self, images):
        shade = images.mean((1, 2, 3))
        logits = -100 * (shade[:, None] - torch.tensor([0.0, 0.5, 1.0])).abs()
        return FeatureRows(torch.stack([shade, torch.zeros_like(shade)], 1), logits)


def test_what_a_classifier_sees_is_counted():
    shades = torch.tensor([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 0.26, 0.74])
    x = shades.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    evaluator = RecognitionEvaluator(Told(), x + 0.1, batch_size=3)
    found = evaluator.measure(x, ["black"] * 4 + ["white"] * 4)
    # 0.26 is 0.26 from black and 0.24 from gray: exp(-100 x 0.02) = 0.135, so gray has 0.88; 0.74 the same.
    assert found["recognized"] == 6 / 8
    assert found["recognized_interval"][0] < 6 / 8 < found["recognized_interval"][1]
    assert found["counts"] == {"black": 3, "gray": 3, "white": 2}
    assert found["largest_over_smallest"] == 1.5
    assert found["as_asked"] == 5 / 8
    assert found["frechet_distance"] == pytest.approx(0.01, rel=1e-4)  # the same shades, all 0.1 brighter
    assert evaluator.measure(x[:3])["largest_over_smallest"] is None
    text = recognition_table({"real": found, "black": evaluator.measure(x[:3])}, "told", 0.9)
    assert "a class is missing" in text
    assert "0.750 [" in text
    assert math.isclose(RecognitionEvaluator(Told(), x, confidence=0.8).measure(x)["recognized"], 1.0)


def test_a_program_that_asks_for_a_classifier_gets_one(tmp_path):
    for words, message in (
        ([], "--model is missing"),
        (["--features", "thumbnail", "--model", "x"], "--features thumbnail names no classes"),
        (["--features", "classifier:folder=nowhere", "--model", "x"], "nowhere is no classifier"),
        (["--model", str(tmp_path / "nowhere")], "--model .*nowhere"),
    ):
        with pytest.raises(UsageError, match=message):
            recognize.main(words)


def test_json_of_a_measurement_is_plain(trained):
    features = make_feature_network(f"classifier:folder={trained}")
    x = torch.rand(6, 1, 16, 16) * 2 - 1
    assert json.loads(json.dumps(RecognitionEvaluator(features, x).measure(x)))["images"] == 6
