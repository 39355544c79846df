"""Tiles: what they give where an untiled network could answer too, and where it could not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import degrade
from restore import FunctionRestorer, Restorer, UNet, UNetConfig
from restore.tiling import TiledRestorer, reflect_pad

D = degrade.make("blur", T=5)


def tiles(function, *arguments, **options):
    return TiledRestorer(FunctionRestorer(function, D), *arguments, **options)


def picture(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def local(x, t):
    """Look three pixels far, differently at each severity."""
    return torch.tanh(F.avg_pool2d(x, 7, 1, 3)) * t.view(-1, 1, 1, 1)


def blocky(x, t):
    """Answer block by block, as a network of stride 4 does."""
    return F.interpolate(F.avg_pool2d(x, 4), scale_factor=4.0) - x


class NoDoubles(TorchDispatchMode):
    """A device that does not know float64, as Apple's."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        assert not any(isinstance(x, torch.Tensor) and x.dtype == torch.float64 for x in tree_leaves(out)), function
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_in_low_precision_need_no_doubles(dtype):
    x, t = picture(1, 3, 40, 24).to(dtype), torch.tensor([3])
    with NoDoubles():
        out = tiles(local, tile_size=16, overlap=8)(x, t)
    assert out.dtype == dtype


@given(st.integers(1, 75), st.integers(1, 75), st.sampled_from([(16, 0, 4), (16, 8, 4), (24, 12, 4), (8, 2, 1)]))
@settings(max_examples=40, deadline=None)
def test_a_pointwise_restorer_gives_the_same_in_tiles_bit_for_bit(height, width, shape):
    size, overlap, stride = shape
    x, t = picture(2, 3, height, width), torch.tensor([3, 5])

    def pointwise(x, t):
        return torch.sin(3 * x) * t.view(-1, 1, 1, 1)

    tiled = tiles(pointwise, size, overlap, stride, batch_size=3)
    assert torch.equal(tiled(x, t), pointwise(x, t))
    assert torch.equal(tiles(lambda x, t: x, size, overlap, stride)(x, t), x)


@pytest.mark.parametrize("shape", [(12, 12), (13, 45), (64, 64), (70, 41), (17, 100)])
def test_a_restorer_that_looks_no_further_than_a_quarter_of_the_overlap_leaves_no_seam(shape):
    x, t = picture(1, 3, *shape), torch.tensor([2])
    assert (tiles(local, 24, 12, 1)(x, t) - local(x, t)).abs().max() < 1e-15
    assert (tiles(local, 24, 2, 1)(x, t) - local(x, t)).abs().max() > 1e-3 or max(shape) <= 24


def test_tiles_keep_to_the_grid_of_the_stride():
    x, t = picture(1, 1, 44, 52), torch.tensor([2])
    assert torch.equal(tiles(blocky, 16, 8, 4)(x, t), blocky(x, t))


def test_tiles_that_disagree_are_blended_without_a_step():
    calls = iter(range(1000))
    tiled = tiles(lambda x, t: torch.full_like(x, next(calls) % 2), 32, 16, batch_size=1)
    out = tiled(picture(1, 1, 32, 144), torch.tensor([1]))
    assert out.aminmax() == (0, 1)
    # A cosine over the middle 8 pixels of the overlap.
    assert out.diff().abs().max() <= math.pi / 2 / 8
    assert torch.equal(tiled(picture(1, 1, 33, 33), torch.tensor([1])).aminmax().max, torch.tensor(1.0).double())


@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 6), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_tiles_cover_the_image_and_share_the_overlap(units, size, overlap, stride):
    tiled = tiles(local, size * stride, min(overlap, size // 2) * stride, stride)
    side = units * stride
    offsets = tiled.offsets(side)
    ends = [start + tiled.tile_size for start in offsets]
    assert offsets[0] == 0
    assert ends[-1] == side or (len(offsets) == 1 and side <= tiled.tile_size)
    assert all(start % stride == 0 for start in offsets)
    assert all(end - start >= tiled.overlap for end, start in zip(ends, offsets[1:]))


def test_an_image_that_the_network_takes_goes_through_in_one_piece():
    torch.manual_seed(0)
    net = (
        UNet(
            UNetConfig(
                image_size=16,
                in_channels=1,
                model_channels=8,
                channel_mult=(1, 2),
                attention_resolutions=(8,),
                norm_groups=4,
            )
        )
        .double()
        .eval()
    )
    torch.nn.init.normal_(net.conv_out.weight)
    R, t = Restorer(net, degrade.make("blur", T=5)), torch.tensor([4])
    for shape in ((16, 24), (8, 16), (128, 16)):
        x = picture(1, 1, *shape)
        assert torch.equal(TiledRestorer(R)(x, t), R(x, t))
    odd = picture(1, 1, 15, 1)
    assert torch.equal(TiledRestorer(R)(odd, t), R(reflect_pad(odd, 1, 1), t)[:, :, :15, :1])


def test_the_network_says_what_it_needs_and_few_tiles_go_at_a_time():
    R = Restorer(
        UNet(
            UNetConfig(
                image_size=48,
                in_channels=1,
                model_channels=8,
                channel_mult=(1, 2, 2),
                attention_resolutions=(),
                norm_groups=4,
            )
        ),
        degrade.make("blur", T=5),
    )
    tiled = TiledRestorer(R)
    assert (tiled.tile_size, tiled.overlap, tiled.tile_divisor) == (144, 36, 4)
    seen = []
    tiled = tiles(lambda x, t: seen.append(x.shape) or x, 144, 36, 4)
    tiled(torch.zeros(1, 1, 1000, 700), torch.tensor([1]))
    assert {shape[1:] for shape in seen} == {(1, 144, 144)}
    assert max(shape[0] for shape in seen) == 8


def with_image(x_t, t, image, label):
    """Use pixels of a second image three columns away, and a class."""
    return x_t * label.view(-1, 1, 1, 1) + image.roll(3, 3) * t.view(-1, 1, 1, 1)


@pytest.mark.parametrize("bound", ["call", "outside", "inside"])
def test_conditions_that_are_images_are_cut_with_the_tiles(bound):
    x, t = picture(2, 3, 45, 50), torch.tensor([1, 2])
    image, label = picture(2, 1, 45, 50, seed=1), torch.tensor([3.0, 4.0]).double()
    R = FunctionRestorer(with_image, D)
    if bound == "call":
        found = TiledRestorer(R, 24, 12, size_divisor=4)(x, t, image=image, label=label)
    elif bound == "outside":
        found = TiledRestorer(R, 24, 12, size_divisor=4).with_cond(image=image, label=label)(x, t)
    else:
        found = TiledRestorer(R.with_cond(label=label).with_cond(image=image), 24, 12, size_divisor=4)(x, t)
    # The first three columns come from the other end of the image, which a tile does not reach.
    assert torch.equal(found[..., 3:], with_image(x, t, image, label)[..., 3:])


def test_a_tiled_restorer_is_a_restorer_of_any_size():
    tiled = TiledRestorer(FunctionRestorer(blocky, D), 16, 8, 4)
    assert (tiled.degradation, tiled.size_divisor, tiled.image_size) == (D, 1, None)
    with pytest.raises(ValueError, match="R is <function local"):
        TiledRestorer(local)


def test_reflection_goes_on_and_on():
    assert reflect_pad(torch.arange(3)[None], 0, 6).tolist() == [[0, 1, 2, 1, 0, 1, 2, 1, 0]]
    assert reflect_pad(torch.tensor([[7]]), 2, 3).tolist() == [[7] * 4] * 3
    x = picture(1, 1, 9, 7)
    assert torch.equal(reflect_pad(x, 5, 6), F.pad(x, (0, 6, 0, 5), mode="reflect"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30, 8, 4), "tile_size is 30; it must be a multiple of 4: take 28"),
        ((2, 0, 4), "take 4"),
        ((32, 20, 4), "multiple of 4 in 0..16"),
        ((32, 6, 4), "overlap is 6"),
        ((32, 8, 4, 0), "batch_size is 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiles(local, *arguments)
