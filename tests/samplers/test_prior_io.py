"""Priors saved with a model come back, with the live objects that are handed in."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade.random import seeded_generator
from restore import ComponentConfig, Restorer, TrainConfig, Trainer, UNet, save
from samplers import PRIORS, DegradedData, LowResolution, PriorSample, load_prior, register_prior
from samplers.priors.base import Prior
from tests.cases import partners
from tests.trainings import TINY

SHAPE = (1, 16, 16)
AREA = degrade.make("pixelate", T=3, filter="area")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where a training is saved, and a function that saves it with a prior."""
    training = Trainer(Restorer(UNet(TINY), AREA), TrainConfig(steps=1, batch_size=1))

    def saved(prior):
        folder = tmp_path_factory.mktemp("model")
        save(folder, training, prior=prior)
        return folder

    return saved


def test_a_prior_is_saved_with_the_model(trained):
    prior = LowResolution(
        AREA, SHAPE, 1, "blocks", (0.5, 0.5), ((-0.5,), (0.5,)), (((0.01,),), ((0.04,),)), jitter=0.002
    )
    again = load_prior(trained(prior))
    assert again == prior
    assert again.D == AREA
    assert torch.equal(again(4, seeded_generator("cpu", 8)).x_T, prior(4, seeded_generator("cpu", 8)).x_T)


def test_live_objects_are_handed_in_when_a_prior_is_loaded(trained):
    folder = trained(DegradedData(AREA, partners(*SHAPE), jitter=0.1))
    with pytest.raises(
        ValueError, match=r"the prior 'degraded_data' of .*step-.* needs it: load_prior\(folder, source=\.\.\.\)"
    ):
        load_prior(folder)
    other = degrade.make("pixelate", T=1)
    prior = load_prior(folder, source=partners(*SHAPE), D=other, device="cpu")
    assert (prior.jitter, prior.D) == (0.1, other)


def test_a_model_without_a_prior_says_so(trained):
    with pytest.raises(ValueError, match=r"holds no prior: fit one with samplers\.fit_prior"):
        load_prior(trained(None))
    with pytest.raises(ValueError, match="no prior is called 'low_resolutoin': did you mean 'low_resolution'"):
        load_prior(trained(ComponentConfig("low_resolutoin")))


def test_a_prior_of_ones_own_is_registered_and_rebuilt():
    @register_prior("gray_example")
    class Gray(Prior):
        """Always the same gray."""

        value: float

        def __call__(self, n, generator=None):
            return PriorSample(torch.full((n, 1, 2, 2), self.value), None)

    prior = PRIORS.make("gray_example", value=0.5)
    assert PRIORS.make(prior.name, **prior.arguments) == prior
    assert prior(1).x_T.unique().tolist() == [0.5]
    with pytest.raises(ValueError, match=r"gray_example: value = 'x': input should be a valid number"):
        PRIORS.make("gray_example", value="x")
