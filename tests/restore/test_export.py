"""Restorers as programs of torch.export and as ONNX files: equal at any size, and what is refused."""

from __future__ import annotations

import json
import sys

import onnxruntime
import pytest
import torch
from torch import nn

import degrade
import restore
from restore.__main__ import main
from samplers.console import main as console

BLUR = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=3)
NOISE = degrade.make("gaussian_noise", T=10)
ONE_LEVEL = {
    "image_size": 16,
    "in_channels": 1,
    "model_channels": 8,
    "channel_mult": (1,),
    "num_res_blocks": 1,
    "norm_groups": 4,
}
UNET = ONE_LEVEL | {"attention_resolutions": (8,), "patch_size": 2, "num_classes": 5, "cond_channels": 2}


def trained(net, D, prediction_type="x0", **how):
    """A restorer whose weights are such that every one of them counts."""
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return restore.Restorer(net, D, prediction_type, **how).eval().requires_grad_(False)


def cnn(D=BLUR, **how):
    seen = {"in_channels": 2, "out_channels": 1} if "inverse_input" in how else {"in_channels": 1}
    return trained(restore.make_network("residual_cnn", channels=4, num_layers=1, max_timestep=D.T, **seen), D, **how)


def inputs(R, n, height, width):
    """Images, severities, and a value other than "none" for every condition."""
    generator = torch.Generator().manual_seed(n)
    x_t = torch.randn(n, R.image_channels, height, width, generator=generator)
    given = {"x_t": x_t, "t": R.degradation.T - torch.arange(n)}
    if getattr(R.net.config, "num_classes", None):
        given |= {"label": torch.arange(n) % 5, "image": torch.randn(n, 2, height, width, generator=generator)}
    return given


def in_onnxruntime(path, given):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (x0_hat,) = session.run(["x0_hat"], {name: value.numpy() for name, value in given.items()})
    return session, torch.from_numpy(x0_hat)


def called_by_name(program):
    return lambda x_t, t, **cond: program.module()(x_t, t, **cond)


@pytest.mark.parametrize(
    "R",
    [
        cnn(NOISE, prediction_type="v", clip_sample=True),
        trained(restore.make_network("unet", **UNET), NOISE, "eps"),
    ],
    ids=["residual_cnn-v", "unet-conditions-eps"],
)
def test_an_onnx_file_gives_what_the_restorer_gives_at_any_size(R, tmp_path):
    path = restore.export_onnx(R, tmp_path / "model.onnx")
    for n, height, width in ((3, 8, 20), (1, 12, 4)):
        given = inputs(R, n, height, width)
        session, x0_hat = in_onnxruntime(path, given)
        expected = R(**given)
        assert x0_hat.dtype == torch.float32
        assert expected.std() > 0.01
        torch.testing.assert_close(x0_hat, expected, rtol=1e-4, atol=1e-4)
    given = inputs(R, 2, 8, 4)
    for name in given:  # each input counts
        _, changed = in_onnxruntime(path, given | {name: given[name].flip(0)})
        assert not torch.allclose(changed, R(**given), atol=1e-3)
    assert [value.name for value in session.get_inputs()] == list(given)
    assert session.get_inputs()[0].shape == ["batch", R.image_channels, "height", "width"]
    assert session.get_inputs()[1].type == "tensor(int64)"
    meta = session.get_modelmeta().custom_metadata_map
    assert degrade.from_dict(json.loads(meta["degradation"])) == R.degradation
    assert meta["size_divisor"] == str(R.size_divisor)


def test_conditions_that_are_bound_become_constants():
    R = restore.FunctionRestorer(lambda x_t, t, shade: x_t + shade.view(-1, 1, 1, 1), NOISE)
    x_t, t = torch.zeros(3, 1, 2, 5), torch.ones(3, dtype=torch.int64)
    program = restore.export_program(R.with_cond(shade=torch.tensor([0.25])), channels=1).module()
    assert torch.equal(program(x_t, t), x_t + 0.25)
    program = restore.export_program(R, {"shade": torch.tensor([0.0])}, channels=1).module()
    assert torch.equal(program(x_t, t, shade=torch.arange(3.0))[:, 0, 0, 0], torch.arange(3.0))


def test_a_network_that_sees_the_inverse_is_exported_for_one_size(tmp_path):
    R = cnn(inverse_input=restore.InverseInput(0.01))
    with pytest.raises(ValueError, match=r"Restorer of blur cannot be exported: .*; pass image_size=\(height, width\)"):
        restore.export_program(R)
    path = restore.export_onnx(R, tmp_path / "model.onnx", image_size=(8, 12))
    given = inputs(R, 3, 8, 12)
    _, x0_hat = in_onnxruntime(path, given)
    torch.testing.assert_close(x0_hat, R(**given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda R: R.train(), r"training mode, with dropout; call R\.eval\(\)"),
        (lambda R: setattr(R, "precision", "bfloat16"), r"R\.precision is 'bfloat16'"),
        (lambda R: R.half(), r"layers\.0\.weight is torch\.float16; .* call R\.float\(\)"),
    ],
)
def test_what_does_not_compute_in_float32_is_refused(change, message):
    R = cnn()
    change(R)
    with pytest.raises(ValueError, match=message):
        restore.export_program(R)


def test_sizes_and_channels_that_do_not_fit_are_refused():
    R = trained(restore.make_network("unet", **UNET), NOISE)
    with pytest.raises(ValueError, match=r"image_size is \(8, 9\); it needs \(height, width\) that divide by 2"):
        restore.export_program(R, image_size=(8, 9))
    with pytest.raises(ValueError, match="FunctionRestorer does not know the channels of its images; pass channels=3"):
        restore.export_program(restore.FunctionRestorer(lambda x_t, t: x_t, NOISE))


def test_the_command_writes_both_formats(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    training = restore.Trainer(cnn().train().requires_grad_(True), restore.TrainConfig(steps=1, batch_size=2))
    restore.save("run", training)
    R = restore.load("run")
    given = inputs(R, 3, 5, 8)
    assert console(["export", "run", "--format", "onnx", "--out", "model.onnx"]) == 0
    torch.testing.assert_close(in_onnxruntime("model.onnx", given)[1], R(**given), rtol=1e-4, atol=1e-4)
    assert main(["export", "run", "--format", "pt2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "model.onnx: x_t (N, 1, H, W), sides that divide by 1, and t (N,) in 1..4",
        "run.pt2: x_t (N, 1, H, W), sides that divide by 1, and t (N,) in 1..4",
    ]
    torch.testing.assert_close(called_by_name(torch.export.load("run.pt2"))(**given), R(**given), rtol=1e-5, atol=1e-5)
    assert main(["export", "run", "--image-size", "8"]) == 2
    assert main(["export", "run", "--out", "nowhere/model.onnx"]) == 2
    assert "two numbers, height,width" in capsys.readouterr().err


def test_a_missing_package_is_asked_for_by_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"export_onnx needs onnxscript: pip install 'degrade-restore\[onnx\]'"):
        restore.export_onnx(cnn(), tmp_path / "model.onnx")
