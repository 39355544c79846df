"""CBM3D as a baseline: what the package is given and what comes back, with a stand-in for the package."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

import degrade
from degrade.command_line import UsageError
from experiments import evaluate
from experiments.data.packed import PackedImages
from experiments.evaluation.cbm3d import CBM3D
from experiments.evaluation.pictures import PictureOptions, measure_pictures
from restore import FunctionRestorer, export_model
from restore.train_config import TrainConfig
from tests.restorers import trained

STAND_IN = """
def bm3d_rgb(z, sigma):
    assert z.shape[2] == 3 and z.dtype == "float64"
    return z - sigma * numpy.array([1.0, 2.0, 3.0])

def bm3d(z, sigma):
    return (z - sigma).squeeze()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "bm3d.py").write_text(f"import numpy\n{STAND_IN}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bm3d", raising=False)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("bm3d", None)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("channels", "per_channel"), [(3, [1, 2, 3]), (1, [1])])
def test_the_package_is_told_the_noise_of_the_image_in_its_own_units(channels, per_channel):
    D = degrade.make("gaussian_noise", T=10)
    x_t, t = torch.randn(2, channels, 5, 7, dtype=torch.float64), torch.tensor([2, 9])
    a_t, b_t = D.coefficients(t, x_t)
    # In [0, 1] the noise has half its deviation in [-1, 1], and what is subtracted there counts twice here.
    expected = (x_t - b_t * torch.tensor(per_channel, dtype=torch.float64).view(-1, 1, 1)) / a_t
    torch.testing.assert_close(CBM3D(D)(x_t, t), expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("package")
def test_it_restores_the_pictures_that_the_model_restores():
    D = degrade.make("gaussian_noise", T=4, schedule={"name": "linear_sigma", "arguments": {"sigma_max": 0.1}})
    pictures = PackedImages.pack([torch.full((3, 12, 16), 51, dtype=torch.uint8)])
    same = FunctionRestorer(lambda x, t: x - 0.1 * torch.tensor([1.0, 2, 3]).view(-1, 1, 1), D)
    found = measure_pictures(same, pictures, 4, PictureOptions(tile_size=64, baseline=CBM3D(D)))
    assert found.differences["baseline"]["psnr"].value == pytest.approx(0, abs=1e-4)


def test_other_degradations_and_a_missing_package_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="the degradation is decolor"):
        CBM3D(degrade.make("decolor"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install bm3d"):
        CBM3D(degrade.make("gaussian_noise"))
    export_model(trained(), tmp_path / "blur", "# Restores blur", training=TrainConfig(steps=1))
    with pytest.raises(UsageError, match="--baseline cbm3d: CBM3D removes Gaussian noise, and the degradation is blur"):
        evaluate.main(["--model", str(tmp_path / "blur"), "--data", str(tmp_path), "--baseline", "cbm3d"])
