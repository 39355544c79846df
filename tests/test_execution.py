"""How a degradation is run leaves no trace on it: compiled, in inference mode, in low precision, as a copy."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tests.cases import CASES, SHAPES, build, images

COLD = ["blur", "inpaint", "mask_to_color", "pixelate", "snow", "decolor"]
ONE_EACH = [next(case for case in CASES if case[0] == name) for name in COLD]
each = pytest.mark.parametrize(("name", "arguments"), ONE_EACH, ids=str)


def start(name, arguments, dtype=torch.float32):
    """Return a fresh degradation that has seen no image, images, severities and z."""
    D = build(name, arguments, SHAPES[0])
    x0 = images(3, *SHAPES[0], dtype=dtype)
    return D, x0, torch.tensor([0, (D.T + 1) // 2, D.T]), D.draw(x0, torch.Generator().manual_seed(0))


@each
def test_the_first_call_may_be_compiled(name, arguments):
    D, x0, t, z = start(name, arguments)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: D(x, t, z), fullgraph=True, backend="eager")
    first = compiled(x0)
    torch.testing.assert_close(first, build(name, arguments, SHAPES[0])(x0, t, z))
    assert torch.equal(first, compiled(x0))


@each
def test_one_compiled_function_serves_several_sizes(name, arguments):
    D = build(name, arguments, SHAPES[0])
    torch._dynamo.reset()
    compiled = torch.compile(D.__call__, fullgraph=True, backend="eager")
    for B, *shape in ((2, 3, 12, 16), (2, 3, 16, 16), (3, 3, 20, 12)):
        x0 = images(B, *shape, dtype=torch.float32)
        t, z = torch.arange(B), D.draw(x0, torch.Generator().manual_seed(0))
        torch.testing.assert_close(compiled(x0, t, z), D(x0, t, z))


@each
def test_the_first_call_may_be_in_inference_mode(name, arguments):
    D, x0, t, z = start(name, arguments)
    with torch.inference_mode():
        D(x0, t, z)
    D(x0.requires_grad_(), t, z).sum().backward()
    assert x0.grad.isfinite().all()


@each
def test_delta_ignores_autocast(name, arguments):
    D, x0, t, z = start(name, arguments)
    expected = D.delta(x0, t, torch.zeros_like(t), z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(D.delta(x0, t, torch.zeros_like(t), z), expected)


@each
def test_half_precision_is_full_precision_rounded(name, arguments):
    D, x0, t, z = start(name, arguments)
    half = x0.bfloat16()
    assert torch.equal(D(half, t, z), D(half.float(), t, z).bfloat16())


@each
def test_copies_work(name, arguments):
    D, x0, t, z = start(name, arguments)
    expected = D(x0, t, z)
    for again in (copy.deepcopy(D), pickle.loads(pickle.dumps(D))):
        assert again == D
        assert torch.equal(again(x0, t, z), expected)


@each
def test_draw_depends_on_its_generator_alone(name, arguments):
    D, x0, _, z = start(name, arguments)
    torch.manual_seed(5)
    again = D.draw(x0, torch.Generator().manual_seed(0))
    parts, parts_again = (v if isinstance(v, tuple) else (v,) for v in (z, again))
    for part, part_again in zip(parts, parts_again):
        assert part is part_again is None or torch.equal(part, part_again)
