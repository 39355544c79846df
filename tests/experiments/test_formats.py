"""Data of any kind: files of 16 bits and of floating point, any number of channels, and the way back to their units."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import restore
from degrade.command_line import UsageError, validated
from experiments import compare, train
from experiments.data.datasets import load_data
from experiments.data.options import DataOptions
from restore.value_range import ValueRange
from samplers import Algorithm2, sample
from tests.experiments.test_train import TINY

CPU = torch.device("cpu")
EXACT = {"oversize": 1.0, "flip": False}


def load(path, size=16, **options):
    return load_data(validated(DataOptions, options), size, 0, CPU, str(path), "--data")


def spectra(folder, n=9, side=20, channels=5, suffix=".npy"):
    """Smooth float fields of several channels in 200..320, such as temperatures."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:side, :side] / side
    for i in range(n):
        planes = [260 + 50 * np.sin(3 * rows + c + i) * np.cos(2 * columns - i) for c in range(channels)]
        values = np.stack(planes, -1).astype(np.float32)
        np.savez(folder / f"{i}.npz", values) if suffix == ".npz" else np.save(folder / f"{i}{suffix}", values)
    return folder


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_keep_their_values_in_the_stated_range(tmp_path, suffix):
    folder = spectra(tmp_path / "set", side=16, suffix=suffix)
    data = load(folder, value_range=(200.0, 320.0), **EXACT)
    assert (data.channels, data.training.images.dtype) == (5, torch.float32)
    files = [np.load(file) for file in sorted(folder.iterdir())]
    known = [torch.from_numpy(file["arr_0"] if suffix == ".npz" else file).permute(2, 0, 1) for file in files]
    back = data.spec.value_range.denormalize(data.training.at(torch.arange(len(data.training))))
    for image in back:
        assert min(float((image - other).abs().max()) for other in known) < 2e-5  # of 120
    assert len(back) == 8


def test_sixteen_bits_in_gray_and_in_color_keep_their_values(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
    (tmp_path / "set").mkdir()
    for name in ("gray.png", "gray.tif"):
        Image.fromarray(values).save(tmp_path / "set" / name)
    Image.fromarray(values.astype(np.float32) / 2).save(tmp_path / "set" / "half.tiff")
    data = load(tmp_path / "set", value_range=(0, 65535), **EXACT)
    both = torch.cat([data.training.images, data.validation.images])
    levels = torch.from_numpy(values.astype(np.float32))
    assert sorted(float(image.sum()) for image in both) == pytest.approx(
        sorted([float(levels.sum()), float(levels.sum()), float(levels.sum()) / 2]), rel=1e-6
    )
    assert sum(torch.equal(image[0], levels) for image in both) == 2


def test_a_color_png_of_sixteen_bits_is_read_in_full(tmp_path):
    values = np.random.default_rng(1).integers(0, 65536, (4, 4, 3), dtype=np.uint16)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.png").write_bytes(png16(values))
    data = load(tmp_path / "set", size=4, value_range=(0.0, 65535.0), **EXACT)
    assert torch.equal(data.training.images[0], torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1))


def png16(values):
    """A color PNG (H, W, 3) of 16 bits, which Pillow does not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_values_outside_the_range_and_other_channels_are_named(tmp_path, capsys):
    folder = spectra(tmp_path / "set")
    np.save(folder / "a.npy", np.full((20, 20, 5), 500.0, np.float32))
    np.save(folder / "b.npy", np.full((20, 20, 5), np.nan, np.float32))
    np.save(folder / "c.npy", np.full((20, 20, 4), 250.0, np.float32))
    np.save(folder / "d.npy", np.array(["text"]))
    data = load(folder, value_range=(200, 320))
    assert len(data.training) + len(data.validation) == 9
    said = capsys.readouterr().err
    assert "a.npy: its values span 500..500, and --value-range is 200,320" in said
    assert "c.npy: it has 4 channels, and the set has 5" in said
    assert "d.npy" in said
    with pytest.raises(UsageError, match=r"13 \.npy files, which are read with --value-range alone"):
        load(folder)
    with pytest.raises(UsageError, match="--channels 5 needs --value-range"):
        load(folder, channels="5")
    with pytest.raises(UsageError, match="give a low and a higher"):
        load(folder, value_range=(3.0, 3.0))


def test_a_set_of_five_channels_is_trained_measured_drawn_and_restored_in_its_units(tmp_path, capsys):
    folder, out = spectra(tmp_path / "set", n=17), tmp_path / "out"
    arguments = ["--data", str(folder), "--value-range", "200,320", "--degradation-args", "T=3"]
    train.main([*TINY, *arguments, "--preview-every", "4", "--out", str(out)])
    specification = restore.read_checkpoint_config(restore.latest(out / "model"))
    assert specification.data.value_range == ValueRange(200.0, 320.0)
    assert specification.network.arguments["in_channels"] == 5
    measured = json.loads((out / "metrics.json").read_text())["evaluation"]
    assert 0 < measured["rows"]["direct"]["rmse"]["value"] < 1
    assert (out / "restored.png").stat().st_size > 0
    for said in (capsys.readouterr().out, (out / "report.html").read_text()):
        assert "An RMSE of 1 is the range of the values, 200..320: 0.01 is 1.2." in said
        assert "Pictures show the first 3 of 5 channels." in said
    assert "values 200..320" in (out / "report.html").read_text()
    compare.main(["--model", str(out), "--images", "2", "--steps", "1", "--severities", "0", "--device", "cpu"])

    R = restore.load(out / "model")
    x0 = load(folder, value_range=(200, 320)).validation.at(torch.arange(2))
    x_T = R.degradation(x0, torch.tensor([3, 3]))
    kelvin = specification.data.value_range.denormalize(sample(R, Algorithm2(), x_T))
    assert kelvin.shape == (2, 5, 16, 16)
    assert float(kelvin.min()) >= 200
    assert float(kelvin.max()) <= 320


def test_another_range_is_another_data_set():
    celsius = restore.DatasetInfo("set", 5, "ab", ValueRange(0.0, 40.0))
    assert celsius.matches(restore.DatasetInfo("moved", 5, "ab", ValueRange(0.0, 40.0)))
    assert not celsius.matches(restore.DatasetInfo("set", 5, "ab", ValueRange(0.0, 50.0)))
    assert restore.DatasetInfo("set", 5).matches(restore.DatasetInfo("set", 5, None, ValueRange(0.0, 255.0)))
