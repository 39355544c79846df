"""The verbs of an affine degradation against the matrix of its linear part, assembled column by column."""

from __future__ import annotations

import math
import operator

import pytest
import torch

import degrade
from degrade import expand_level, map_params
from tests.cases import CASES, build, images


@degrade.register("tilted_plugin")
class Tilted(degrade.Degradation):
    """A plugin with nothing but `apply`: each pixel takes up some of its right and its upper neighbor, and of z."""

    T: int = 6
    affine = True

    def draw(self, x0, generator=None):
        return degrade.random.randn_like(x0, generator)

    def apply(self, x0, t, z):
        share = (t / self.T).view(-1, 1, 1, 1)
        mixed = 0.5 * x0 + 0.4 * x0.roll(-1, 3) - 0.3 * z.sigmoid() * x0.roll(1, 2)
        return (1 - share) * x0 + share * (mixed + z)


@degrade.register("scaled_plugin")
class Scaled(degrade.Degradation):
    """A plugin that scales every pixel and says so in one line."""

    T: int = 4
    affine = True

    def _gain(self, x, t, z):
        return (1 - t / self.T).view(-1, 1, 1, 1).to(x) + torch.zeros_like(x)

    def apply(self, x0, t, z):
        return self._gain(x0, t, z) * x0 + (t > 0).view(-1, 1, 1, 1) * 0.1


def has_no_adjoint(name, arguments):
    return not build(name, arguments, (1, 16, 16)).affine


PARTS = ["pixelate", {"name": "blur", "arguments": {"T": 4}}, "inpaint"]
MATRICES = [
    *((name, arguments, (1, 16, 16)) for name, arguments in CASES if not has_no_adjoint(name, arguments)),
    ("blur", {"T": 9}, (2, 13, 9)),
    ("blur", {"T": 9, "padding_mode": "circular", "mean_at_T": True}, (1, 1, 7)),
    ("blur", {"T": 9, "padding_mode": "circular"}, (3, 8, 9)),
    ("blur", {"T": 9, "padding_mode": "symmetric"}, (1, 5, 1)),
    ("blur", {"T": 4, "cumulative_sigma": (0.3, 0.5, 2.0, 9.0), "mean_at_T": True}, (2, 2, 3)),
    ("blur", {"T": 2, "cumulative_sigma": (0.5, 1.0)}, (1, 1, 4)),
    ("inpaint", {"T": 9, "center": "random"}, (3, 7, 5)),
    ("mask_to_color", {"T": 9, "sigmas": "incremental:step=0.7"}, (3, 5, 7)),
    ("mask_to_color", {"T": 9, "sigmas": "incremental:step=0.7", "color": (0.1, -0.5, 1.0)}, (3, 5, 7)),
    ("pixelate", {"T": 3, "allow_uneven": True, "filter": "area"}, (2, 13, 9)),
    ("pixelate", {"T": 4, "sizes": "decrement", "filter": "bilinear"}, (3, 5, 7)),
    ("decolor", {}, (3, 3, 5)),
    ("decolor", {"saturation": (0.4, 0.1), "T": 2}, (5, 3, 2)),
    ("decolor", {"weights": "luma"}, (3, 3, 5)),
    ("decolor", {"weights": "luma", "T": 3, "gray_at_T": False, "saturation": "constant"}, (3, 3, 5)),
    ("motion_blur", {"T": 5, "kernel_size": 5, "direction": 0.4}, (3, 7, 5)),
    ("motion_blur", {"T": 5, "kernel_size": 5, "direction": 0.4, "padding_mode": "circular"}, (3, 7, 5)),
    ("motion_blur", {"T": 5, "kernel_size": 9, "direction": -1, "padding_mode": "circular"}, (2, 3, 8)),
    ("gaussian_noise", {"T": 9}, (3, 3, 5)),
    ("compose", {"T": 5, "parts": PARTS}, (1, 16, 16)),
    ("compose", {"T": 9, "noise_fraction": 0.6, "parts": ["motion_blur", "inpaint", "gaussian_noise"]}, (1, 9, 8)),
    ("tilted_plugin", {}, (3, 5, 4)),
    ("scaled_plugin", {}, (3, 5, 4)),
]
matrices = pytest.mark.parametrize(("name", "arguments", "shape"), MATRICES, ids=str)


def batch(D, shape, dtype=torch.float64):
    """Four images, their severities 0, 1, one between and T, and z."""
    x = images(4, *shape, dtype=dtype)
    return x, torch.tensor([0, 1, (D.T + 1) // 2, D.T]), D.draw(x, torch.Generator().manual_seed(3))


def matrix(D, shape, t, z):
    """A (n, n) and b (n,) with D(x, t, z) = A x + b for one image of n numbers, z its own."""
    n = math.prod(shape)
    x = torch.cat([torch.eye(n), torch.zeros(1, n)]).double().view(-1, *shape)
    out = D(x, t.expand(n + 1), map_params(lambda part: part.expand(n + 1, *part.shape[1:]), z)).flatten(1)
    return (out[:-1] - out[-1]).T, out[-1]


def rows(D, shape):
    """Each image of the batch with its severity, its z, A and b."""
    x, t, z = batch(D, shape)
    for i in range(len(x)):
        row = slice(i, i + 1)
        yield i, *matrix(D, shape, t[row], map_params(operator.itemgetter(row), z))


@matrices
def test_adjoint_is_the_transposed_matrix(name, arguments, shape):
    D = build(name, arguments, shape)
    u, t, z = batch(D, shape)
    found = D.adjoint(u, t, z)
    for i, A, _ in rows(D, shape):
        torch.testing.assert_close(found[i].flatten(), A.T @ u[i].flatten(), rtol=0, atol=1e-10)


@matrices
def test_prox_is_the_least_squares_solution(name, arguments, shape):
    """One rho for each image of the batch, then a small one for all where there is a closed form."""
    D = build(name, arguments, shape)
    reflected_motion = name == "motion_blur" and arguments.get("padding_mode") != "circular"
    iterative = reflected_motion or name in ("compose", "tilted_plugin")
    x, t, z = batch(D, shape)
    x_t = images(4, *shape, seed=7)
    for rho in (torch.tensor([0.01, 0.02, 0.5, 30.0]).double(), torch.full((4,), 0.01 if iterative else 1e-6).double()):
        found = D.prox(x, x_t, t, z, rho)
        for i, A, b in rows(D, shape):
            anchor = rho[i].sqrt() * torch.eye(len(A)).double()
            target = torch.cat([x_t[i].flatten() - b, rho[i].sqrt() * x[i].flatten()])
            expected = torch.linalg.lstsq(torch.cat([A, anchor]), target[:, None]).solution[:, 0]
            torch.testing.assert_close(found[i].flatten(), expected, rtol=0, atol=1e-8)


ONE_EACH = [
    ("blur", {}, (2, 13, 9)),
    ("blur", {"T": 9, "padding_mode": "symmetric"}, (1, 5, 8)),
    ("pixelate", {"T": 2}, (3, 12, 16)),
    ("inpaint", {"T": 9, "center": "random"}, (3, 7, 5)),
    ("decolor", {"weights": "luma"}, (3, 3, 5)),
    ("motion_blur", {"T": 5, "kernel_size": 5}, (3, 7, 5)),
    ("motion_blur", {"T": 5, "kernel_size": 5, "padding_mode": "circular"}, (3, 7, 5)),
    ("compose", {"T": 9, "parts": ["decolor", "inpaint"]}, (3, 7, 5)),
    ("tilted_plugin", {}, (3, 5, 4)),
]
each = pytest.mark.parametrize(("name", "arguments", "shape"), ONE_EACH, ids=str)


@each
def test_the_limits_of_rho(name, arguments, shape):
    D = build(name, arguments, shape)
    x, t, z = batch(D, shape)
    x_t = D(images(4, *shape, seed=7), t, z)
    torch.testing.assert_close(D.prox(x, x_t, t, z, 1e12), x, rtol=0, atol=1e-10)
    assert (D(D.prox(x, x_t, t, z, 0), t, z) - x_t).abs().max() < 1e-5  # x_t is in the range of D: it is fitted
    torch.testing.assert_close(D.prox(x, D(x, t, z), t, z, 1e-8), x, rtol=0, atol=1e-8)  # x fits and is kept


def test_an_invertible_degradation_is_inverted():
    D = degrade.make("blur", T=3, sigmas="constant:sigma=0.5", kernel_size=3)
    x0, t = images(4, 3, 8, 9), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(D.prox(torch.zeros_like(x0), D(x0, t), t, None, 0), x0, rtol=0, atol=1e-10)


def test_what_a_mask_hides_keeps_the_value_it_was_given():
    D = degrade.make("inpaint", T=3, sigmas=(2.0, 1.0, 1.0))
    x, x_t, t = images(1, 1, 7, 7), images(1, 1, 7, 7, seed=1), torch.tensor([3])
    middle = (0, 0, 3, 3)
    assert D.prox(x, x_t, t, None, 0)[middle] == x[middle]
    assert D.invert(x_t, t)[middle] == 0
    assert D.invert(x_t, t, mean=x)[middle] == x[middle]


@pytest.mark.parametrize(("name", "arguments", "shape"), ONE_EACH[1:], ids=str)
def test_invert_is_prox_of_the_mean(name, arguments, shape):
    D = build(name, arguments, shape)
    mean, t, z = batch(D, shape)
    x_t = D(images(4, *shape, seed=7), t, z)
    noise = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    found = D.invert(x_t, t, z, noise=noise, spread=0.7, mean=mean)
    torch.testing.assert_close(found, D.prox(mean, x_t, t, z, (noise / 0.7) ** 2), rtol=0, atol=1e-12)
    expected = D.prox(torch.zeros_like(x_t), x_t, t, z, (2 / 255 / math.sqrt(12) / 0.5) ** 2)
    torch.testing.assert_close(D.invert(x_t, t, z), expected, rtol=0, atol=1e-8)


def test_invert_under_reflected_borders_weighs_end_pixels_half():
    """It minimizes |A v - x_t|^2 + rho |v - mean|^2 in the norm where the first and the last of an axis count half."""
    D, shape = build("blur", {"T": 9}, (2, 13, 9)), (2, 13, 9)
    mean, t, z = batch(D, shape)
    x_t = images(4, *shape, seed=7)
    found = D.invert(x_t, t, z, noise=0.1, mean=mean)
    weight = torch.ones(shape).double()
    for edge in (weight[:, 0], weight[:, -1], weight[:, :, 0], weight[:, :, -1]):
        edge *= 0.5
    W = weight.flatten()
    for i, A, _ in rows(D, shape):
        v = found[i].flatten()
        gradient = A.T @ (W * (A @ v - x_t[i].flatten())) + 0.04 * W * (v - mean[i].flatten())
        assert gradient.abs().max() < 1e-10


@each
def test_inference_mode_autocast_and_half_precision(name, arguments, shape):
    D = build(name, arguments, shape)
    x, t, z = batch(D, shape, torch.float32)
    expected = D.prox(x, x.flip(0), t, z, 0.1), D.adjoint(x, t, z)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = batch(D, shape, torch.float32)[2]
        found = D.prox(x, x.flip(0), t, inside, 0.1), D.adjoint(x, t, inside)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b)
    low = x.bfloat16()
    assert D.invert(low, t, z).dtype == torch.bfloat16
    assert torch.equal(D.invert(low, t, z), D.invert(low.float(), t, z).bfloat16())


@each
def test_an_image_does_not_depend_on_its_batch(name, arguments, shape):
    D = build(name, arguments, shape)
    x, t, z = batch(D, shape)
    together = D.prox(x, x.flip(0), t, z, 0.05)
    for i in range(4):
        row = slice(i, i + 1)
        alone = D.prox(x[row], x.flip(0)[row], t[row], map_params(operator.itemgetter(row), z), 0.05)
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-10)


@each
def test_prox_has_gradients(name, arguments, shape):
    """<u, d prox / d x_t v> is that of a difference, since the map is affine in x_t."""
    D = build(name, arguments, shape)
    x, t, z = batch(D, shape)
    x_t, u, v = (images(4, *shape, seed=seed) for seed in (4, 5, 6))
    grad = torch.func.grad(lambda y: (D.prox(x, y, t, z, 0.05) * u).sum())(x_t)
    change = ((D.prox(x, x_t + v, t, z, 0.05) - D.prox(x, x_t, t, z, 0.05)) * u).sum()
    torch.testing.assert_close((grad * v).sum(), change, rtol=1e-7, atol=1e-9)


def test_the_shapes_are_found_without_data():
    D = degrade.make("blur", T=9)
    x, t = torch.zeros(2, 3, 16, 16, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    assert D.prox(x, x, t, None, 0.1).shape == D.invert(x, t).shape == D.adjoint(x, t).shape == x.shape


def call(verb, **change):
    """Ask a verb of blur for images (2, 1, 16, 16)."""
    x = torch.zeros(2, 1, 16, 16)
    given = {"x": x, "x_t": x, "t": torch.tensor([1, 2]), "z": None}
    D = degrade.make("blur", T=2)
    if verb == "prox":
        return D.prox(**{**given, "rho": 0.1, **change})
    return D.invert(**{"x_t": x, "t": given["t"], **change})


@pytest.mark.parametrize(
    ("verb", "change", "message"),
    [
        ("prox", {"rho": -1.0}, "rho is -1.0; it needs a number of at least 0"),
        ("prox", {"rho": math.nan}, "rho is nan"),
        ("prox", {"rho": True}, "rho is True"),
        ("prox", {"rho": "0.1"}, "rho is '0.1'"),
        ("prox", {"rho": torch.zeros(3)}, r"rho is torch.float32 \(3,\); it needs .* \(2,\)"),
        ("prox", {"rho": torch.tensor([1, 1])}, "rho is torch.int64"),
        ("prox", {"rho": torch.tensor([1.0, -2.0])}, "rho is -2.0"),
        ("prox", {"x_t": torch.zeros(2, 1, 16, 8)}, r"x_t is torch.float32 \(2, 1, 16, 8\)"),
        ("prox", {"x_t": torch.zeros(2, 1, 16, 16).double()}, "x_t is torch.float64"),
        ("prox", {"t": torch.tensor([1, 3])}, "severities lie in 0..2"),
        ("invert", {"noise": 0}, "noise is 0; it needs a number above 0"),
        ("invert", {"noise": -0.1}, "noise is -0.1"),
        ("invert", {"spread": 0.0}, "spread is 0.0"),
        ("invert", {"mean": torch.zeros(2, 3, 16, 16)}, r"mean is .*\(2, 3, 16, 16\)"),
        ("invert", {"mean": torch.zeros(5)}, r"mean is \(5,\); it must broadcast"),
    ],
)
def test_bad_arguments_are_named(verb, change, message):
    with pytest.raises(ValueError, match=message):
        call(verb, **change)


@pytest.mark.parametrize("name", ["snow", "jpeg"])
def test_what_is_not_affine_says_what_to_use(name):
    D, x = degrade.make(name), torch.zeros(1, 3, 16, 16)
    t = expand_level(1, x)
    z = D.draw(x, torch.Generator())
    for ask in (D.adjoint, D.invert):
        with pytest.raises(ValueError, match=f"{name}: it is not affine.*gradient.*trained"):
            ask(x, t, z)
    with pytest.raises(ValueError, match=f"{name}: it is not affine"):
        D.prox(x, x, t, z, 0.1)
