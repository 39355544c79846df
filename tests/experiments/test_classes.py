"""Class-conditional diffusion: what is learned, sampled and measured of images whose class is known."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import degrade
import restore
from degrade.command_line import UsageError, parse
from experiments import classifier, ddpm, generate, recognize
from experiments.data.examples import Examples
from experiments.data.images import InMemoryImages
from experiments.evaluation.diffusion import Classes, DiffusionEvaluator
from restore import FunctionRestorer
from samplers.applications.likelihood import bits_per_dim
from samplers.commands.generate import Generate
from tests.experiments.test_ddpm import TINY

SHADES = torch.tensor([-0.8, 0.2, 0.6, 0.0])  # of three classes, and of "no class", which is their mean
NAMES = ("black", "gray", "white")


def shade_of(x_t, t, label=None):
    """The clean image of a class all of whose images are one shade."""
    label = torch.full_like(t, 3) if label is None else label
    return SHADES[label].view(-1, 1, 1, 1).expand_as(x_t)


def study(scale):
    R = FunctionRestorer(shade_of, degrade.make("gaussian_noise", T=8))
    R.null_cond = {"label": 3}
    label = torch.arange(6) % 3
    pixels = ((SHADES[label] + 1) * 127.5).round().to(torch.uint8)
    unseen = Examples(
        InMemoryImages(pixels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), 4, flip=False), None, {"label": label}
    )
    return DiffusionEvaluator(R, unseen, seed=0, batch=2, steps=4, classes=Classes(NAMES, scale)), unseen


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_samples_are_of_every_class_in_turn_and_guided(scale, tmp_path, monkeypatch):
    one, _ = study(scale)
    for name, x in one.samples(7).items():  # the last step of every sampler ends in x0_hat
        assert torch.allclose(x, scale * shade_of(x, torch.zeros(7), torch.tensor([0, 0, 1, 1, 2, 2, 2]))), name
    shown = []
    monkeypatch.setattr(
        "experiments.evaluation.strips.render_rows", lambda rows, scale: shown.extend(rows) or Image.new("L", (1, 1))
    )
    one.class_grid(tmp_path / "classes.png", 2)
    one.plot_trajectories(tmp_path / "reverse.png", 4)
    for row, shade in zip(shown, scale * SHADES[:3].repeat(3)):
        assert torch.allclose(row.panels[-1], shade.expand(1, 4, 4))


def test_the_bound_of_a_conditional_model_is_told_the_classes():
    one, unseen = study(1.0)
    x0, cond = unseen.at(torch.arange(6))
    told, untold = one.bound(6, None)["small"]["total"], bits_per_dim(one.R, x0).total.mean()
    by_hand = [bits_per_dim(one.R.with_cond(label=k[None]), x[None]).total for x, k in zip(x0, cond["label"])]
    # x0_hat does not depend on x_t, so that the bound does not depend on the noise.
    assert told == pytest.approx(float(torch.cat(by_hand).mean()), rel=1e-6)
    assert told < float(untold) - 1


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """The run of a model of two classes, and its data."""
    folder = tmp_path_factory.mktemp("conditional")
    for label, value in (("cat", 60), ("dog", 200)):
        for part, n in (("train", 5), ("test", 2)):
            (folder / "set" / part / label).mkdir(parents=True)
            for i in range(n):
                Image.new("L", (16, 16), value + i).save(folder / "set" / part / label / f"{label}{i}.png")
    words = ["--data", folder / "set", "--labels", "folders", "--cond-dropout", 0.2, "--guidance-scale", 2]
    ddpm.main([*TINY, *map(str, [*words, "--sample-steps", 3, "--out", folder / "out"])])
    return folder / "out"


def test_a_conditional_run_leaves_a_model_that_knows_its_classes(conditional):
    assert (conditional / "classes.png").exists()
    assert json.loads((conditional / "metrics.json").read_text())["guidance_scale"] == 2
    known = restore.read_checkpoint_config(restore.latest(conditional / "model"))
    assert (known.data.classes, known.network.arguments["num_classes"]) == (("cat", "dog"), 2)
    assert known.training.cond_dropout == 0.2


def test_images_of_a_class_are_generated(conditional, tmp_path):
    words = [
        "--model",
        str(conditional),
        "--device",
        "cpu",
        "--images",
        "2",
        "--sampler",
        "ddim",
        "--sample-steps",
        "2",
    ]
    asked = [*words, "--label", "dog", "--guidance-scale", "1.5"]
    generate.main([*asked, "--out", str(tmp_path / "here")])
    measured = json.loads((tmp_path / "here" / "metrics.json").read_text())
    assert (measured["label"], measured["guidance_scale"]) == ("dog", 1.5)
    options = {"model": str(conditional), "label": "dog", "guidance_scale": 1.5, "images": 2, "sample_steps": 2}
    R, x = restore.load(conditional), torch.rand(1, 1, 16, 16)
    t, (cat, dog, none) = torch.tensor([3]), torch.arange(3).split(1)
    expected = R(x, t, label=none) + 1.5 * (R(x, t, label=dog) - R(x, t, label=none))
    found = Generate(**options).guide(R)(x, t)
    torch.testing.assert_close(found, expected.clamp(-1, 1))
    assert not torch.equal(found, R(x, t, label=cat))
    Generate(**options, sampler="ddim", out=str(tmp_path / "there")).run()
    assert len(list((tmp_path / "there").glob("[0-9]*.png"))) == 2


BAD = [
    (["--label", "cow"], "--label cow: choose from cat, dog"),
    (["--guidance-scale", "2"], "--guidance-scale 2 guides towards a class; name it with --label"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_what_a_model_does_not_know_ends_in_one_line(words, message, conditional, tmp_path):
    with pytest.raises(UsageError, match=message):
        generate.main(["--model", str(conditional), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--guidance-scale 2", "--guidance-scale 2 needs --labels"),
        ("--guidance-scale 2 --labels folders", "--guidance-scale 2 needs --cond-dropout"),
        ("--cond-dropout 0.1", "--cond-dropout 0.1 leaves out conditions, and there are no --labels"),
        ("--pairs a b", "--pairs"),
    ],
)
def test_guidance_needs_labels_that_were_left_out_in_training(words, message):
    with pytest.raises(UsageError, match=message):
        parse(ddpm.Config, ddpm.PRESETS, words.split(), "ddpm.py", "")


def test_what_a_conditional_model_generates_is_measured_by_a_classifier(conditional, tmp_path, capsys):
    data, trained, out = conditional.parent / "set", tmp_path / "classifier", tmp_path / "found.json"
    classifier.main(["--data", str(data), "--out", str(trained), "--size", "16", "--width", "1", "--epochs", "1",
                     "--batch-size", "4", "--device", "cpu"])  # fmt: skip
    words = ["--model", conditional, "--data", data, "--size", 16, "--features", f"classifier:folder={trained}",
             "--images", 5, "--ancestral-images", 4, "--sample-steps", 2, "--bound-images", 2, "--bound-times", 2,
             "--guidance-scales", "1,3", "--device", "cpu", "--out", out]  # fmt: skip
    recognize.main([*map(str, words)])
    found = json.loads(out.read_text())
    guided = [f"DDIM, 2 steps, guidance scale {scale}" for scale in (1, 3)]
    names = ["held-out images", "training images", "DDIM, 2 steps", "ancestral, small variance", *guided]
    assert list(found["sets"]) == names
    assert [found["sets"][name]["images"] for name in names[2:]] == [5, 4, 5, 5]
    assert ["as_asked" in found["sets"][name] for name in names] == [False] * 4 + [True] * 2
    assert len(found["bits_per_dim"]["times"]) == 2
    assert "as asked" in capsys.readouterr().out
