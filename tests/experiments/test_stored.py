"""Stores with labels and with second images: the same examples as from the folders that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from degrade import make
from degrade.command_line import UsageError, validated
from experiments import store as program
from experiments.data.archives import from_torchvision
from experiments.data.datasets import load_data, load_examples
from experiments.data.options import ExampleOptions
from experiments.data.store import Store
from restore import Restorer, TrainConfig, Trainer
from restore.optimizers import Adam
from tests.experiments.test_store import Scale

CPU = torch.device("cpu")
WRITE = ["--size", "8", "--oversize", "1", "--workers", "2"]


def load(**options):
    return load_examples(validated(ExampleOptions, {"oversize": 1.0, "flip": True, **options}), 8, 0, CPU)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Folders `clean`, of two classes and one picture without a partner, and `degraded`; a store of each; a CSV."""
    root, random = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for i in range(13):
        name = f"{'cats' if i % 3 else 'dogs'}/{i:02}"
        for kind, suffix in (("clean", "png"), ("degraded", "bmp")):
            if kind == "clean" or i != 4:
                (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / kind / f"{name}.{suffix}")
    lines = [f"{path.relative_to(root / 'clean')},{int(path.stem) % 4}" for path in (root / "clean").rglob("*.png")]
    (root / "labels.csv").write_text("\n".join(["name,label", *lines]))
    for kind in ("clean", "degraded"):
        assert program.main([str(root / kind), str(root / f"{kind}.store"), *WRITE]) == 0
    return root


def assert_equal_data(a, b):
    """Both parts give the same images with the same belongings, under the same generator."""
    assert (a.channels, a.classes, a.network_arguments) == (b.channels, b.classes, b.network_arguments)
    for one, other in ((a.training, b.training), (a.validation, b.validation)):
        assert len(one) == len(other)
        index = torch.arange(len(one)).flip(0)
        (x, cond), (y, other_cond) = (each.at(index, torch.Generator().manual_seed(1)) for each in (one, other))
        assert torch.equal(x, y)
        assert cond.keys() == other_cond.keys()
        assert all(torch.equal(cond[name], other_cond[name]) for name in cond)


@pytest.mark.parametrize("labels", ["folders", "labels.csv"])
def test_labels_of_a_store_are_those_of_its_folder(sets, labels):
    source = labels if labels == "folders" else str(sets / labels)
    folder, store = (load(data=str(sets / name), labels=source) for name in ("clean", "clean.store"))
    assert folder.classes == (("cats", "dogs") if labels == "folders" else ("0", "1", "2", "3"))
    assert_equal_data(folder, store)


@pytest.mark.parametrize("kind", ["pairs", "cond_images"])
def test_two_stores_are_matched_by_name_as_two_folders_are(sets, kind, capsys):
    def given(end):
        clean, degraded = str(sets / f"clean{end}"), str(sets / f"degraded{end}")
        return {"pairs": (clean, degraded)} if kind == "pairs" else {"data": clean, "cond_images": degraded}

    folder, store = (load(labels="folders", **given(end)) for end in ("", ".store"))
    assert_equal_data(folder, store)
    assert len(store.training) + len(store.validation) == 12
    assert capsys.readouterr().err.count("left out 1 of 13 images without a partner of the same name: ") == 2


def losses(data, steps, state=None):
    D = make("interpolation", T=4, schedule="rectified", source=data.partners.training)
    config = TrainConfig(steps=steps, batch_size=4, micro_batch_size=2, optimizer=Adam(lr=1e-2), seed=3)
    trainer = Trainer(Restorer(Scale(), D), config)
    if state is not None:
        trainer.load_state_dict(state)
    found = [stats.losses.tolist() for stats in trainer.run(data.training)]
    return found, trainer.state_dict()


def test_training_on_pairs_from_stores_equals_that_from_folders_and_resumes_exactly(sets, monkeypatch):
    folders, stores = (load(pairs=(str(sets / f"clean{end}"), str(sets / f"degraded{end}"))) for end in ("", ".store"))
    expected, _ = losses(folders, 6)
    asked = []
    ahead = stores.training.images.prefetch
    monkeypatch.setattr(stores.training, "prefetch", lambda index: (asked.append(index), ahead(index)))
    first, state = losses(stores, 2)
    assert first + losses(stores, 6, state)[0] == expected
    assert asked
    assert stores.spec.sha256 != load(pairs=(str(sets / "degraded.store"), str(sets / "clean.store"))).spec.sha256


def test_a_store_of_a_torchvision_set_has_both_parts_with_their_labels(tmp_path, monkeypatch):
    class Numbers:
        def __init__(self, root, train, download):
            self.first = 0 if train else 100

        def __len__(self):
            return 9

        def __getitem__(self, i):
            return Image.new("L", (8, 8), self.first + i), self.first + i % 2

    monkeypatch.setattr("torchvision.datasets.MNIST", Numbers)
    assert program.main(["mnist", str(tmp_path / "store"), *WRITE]) == 0
    index = Store(tmp_path / "store").index
    assert index.shape == (18, 8, 8, 1)
    shown = dict(zip(index.names, index.labels, strict=True))
    for entries in from_torchvision("mnist", tmp_path, False, "--data"):
        assert all(shown[name] == read.label for name, read in entries)
    data = load(data=str(tmp_path / "store"), labels="folders")
    assert data.classes == ("0", "1", "100", "101")
    x, cond = data.training.at(torch.arange(10))
    values = (x.amax((1, 2, 3)) + 1) * 127.5
    assert cond["label"].tolist() == [int(v >= 100) * 2 + int(v % 100) % 2 for v in values.round()]


def test_stores_that_do_not_go_together_are_refused(sets, tmp_path):
    clean = str(sets / "clean.store")
    with pytest.raises(UsageError, match=r"is a store and .*degraded is none; write both with store\.py"):
        load(pairs=(clean, str(sets / "degraded")))
    program.main([str(sets / "degraded"), str(tmp_path / "gray"), *WRITE, "--channels", "1"])
    with pytest.raises(UsageError, match=r"hold 8 x 8 x 3 uint8 and 8 x 8 x 1 uint8; write both with the same"):
        load(pairs=(clean, str(tmp_path / "gray")))
    assert load_data(validated(ExampleOptions, {}), 8, 0, CPU, clean, "--data").channels == 3
