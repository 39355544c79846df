"""Measurements of images, on devices without float64 too."""

from __future__ import annotations

import pytest
import torch

from experiments.evaluation.metrics import centered_correlation, pairwise_rmse, rmse, ssim, thumbnail_distance


class WithoutFloat64(torch.Tensor):
    """A tensor of a device that has no float64, as Apple's has none; on the host it is like any other."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return result


@pytest.mark.parametrize(
    "measure", [rmse, thumbnail_distance, centered_correlation, lambda x, y: pairwise_rmse(x, colors=False)]
)
def test_what_is_measured_does_not_need_float64_on_the_device(measure):
    x, y = torch.rand(2, 6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(TypeError, match="no float64"):
        x.as_subclass(WithoutFloat64).double()
    found = measure(x.as_subclass(WithoutFloat64), y.as_subclass(WithoutFloat64))
    assert found == pytest.approx(measure(x, y))


@pytest.mark.parametrize("measure", [rmse, ssim, centered_correlation])
def test_images_are_compared_in_pairs_and_none_counts_twice(measure):
    message = r"images \(4, 3, 16, 16\) and \(1, 3, 16, 16\) make no pairs"
    with pytest.raises(ValueError, match=message):
        measure(torch.zeros(4, 3, 16, 16), torch.zeros(1, 3, 16, 16))


def test_a_single_image_has_no_diversity():
    with pytest.raises(ValueError, match="the diversity of 1 images is not defined"):
        pairwise_rmse(torch.zeros(1, 3, 4, 4))
