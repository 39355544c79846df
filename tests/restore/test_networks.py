"""Any registered network is trained, saved, loaded, tiled and sampled as the UNet is."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import degrade
import restore
from degrade.frozen import frozen
from restore import Restorer, TiledRestorer, TrainConfig, Trainer, UNet, UNetConfig, make_network

SMALL = {
    "residual_cnn": {"in_channels": 1, "channels": 8, "num_layers": 1, "max_timestep": 4, "image_size": 16},
    "res_unet": {"in_channels": 1, "level_channels": (8, 16), "num_res_blocks": 1, "max_timestep": 4, "image_size": 16},
    "unet": {"in_channels": 1, "image_size": 16, "model_channels": 8, "channel_mult": (1,), "norm_groups": 4},
}
D = degrade.make("gaussian_noise", T=4)


def network(name, seed=0):
    torch.manual_seed(seed)
    net = make_network(name, **SMALL[name])
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    return net


@pytest.mark.parametrize("name", SMALL)
def test_a_network_is_trained_saved_and_loaded(name, tmp_path):
    net = make_network(name, **SMALL[name])
    trainer = Trainer(Restorer(net, D), TrainConfig(steps=2))
    trainer_data = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert all(torch.isfinite(stats.loss) for stats in trainer.run(trainer_data))
    restore.save(tmp_path, trainer)
    config = restore.read_checkpoint_config(restore.latest(tmp_path))
    assert config.network.name == name
    R = restore.load(tmp_path)
    assert type(R.net) is type(net)
    assert R.net.config == net.config
    assert (R.size_divisor, R.image_size) == (getattr(net, "size_divisor", 1), 16)
    x, t = torch.rand(2, 1, 16, 16), torch.tensor([1, 4])
    assert torch.equal(R(x, t), trainer.ema(x, t))
    again = Trainer(Restorer(make_network(name, **SMALL[name]), D), TrainConfig(steps=3))
    assert restore.resume(tmp_path, again) == 2
    other = dataclasses.replace(net.config, in_channels=2)
    with pytest.raises(ValueError, match="another network"):
        restore.resume(tmp_path, Trainer(Restorer(type(net)(other), D), TrainConfig(steps=3)))


@pytest.mark.parametrize("name", ["residual_cnn", "res_unet"])
def test_tiles_of_a_convolutional_network_are_the_whole_image(name):
    R = Restorer(network(name).double().eval().requires_grad_(False), D)
    x, t = torch.randn(1, 1, 196, 256, dtype=torch.float64), torch.tensor([3])
    tiled = TiledRestorer(R, 176, 88)  # a quarter of the overlap exceeds what the network looks at, 20 pixels
    torch.testing.assert_close(tiled(x, t), R(x, t), rtol=0, atol=1e-13)


def res_unet_by_formulas(net, x, t):
    """The computation from the parameters alone, a stride and a patch of two."""
    p = dict(net.named_parameters())

    def block(h, name):
        return h + F.conv2d(
            F.relu(F.conv2d(h, p[f"{name}.conv1.weight"], padding=1)), p[f"{name}.conv2.weight"], padding=1
        )

    plane = (t / net.config.max_timestep).to(x)[:, None, None, None].expand(-1, 1, x.shape[2] // 2, x.shape[3] // 2)
    h = F.conv2d(torch.cat([F.pixel_unshuffle(x, 2), plane], 1), p["conv_in.weight"], padding=1)
    skip = block(h, "down_blocks.0.0")
    h = block(F.conv2d(skip, p["downsample.0.weight"], stride=2), "mid_block.0")
    h = block(F.conv_transpose2d(h, p["upsample.0.weight"], stride=2) + skip, "up_blocks.0.0")
    return F.pixel_shuffle(F.conv2d(h, p["conv_out.weight"], padding=1), 2)


def test_the_residual_unet_is_its_formulas():
    net, x, t = network("res_unet").double(), torch.randn(2, 1, 8, 12, dtype=torch.float64), torch.tensor([1, 4])
    torch.testing.assert_close(net(x, t), res_unet_by_formulas(net, x, t), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="sides that divide by 4"):
        net(x[..., :11], t)


def conditional():
    torch.manual_seed(0)
    config = UNetConfig(**SMALL["unet"], num_classes=3, cond_channels=2)
    net = UNet(config).double().eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net


def test_conditions_reach_the_unet_and_its_checkpoint(tmp_path):
    net = conditional()
    x, t = torch.randn(2, 1, 16, 16, dtype=torch.float64), torch.tensor([1, 4])
    image = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    labels = [net(x, t, label=torch.full((2,), i), image=image) for i in range(4)]
    assert torch.equal(labels[3], net(x, t, image=image))  # index num_classes means "no class"
    assert all((labels[i] - labels[3]).abs().max() > 1e-6 for i in range(3))
    assert (net(x, t, image=-image) - labels[3]).abs().max() > 1e-6
    R = Restorer(net, D).with_cond(label=torch.tensor([1]), image=image)
    assert torch.equal(R(x, t), labels[1])
    restore.save(tmp_path, Trainer(Restorer(conditional().float(), D), TrainConfig(steps=1)))
    assert restore.load(tmp_path).net.config == net.config
    for cond, message in (
        ({"label": torch.tensor([1]), "image": image}, r"label is torch.int64 \(1,\); it must be int64 \(2,\)"),
        ({}, r"image has shape None; the network, with cond_channels 2, takes \(2, 2, 16, 16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            net(x, t, **cond)
    plain = make_network("unet", **SMALL["unet"])
    with pytest.raises(ValueError, match="label is given, and the network has num_classes None"):
        plain(x.float(), t, label=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="with cond_channels 0, takes None"):
        plain(x.float(), t, image=image)


def test_what_cannot_be_rebuilt_is_refused(tmp_path):
    with pytest.raises(TypeError, match="must take `config: C`"):

        @restore.register_network("unconfigured")
        class Unconfigured(nn.Module):
            pass

    with pytest.raises(ValueError, match="no network is called 'u_net': did you mean 'unet'"):
        make_network("u_net")
    with pytest.raises(ValueError, match="UNetConfig: dropout = 2"):
        make_network("unet", dropout=2)

    @frozen
    class Config:
        pass

    class Unregistered(nn.Module):
        def __init__(self, config: Config) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x, t):
            return self.weight * x

    with pytest.raises(TypeError, match="Unregistered is not registered, so no file can rebuild it"):
        restore.save(tmp_path, Trainer(Restorer(Unregistered(Config()), D), TrainConfig(steps=1)))
