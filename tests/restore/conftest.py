"""Fixtures of the tests of `restore`."""

from __future__ import annotations

import warnings

import pytest

from restore import UNet, UNetConfig, to_diffusers
from tests.diffusers_networks import randomized


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers

        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        _ = diffusers.UNet2DModel, diffusers.DDPMPipeline  # imported when first asked for
    return diffusers


@pytest.fixture
def written(tmp_path):
    """A folder with a small network in it, and the network."""
    net = randomized(
        UNet(
            UNetConfig(
                image_size=8,
                model_channels=8,
                channel_mult=(1, 2),
                attention_resolutions=(4,),
                norm_groups=4,
                time_offset=-1,
            )
        )
    )
    return to_diffusers(net, tmp_path / "model"), net
