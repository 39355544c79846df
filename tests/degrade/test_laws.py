"""Every registered degradation obeys the laws of the contract; a degradation that breaks one is caught."""

from __future__ import annotations

import re
import sys

import pytest
import torch

import degrade
from degrade.registry import DEGRADATIONS
from tests.cases import ARGUMENTS, CASES, CASES_ON_SHAPES, SHAPES, build, images


def test_every_name_has_cases():
    """A new degradation gets these tests by adding its arguments to tests/cases.py."""
    built_in = [getattr(module, "__dict__", {}) for key, module in sys.modules.items() if key.startswith("degrade.")]
    ours = {
        name
        for name, cls in DEGRADATIONS._classes.items()
        if any(cls is module.get(cls.__name__) for module in built_in)
    }
    assert ours == set(ARGUMENTS)


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES_ON_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_laws(name, arguments, shape, dtype):
    D = build(name, arguments, shape)
    results = degrade.check(D, images(4, *shape, dtype=dtype))
    assert len(results) == (11 if D.affine else 9)
    assert all(result.passed for result in results)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_gradients_flow_to_x0(name, arguments):
    D = build(name, arguments, SHAPES[0])
    x0 = images(2, *SHAPES[0]).requires_grad_()
    z = D.draw(x0.detach(), torch.Generator().manual_seed(0))
    D(x0, torch.tensor([1, max(1, D.T // 2)]), z).sum().backward()
    assert x0.grad is not None
    assert x0.grad.isfinite().all()
    assert x0.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_compiles_in_one_graph_and_ignores_autocast(name, arguments):
    D = build(name, arguments, SHAPES[0])
    x0 = images(3, *SHAPES[0], dtype=torch.float32)
    z = D.draw(x0, torch.Generator().manual_seed(0))
    t = torch.tensor([0, max(1, D.T // 2), D.T])
    expected = D(x0, t, z)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, t: D(x, t, z), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x0, t), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(D(x0, t, z), expected)


@degrade.register("broken_for_test")
class Broken(degrade.Degradation):
    """Breaks one law on demand."""

    T: int = 5
    law: str = "none"

    def apply(self, x0, t, z):
        x_t = x0 * (1 - t / self.T).view(-1, 1, 1, 1)
        if self.law == "identity":
            x_t = x_t + 1e-3
        elif self.law == "function":
            x_t = x_t + 1e-3 * (t > 0).view(-1, 1, 1, 1) * torch.rand(1, dtype=x0.dtype)
        elif self.law == "consistency" and z is not None:
            x_t = x_t + z * (t > 0).view(-1, 1, 1, 1)
        elif self.law == "independence":
            x_t = x_t + (x0.mean() - x0.mean((1, 2, 3), keepdim=True)) * (t > 0).view(-1, 1, 1, 1)
        elif self.law == "batching":
            x_t = x_t + 1e-3 * len(x0) * (t > 0).view(-1, 1, 1, 1)
        elif self.law == "nan":
            x_t = x_t / (1 - t / self.T).view(-1, 1, 1, 1)
        elif self.law.startswith("drawing"):
            x_t = x_t + z.view(-1, 1, 1, 1) * (t > 0).view(-1, 1, 1, 1)
        return x_t

    def _difference(self, x0, t, s, z):
        delta = super()._difference(x0, t, s, z)
        return -delta if self.law == "difference" else delta

    def draw(self, x0, generator=None):
        if self.law == "drawing":  # takes one generator only
            return torch.rand(len(x0), generator=generator, dtype=x0.dtype)
        if self.law == "drawing by the first":
            first = generator[0] if isinstance(generator, list) else generator
            return torch.rand(len(x0), generator=first, dtype=x0.dtype)
        return None

    def estimate(self, x_t, x0, t, z):
        return torch.ones_like(x_t) if self.law == "consistency" else z


@pytest.mark.parametrize("law", ["identity", "function", "consistency", "independence", "batching", "difference"])
def test_a_broken_law_is_named_with_its_size(law):
    with pytest.raises(degrade.LawError, match=rf"{law} +BROKEN off by \S+ .*(t = |generator)"):
        degrade.check(Broken(law=law), images(3, 1, 4, 4))


def test_a_draw_must_take_one_generator_for_each_image():
    with pytest.raises(degrade.LawError, match=r"drawing +BROKEN off by inf .*one for each image: TypeError: "):
        degrade.check(Broken(law="drawing"), images(3, 1, 4, 4))
    with pytest.raises(degrade.LawError, match=r"drawing +BROKEN off by \S+ .*z of image [12] drawn alone"):
        degrade.check(Broken(law="drawing by the first"), images(3, 1, 4, 4))


@degrade.register("not_affine_for_test")
class NotAffine(degrade.Degradation):
    """Declared affine, which it is not, or with an adjoint or a proximal map of its own that is wrong."""

    T: int = 5
    wrong: str = "affine"
    affine = True

    def apply(self, x0, t, z):
        x_t = x0 * (1 - t / (2 * self.T)).view(-1, 1, 1, 1)
        return torch.where(t.view(-1, 1, 1, 1) > 0, x_t + 0.3 * x_t**2, x_t) if self.wrong == "affine" else x_t

    def _adjoint(self, u, t, z):
        return 0.9 * u if self.wrong == "adjoint" else super()._adjoint(u, t, z)

    def _prox(self, x, x_t, t, z, rho):
        return x_t if self.wrong == "prox" else super()._prox(x, x_t, t, z, rho)


@pytest.mark.parametrize(
    ("wrong", "law"), [("affine", "adjointness"), ("adjoint", "adjointness"), ("prox", "proximity")], ids=str
)
def test_a_wrong_verb_of_an_affine_degradation_is_named(wrong, law):
    with pytest.raises(degrade.LawError, match=rf"{law} +BROKEN off by \S+ .*t = "):
        degrade.check(NotAffine(wrong=wrong), images(3, 1, 4, 4))
    assert all(result.passed for result in degrade.check(NotAffine(wrong="nothing"), images(3, 1, 4, 4)))


def test_not_a_number_breaks_a_law():
    with pytest.raises(degrade.LawError, match="BROKEN off by nan"):
        degrade.check(Broken(law="nan"), images(3, 1, 4, 4))


def test_an_unregistered_class_is_told_how_to_register():
    class Nameless(degrade.Degradation):
        def apply(self, x0, t, z):
            return x0

    with pytest.raises(degrade.LawError, match=re.escape("@degrade.register")):
        degrade.check(Nameless(T=3), images(2, 1, 4, 4))


@degrade.register("liar_base_for_test")
class Liar(degrade.Degradation):
    """Darkens the image towards its right border and adds z; its declarations are set by the tests."""

    T: int = 3

    def draw(self, x0, generator=None):
        return degrade.random.rand(tuple(x0.shape), x0, generator)

    def apply(self, x0, t, z):
        u = (t / self.T).view(-1, 1, 1, 1)
        return x0 * (1 - u * torch.linspace(0, 1, x0.shape[-1]).to(x0)) + 0 * u * z

    def coefficients(self, t, like):
        u = (t / self.T).view(-1, 1, 1, 1).to(like)
        return 1 - u, u


def says(base=Liar, **declared):
    """A registered degradation with these declarations."""
    cls = type("Says", (base,), {**declared, "__module__": __name__, "__doc__": "A liar.", "__annotations__": {}})
    return degrade.register("liar_for_test")(cls)()


class Squared(Liar):
    def apply(self, x0, t, z):
        return torch.where(t.view(-1, 1, 1, 1) > 0, x0**2, x0)


class Uneven(Liar):
    draw = degrade.Degradation.draw

    def apply(self, x0, t, z):
        if x0.shape[-1] % 4:
            raise ValueError("its sides must be multiples of 4")
        return x0


class Adds(Liar):
    def apply(self, x0, t, z):
        return x0 + (t / self.T).view(-1, 1, 1, 1) * z


class Dims(Liar):
    """One number for each image, by which the right border gets darker."""

    def draw(self, x0, generator=None):
        return degrade.random.rand((len(x0),), x0, generator)

    def apply(self, x0, t, z):
        return x0 * (1 - (t / self.T * z).view(-1, 1, 1, 1) * torch.linspace(0, 1, x0.shape[-1]).to(x0))


class DimsEvenly(Dims):
    def apply(self, x0, t, z):
        return x0 * (1 - (t / self.T * z).view(-1, 1, 1, 1))


class Flakes(Liar):
    """One plane for each image, smeared to the right."""

    def draw(self, x0, generator=None):
        return degrade.random.rand((len(x0), *x0.shape[2:]), x0, generator), None

    def apply(self, x0, t, z):
        fallen = z[0] + torch.nn.functional.pad(z[0], (1, 0))[..., :-1]
        return x0 + (t / self.T).view(-1, 1, 1, 1) * fallen[:, None]


class OppositeFlakes(Flakes):
    def apply(self, x0, t, z):
        return super().apply(x0, t, (z[0] + z[0].flip(-2, -1), None))


class UnevenFlakes(Flakes):
    def apply(self, x0, t, z):
        return super().apply(Uneven.apply(self, x0, t, None), t, z)


@pytest.mark.parametrize(
    ("base", "declared", "message"),
    [
        (Dims, {}, "position_dependent = False"),
        (OppositeFlakes, {}, "position_dependent = False"),
        (UnevenFlakes, {}, "size_divisor = 1, but 17 x 17 is refused"),
        (Liar, {}, "position_dependent = False"),
        (Liar, {"position_dependent": True, "random": False}, "random = False"),
        (Squared, {"position_dependent": True, "affine": True}, "affine = True"),
        (Liar, {"position_dependent": True, "additive": True}, "additive = True"),
        (Liar, {"position_dependent": True, "gaussian": True}, "gaussian = True"),
        (Adds, {"identifiable": True}, "identifiable = True"),
        (Uneven, {}, "size_divisor = 1, but 17 x 17 is refused"),
        (Liar, {"position_dependent": True, "missing": lambda D, x, t, z=None: x[:, :1] > -9}, "still shows"),
        (Liar, {"position_dependent": True, "missing": lambda D, x, t, z=None: x > -9}, "needs bool"),
        (degrade.MissingPixels, {"mask_params": lambda D, missing: missing}, "mask_params of what is missing at t = "),
    ],
)
def test_a_wrong_declaration_is_caught(base, declared, message):
    with pytest.raises(degrade.LawError, match=rf"declarations +BROKEN .*{message}"):
        degrade.check(says(base, **declared), images(3, 2, 16, 16))


@pytest.mark.parametrize(
    ("base", "declared"),
    [
        (Liar, {"position_dependent": True, "affine": True}),
        (Adds, {"affine": True}),
        (Uneven, {"size_divisor": 4}),
        (DimsEvenly, {}),
        (Flakes, {}),
        (UnevenFlakes, {"size_divisor": 4}),
    ],
)
def test_a_true_declaration_passes(base, declared):
    degrade.check(says(base, **declared), images(3, 2, 16, 16))
