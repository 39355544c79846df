"""On an accelerator: the same numbers as on the CPU, and no waiting for the device inside a step."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

import degrade
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.images import InMemoryImages
from restore import EMAConfig, Restorer, TrainConfig, Trainer, UNet, UNetConfig
from restore.optimizers import Adam
from samplers import DDIM, DDPM, Algorithm1, Algorithm2, trajectory
from tests.cases import CASES, SHAPES, build, images

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
SMALL = UNetConfig(
    image_size=32, model_channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(16,), norm_groups=8
)


@pytest.fixture
def waiting_is_an_error():
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_laws_and_equality_with_the_cpu(name, arguments):
    D = build(name, arguments, SHAPES[0])
    x0 = images(4, *SHAPES[0], dtype=torch.float32)
    degrade.check(D, x0.to("cuda"))
    z = D.draw(x0, torch.Generator().manual_seed(0))
    t = torch.tensor([0, 1, max(1, D.T // 2), D.T])
    there = D(x0.to("cuda"), t.to("cuda"), degrade.map_params(lambda v: v.to("cuda"), z)).cpu()
    torch.testing.assert_close(there, D(x0, t, z), rtol=0, atol=1e-4)


def trained(D):
    training = Trainer(Restorer(UNet(SMALL).to("cuda"), D), TrainConfig(batch_size=8))
    return training, DrawnFaces(32, "cuda")


def test_a_training_step_does_not_wait_for_the_device(request):
    training, faces = trained(degrade.make("interpolation", source=DrawnAnimals(32, "cuda")))
    steps = training.run(faces)
    next(steps)  # the first builds tables and kernels
    request.getfixturevalue("waiting_is_an_error")
    for _ in range(3):
        next(steps)


def learning(**how):
    """A training with all that a step can do, from the same weights each time."""
    torch.manual_seed(0)
    net = UNet(SMALL).to("cuda").to(memory_format=torch.channels_last)
    ema = EMAConfig(decay=0.9, update_every=1, update_after=2)
    config = TrainConfig(
        steps=5, batch_size=16, micro_batch_size=8, optimizer=Adam(lr=1e-3), max_grad_norm=1.0, ema=ema, **how
    )
    return Trainer(Restorer(net, degrade.make("gaussian_noise")), config)


@pytest.mark.parametrize("where", ["cuda", "cpu"])
def test_a_step_on_a_set_in_epochs_does_not_wait_for_the_device(where, request):
    """Neither for images that are there nor for those that are streamed from the host."""
    pixels = torch.randint(256, (50, 3, 36, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    steps = learning(precision="bfloat16").run(InMemoryImages(pixels.to(where), 32, device="cuda"))
    next(steps), next(steps)
    request.getfixturevalue("waiting_is_an_error")
    assert all(record.losses.is_cuda for record in steps)


class Toned(nn.Module):
    """A pixelwise network that is told a class; class 5 means no class."""

    null_cond: ClassVar = {"label": 5}

    def __init__(self):
        super().__init__()
        self.tone, self.conv = nn.Embedding(6, 3), nn.Conv2d(3, 3, 1)

    def forward(self, x_t, t, label):
        return self.conv(x_t) + self.tone(label)[:, :, None, None]


class Streamed:
    """Images and classes on the host, with random numbers of the host."""

    device = torch.device("cpu")

    def __len__(self):
        return 50

    def at(self, index, generator=None):
        images = torch.rand(len(index), 3, 8, 8, generator=generator)
        return images.pin_memory(), {"label": (index % 5).pin_memory()}


def test_conditions_and_components_do_not_wait_for_the_device(request):
    components = {"timesteps": "power", "weighting": "min_snr", "lr_schedule": "cosine", "loss": "charbonnier"}
    config = TrainConfig(steps=5, batch_size=16, micro_batch_size=8, cond_dropout=0.2, **components)
    steps = Trainer(Restorer(Toned().to("cuda"), degrade.make("gaussian_noise")), config).run(Streamed())
    next(steps), next(steps)
    request.getfixturevalue("waiting_is_an_error")
    assert all(stats.losses.is_cuda for stats in steps)


def test_a_compiled_network_learns_what_it_would_have_learned():
    compiled, plain = learning(compile=True), learning()
    for mine, expected in zip(compiled.run(DrawnFaces(32, "cuda")), plain.run(DrawnFaces(32, "cuda")), strict=True):
        torch.testing.assert_close(mine.losses, expected.losses, rtol=0, atol=1e-2)
    drift = (compiled.ema.net.conv_out.weight - plain.ema.net.conv_out.weight).abs().max()
    assert compiled.ema.net.conv_out.weight.abs().max() > 0
    assert drift < 1e-3


@pytest.mark.parametrize("step", [Algorithm1(), Algorithm2(), DDIM(), DDPM(), DDPM("large")], ids=str)
def test_a_walk_does_not_wait_for_the_device(step, request):
    D = degrade.make("gaussian_noise", T=20)
    training, _ = trained(D)
    generator = torch.Generator("cuda").manual_seed(0)
    x_T = torch.randn(4, 3, 32, 32, device="cuda", generator=generator)
    with torch.no_grad():
        next(trajectory(training.ema, step, x_T, x_T, generator=generator))
        request.getfixturevalue("waiting_is_an_error")
        for visit in trajectory(training.ema, step, x_T, x_T, generator=generator):
            assert visit.x_s.is_cuda
