"""A restorer as a program of torch.export: one graph of tensor operations, free of this library and of Python.

    x0_hat = program(x_t, t, **cond),    x_t (N, C, H, W) float32,  t (N,) int64,  x0_hat (N, C, H, W) float32

The number of images N is free, and so are the sides H and W if they divide by `R.size_divisor` and are at least twice
that. The program contains the conversion of the network's prediction to x0_hat, and the clamp. Severities are an input,
so that a sampler can call it; the program does not check that they are in 1..T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from restore.base_restorer import BaseRestorer

__all__ = ["export_program"]


def export_program(
    R: BaseRestorer,
    cond: Mapping[str, Tensor] | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> ExportedProgram:
    """Return a restorer as a `torch.export.ExportedProgram`, which `torch.export.save` writes to a file.

    Args:
        R: a restorer in evaluation mode with weights in float32. Conditions that are bound to it become constants.
        cond: the conditions that the program takes as inputs by name, an example of each with a first dimension for
            images; an example of four dimensions stands for images of the size of x_t. None means those that the
            network declares by `example_cond`.
        image_size: (height, width) in pixels to which the program is restricted; None for any size.
        channels: number of channels of the images; None for `R.image_channels`.

    Raises:
        ValueError: for a restorer in training mode or in another precision, an unknown number of channels, sides that
            do not divide by `R.size_divisor`, or a restorer that is no graph for all sizes.

    >>> import degrade, restore
    >>> D = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=3)
    >>> R = restore.Restorer(restore.make_network("residual_cnn", channels=4, num_layers=1, max_timestep=4), D).eval()
    >>> program = export_program(R)
    >>> x_t, t = torch.rand(3, 3, 10, 7), torch.tensor([1, 2, 4])
    >>> torch.allclose(program.module()(x_t, t), R(x_t, t), atol=1e-6)
    True
    """
    _check_exportable(R)
    channels = channels or R.image_channels
    if channels is None:
        raise ValueError(f"{type(R).__name__} does not know the channels of its images; pass channels=3, for instance")
    divisor = R.size_divisor
    if image_size is not None and any(side < 1 or side % divisor for side in image_size):
        raise ValueError(f"image_size is {image_size}; it needs (height, width) that divide by {divisor}")
    device = R.device
    height, width = image_size or (4 * divisor, 6 * divisor)
    x_t = torch.zeros(2, channels, height, width, device=device)
    t = torch.ones(2, dtype=torch.int64, device=device)
    examples = _declared_cond(R, x_t) if cond is None else cond
    inputs = {name: _like_images(value, x_t) for name, value in examples.items()}

    batch = {0: Dim("batch", min=1)}
    sides = {} if image_size else {2: divisor * Dim("height", min=2), 3: divisor * Dim("width", min=2)}
    shapes = {"x_t": batch | sides, "t": batch}
    shapes |= {name: batch | sides if value.ndim == 4 else batch for name, value in inputs.items()}
    try:
        with torch.no_grad():
            return torch.export.export(_Named(R, tuple(inputs)), (x_t, t), inputs, dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises errors of many types for code that is no graph
        reason = str(error).partition("\n")[0].partition(" For more information")[0].rstrip(".!")
        fix = "" if image_size else "; pass image_size=(height, width) for images of one size"
        raise ValueError(f"{type(R).__name__} of {R.degradation.name} cannot be exported: {reason}{fix}") from error


class _Named(nn.Module):
    """A restorer whose signature names its conditions, as torch.export needs it to check their shapes."""

    def __init__(self, R: BaseRestorer, names: tuple[str, ...]) -> None:
        super().__init__()
        self.R = R

        def forward(x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
            return R(x_t, t, **cond)  # type: ignore[no-any-return]

        usual = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("x_t", "t", *names)]
        forward.__signature__ = Signature(usual)  # type: ignore[attr-defined]
        self.forward = forward


def _check_exportable(R: BaseRestorer) -> None:
    """Raise ValueError for a restorer that computes at random or not in float32."""
    # A wrapper made after R.eval(), as by R.with_cond, is itself in training mode, which has no effect.
    if any(module.training for module in R.modules() if not isinstance(module, BaseRestorer)):
        raise ValueError("R is in training mode, with dropout; call R.eval() before it is exported")
    for module in R.modules():
        precision = getattr(module, "precision", "float32")
        if isinstance(module, BaseRestorer) and precision != "float32":
            raise ValueError(
                f"R.precision is {precision!r}; exported programs work in float32: R.precision = 'float32'"
            )
    for name, parameter in R.named_parameters():
        if parameter.dtype != torch.float32:
            raise ValueError(f"{name} is {parameter.dtype}; a program works in float32: call R.float()")


def _declared_cond(R: BaseRestorer, x_t: Tensor) -> dict[str, Tensor]:
    """Return an example of each condition that the network of R declares."""
    declare: Callable[[Tensor], dict[str, Tensor]] | None = getattr(getattr(R, "net", None), "example_cond", None)
    return {} if declare is None else declare(x_t)


def _like_images(example: Tensor, x_t: Tensor) -> Tensor:
    """Return a condition of the type of an example with one entry for each image, and an image in the size of x_t."""
    inner = (*example.shape[1:2], *x_t.shape[2:]) if example.ndim == 4 else example.shape[1:]
    return torch.zeros(len(x_t), *inner, dtype=example.dtype, device=x_t.device)
