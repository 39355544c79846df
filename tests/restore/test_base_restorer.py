"""Every R carries its degradation; conditions are bound to it and reach the function inside."""

import pytest
import torch

import degrade
from restore import BaseRestorer, FunctionRestorer

D = degrade.make("decolor", T=4)


def test_a_function_is_a_restorer():
    x0 = torch.rand(2, 3, 4, 4)
    R = FunctionRestorer(lambda x_t, t: x0, D)
    assert isinstance(R, BaseRestorer)
    assert R.degradation is D
    assert (R.size_divisor, R.image_size) == (1, None)
    assert R(torch.zeros_like(x0), torch.tensor([1, 4])) is x0


def test_conditions_are_bound_for_one_image_or_for_each():
    R = FunctionRestorer(lambda x_t, t, label: label, D)
    x, t = torch.zeros(3, 3, 4, 4), torch.tensor([1, 2, 3])
    assert R.with_cond(label=torch.tensor([7]))(x, t).tolist() == [7, 7, 7]
    bound = R.with_cond(label=torch.tensor([1, 2, 3]))
    assert bound(x, t).tolist() == [1, 2, 3]
    assert bound.degradation is D
    assert bound(x, t, label=torch.tensor([4, 5, 6])).tolist() == [4, 5, 6]
    assert bound.to("meta").cond["label"].device.type == "meta"
    assert not bound.state_dict()


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"degradation is 'blur'; pass a Degradation"):
        FunctionRestorer(lambda x_t, t: x_t, "blur")
    with pytest.raises(ValueError, match=r"condition label is 3; pass a tensor"):
        FunctionRestorer(lambda x_t, t: x_t, D).with_cond(label=3)
    with pytest.raises(NotImplementedError, match=r"BaseRestorer needs a method forward"):
        BaseRestorer(D)(torch.zeros(1, 3, 2, 2), torch.tensor([1]))
