"""Many images: each a function of the seed and its number, however many are made together and wherever."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import degrade
from degrade.random import seeded_generator
from restore import BaseRestorer, FunctionRestorer, Restorer, UNet, UNetConfig
from samplers import (
    DDIM,
    DDPM,
    Algorithm1,
    Algorithm2,
    GenerateOptions,
    generate,
    generate_images,
    sample,
    spaced_timesteps,
    trajectory,
)
from samplers.generation import rank_slice
from samplers.priors.base import DatasetPrior, DegradedData, StandardNormal
from tests.oracles import imperfect

NOISE = degrade.make("gaussian_noise", T=12)
WHITE = StandardNormal((3, 8, 8))
TINY = UNetConfig(
    image_size=8, model_channels=8, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(4,), norm_groups=4
)


def faces(n, generator):
    return torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1


def random_net(config=TINY):
    torch.manual_seed(0)
    net = UNet(config)
    for p in net.parameters():  # a new network would put out zero
        nn.init.normal_(p, std=0.2)
    return net


def walks():
    blur = degrade.make("blur", T=6, sigmas="constant:sigma=1", kernel_size=3)
    snow = degrade.make("snow", T=4)
    morph = degrade.make("interpolation", T=8, source=faces)
    yield NOISE, DDPM(), WHITE, spaced_timesteps(12, 5)
    yield NOISE, DDPM("large"), StandardNormal((3, 8, 8), jitter=0.1), None
    yield NOISE, Algorithm2(estimate=False), DegradedData(NOISE, faces), [9, 4, 0]
    yield morph, Algorithm1(), DatasetPrior(faces, jitter=0.1), None
    yield blur, Algorithm2(), DegradedData(blur, faces, jitter=0.002), None
    yield snow, Algorithm2(), DegradedData(snow, faces), None


@pytest.mark.parametrize(("D", "step", "prior", "times"), list(walks()), ids=str)
def test_an_image_does_not_depend_on_the_others(D, step, prior, times):
    together = generate_images(
        FunctionRestorer(imperfect, D), step, prior, 7, GenerateOptions(seed=3, batch_size=7, steps=times)
    )
    assert len(together.flatten(1).unique(dim=0)) == 7
    # The matrix products of a blur run in another order for another batch.
    close = {"rtol": 0, "atol": 1e-5 if D.name == "blur" else 0}
    for batch in (1, 3, 64):
        torch.testing.assert_close(
            generate_images(
                FunctionRestorer(imperfect, D), step, prior, 7, GenerateOptions(seed=3, batch_size=batch, steps=times)
            ),
            together,
            **close,
        )
    alone = generate_images(
        FunctionRestorer(imperfect, D), step, prior, 1, GenerateOptions(seed=3, steps=times, first=5)
    )
    torch.testing.assert_close(alone, together[5:6], **close)


def test_with_a_network_an_image_is_the_same_to_rounding():
    R = Restorer(random_net(), NOISE, "eps", clip_sample=True)
    together = generate_images(R, DDPM(), WHITE, 6, GenerateOptions(batch_size=6))
    for batch in (1, 4):
        torch.testing.assert_close(
            generate_images(R, DDPM(), WHITE, 6, GenerateOptions(batch_size=batch)), together, rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("n", "world_size"), [(7, 1), (7, 3), (2, 5), (64, 8)])
def test_shares_are_even_and_make_up_the_whole(n, world_size):
    shares = [rank_slice(n, rank, world_size) for rank in range(world_size)]
    assert [i for mine in shares for i in mine] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    whole = generate_images(FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, n, GenerateOptions(steps=[12, 5, 0]))
    parts = [
        generate(
            FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, len(m), GenerateOptions(steps=[12, 5, 0], first=m.start)
        )
        for m in shares
    ]
    assert torch.equal(torch.cat([made.x_0 for part in parts for made in part]), whole)


def test_it_is_the_walk_of_sample_from_the_keyed_prior():
    generators = [seeded_generator("cpu", 5, "sample", i) for i in (2, 3)]
    start = WHITE(2, generators)
    expected = sample(FunctionRestorer(imperfect, NOISE), DDPM(), *start, None, generators)
    assert torch.equal(
        generate_images(FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, 2, GenerateOptions(seed=5, first=2)),
        expected,
    )
    assert not torch.equal(
        generate_images(FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, 2, GenerateOptions(seed=6, first=2)),
        expected,
    )


def test_batches_come_one_by_one_with_their_numbers():
    walked = []

    def counted(x_t, t):
        walked.append(len(x_t))
        return imperfect(x_t, t)

    R = FunctionRestorer(counted, NOISE)
    batches = generate(R, DDIM(), WHITE, 5, GenerateOptions(batch_size=2, steps=[12, 0], first=10))
    assert walked == []
    numbers, x_0 = next(batches)
    assert (list(numbers), len(x_0), walked) == ([10, 11], 2, [2])
    assert [list(numbers) for numbers, _ in batches] == [[12, 13], [14]]
    assert list(generate(R, DDIM(), WHITE, 0)) == []


class Cramped(BaseRestorer):
    """A restorer with room for `most` images, which counts how many it was given each time."""

    def __init__(self, most):
        super().__init__(NOISE)
        self.most, self.given = most, []

    def forward(self, x_t, t):
        self.given.append(len(x_t))
        if len(x_t) > self.most:
            raise torch.OutOfMemoryError("no room")
        return imperfect(x_t, t)


def test_a_batch_that_does_not_fit_is_halved_and_changes_nothing():
    R = Cramped(3).train()
    made = list(generate(R, DDPM(), WHITE, 11, GenerateOptions(batch_size=8, steps=[12, 7, 0])))
    assert [len(numbers) for numbers, _ in made] == [2, 2, 2, 2, 2, 1]
    assert R.given == [8, 4] + [2] * 10 + [1] * 2
    assert R.training
    expected = generate_images(FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, 11, GenerateOptions(steps=[12, 7, 0]))
    assert torch.equal(torch.cat([x_0 for _, x_0 in made]), expected)


def test_one_image_that_does_not_fit_ends_it():
    with pytest.raises(MemoryError, match="a single image does not fit in memory: no room"):
        generate_images(Cramped(0), DDPM(), WHITE, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": -1}, "n is -1; it is the number of images, 0 or more"),
        ({"options": {"batch_size": 0}}, "batch_size"),
        ({"options": {"first": -2}}, "first"),
        ({"options": {"steps": [13, 0]}}, "do not fall from at most T = 12"),
        ({"D": degrade.make("blur", T=12)}, "needs Gaussian noise, which 'blur' is not"),
        ({"sampler": "dpm"}, "no sampler is called 'dpm'"),
        ({"sampler": 3}, "3 is no sampler: give one, its name"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_walked(changes, message):
    given = {"D": NOISE, "sampler": DDPM(), "n": 4, "options": {}} | changes
    R = FunctionRestorer(imperfect, given["D"])
    with pytest.raises(ValueError, match=message):
        generate(R, given["sampler"], WHITE, given["n"], GenerateOptions(**given["options"]))
    with pytest.raises(ValueError, match="n is 0; it is the number of images, 1 or more"):
        generate_images(FunctionRestorer(imperfect, NOISE), DDPM(), WHITE, 0)


def test_the_images_may_be_trained_on_though_they_were_inferred():
    modes = []

    def watched(x_t, t):
        modes.append(torch.is_inference_mode_enabled())
        return imperfect(x_t, t)

    R, net = FunctionRestorer(watched, NOISE), random_net()
    t = torch.ones(2, dtype=torch.int64)
    for x_0 in (generate_images(R, DDPM(), WHITE, 2), sample(R, DDPM(), *WHITE(2))):
        assert all(modes)
        net(x_0, t).sum().backward()
        assert net.conv_in.weight.grad.isfinite().all()


def test_images_go_where_they_are_wanted():
    assert generate_images(
        FunctionRestorer(imperfect, NOISE),
        DDPM(),
        WHITE,
        3,
        GenerateOptions(batch_size=2, steps=[12, 0], output_device="meta"),
    ).is_meta


PLAIN = (Algorithm1(), Algorithm2(), Algorithm2(estimate=False))
KINDS = [(name, step) for name in ("interpolation", "blur", "pixelate", "inpaint", "decolor") for step in PLAIN]


@pytest.mark.parametrize(("name", "step"), [*KINDS, *(("gaussian_noise", s) for s in (DDIM(), DDPM("large")))], ids=str)
def test_a_walk_looks_at_no_number(name, step, monkeypatch):
    """On tensors without values, where whatever would wait for a device raises."""
    monkeypatch.setattr(torch, "autocast", lambda *where, **how: nullcontext())  # there is none for such tensors
    D = degrade.make(name, T=3)
    R = Restorer(UNet(TINY), D, "v" if isinstance(D, degrade.AffinePath) else "x0").to("meta").eval()
    x_T = torch.empty(2, 3, 8, 8, device="meta")
    z = x_T if isinstance(D, degrade.AffinePath) else D.draw(x_T)
    assert [visit.x_s.is_meta for visit in trajectory(FunctionRestorer(R, D), step, x_T, z)] == [True] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("step", [Algorithm2(), DDIM(), DDPM()], ids=str)
def test_on_an_accelerator_the_images_are_those_of_the_cpu(step):
    R = Restorer(random_net(), NOISE, "x0", clip_sample=True)
    expected = generate_images(R, step, WHITE, 5, GenerateOptions(batch_size=2))
    R.to("cuda")
    there = generate_images(R, step, WHITE, 5, GenerateOptions(batch_size=3, device="cpu"))
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), expected, rtol=0, atol=1e-3)
    own = generate_images(R, step, WHITE, 5, GenerateOptions(batch_size=3))
    torch.testing.assert_close(generate_images(R, step, WHITE, 2, GenerateOptions(first=3)), own[3:], rtol=0, atol=1e-4)
    assert generate_images(R, step, WHITE, 2, GenerateOptions(output_device="cpu")).device.type == "cpu"
