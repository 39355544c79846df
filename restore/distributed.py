"""The processes that share a training, one to a device: started by `torchrun` or `accelerate launch`, or just this one.

Process r of W computes micro-batches r, r + W, r + 2 W, ... of every step, and the gradients are averaged before the
step is taken (distributed data parallel, through Hugging Face accelerate). Since a micro-batch is a function of (seed,
step, micro-batch) and not of who computes it, W processes see the global batches of one and, but for the rounding of
the average, take its steps. All of them then hold the same weights, average and optimizer, and nothing random that is
consumed: what one process saves is complete, and any number of processes may continue from it.

Launched for FSDP (`accelerate launch --use_fsdp`, or ACCELERATE_USE_FSDP=true), the processes also share the memory:
each holds a slice of every weight and of the optimizer's moments (torch's `fully_shard`), and gathers the weights of a
block while it computes it. The average, with which one samples, and what is saved stay whole, so that no process waits
for another outside training steps, and a checkpoint does not tell how it was trained. DeepSpeed is refused by name.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from degrade.optional import require
from restore.nets.blocks import Residual

__all__ = [
    "DistributedProcesses",
    "FullyShardedProcesses",
    "SingleProcess",
    "distribute_like",
    "get_world_size",
    "init_distributed",
    "local_accumulation",
    "local_rank",
    "whole",
]


class SingleProcess:
    """One process on its own; everything that `DistributedProcesses` do together, it does by doing nothing.

    >>> alone = SingleProcess()
    >>> alone.rank, alone.world_size, alone.any(True), alone.gather(torch.ones(2)).tolist()
    (0, 1, True, [1.0, 1.0])
    """

    rank: int = 0
    world_size: int = 1

    def broadcast_parameters(self, net: nn.Module) -> None:
        """Give the network of every process the weights that it has in the first."""

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages the gradients over all processes."""
        return net

    def no_sync(self, net: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which the wrapped `net` adds to the gradients without averaging them."""
        return nullcontext()

    def gather(self, x: Tensor) -> Tensor:
        """Return the x (N, ...) of all processes, (W N, ...) in the order of their ranks, without a wait."""
        return x

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process; the processes wait for each other, but for no device."""
        return flag


class DistributedProcesses(SingleProcess):
    """Several processes; see the module.

    Args:
        accelerator: of Hugging Face accelerate, which has joined them.
    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.rank = accelerator.process_index
        self.world_size = accelerator.num_processes
        # Flags travel between the hosts: on the devices, looking at one would wait for all work before it.
        self._hosts: Any = torch.distributed.new_group(backend="gloo")

    def broadcast_parameters(self, net: nn.Module) -> None:
        """Give the network of every process the weights that it has in the first."""
        for tensor in net.state_dict().values():
            torch.distributed.broadcast(tensor, 0)

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages the gradients over all processes."""
        wrapped: nn.Module = self.accelerator.prepare_model(net)
        return wrapped

    def no_sync(self, net: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which the wrapped `net` adds to the gradients without averaging them."""
        context: AbstractContextManager[Any] = self.accelerator.no_sync(net)
        return context

    def gather(self, x: Tensor) -> Tensor:
        """Return the x (N, ...) of all processes, (W N, ...) in the order of their ranks, without a wait."""
        gathered: Tensor = self.accelerator.gather(x)
        return gathered

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process; the processes wait for each other, but for no device."""
        flags = torch.tensor([int(flag)])
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX, group=self._hosts)
        return bool(flags.item())


class FullyShardedProcesses(DistributedProcesses):
    """Several processes that also share the memory of weights, gradients and moments; see the module."""

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the network, sharded in place: its parameters are slices from now on."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.accelerator.device.type, (self.world_size,))
        net.to(memory_format=torch.contiguous_format)  # slices cannot be in another
        for block in [module for module in net.modules() if isinstance(module, Residual)]:
            fully_shard(block, mesh=mesh)
        fully_shard(net, mesh=mesh)
        return net

    @contextmanager
    def no_sync(self, net: Any) -> Iterator[None]:
        """Return a context in which the wrapped `net` adds to the gradients without averaging them."""
        net.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            net.set_requires_gradient_sync(True)


def whole(x: Tensor) -> Tensor:
    """Return x, put together from its slices if the processes share it; then all of them must ask."""
    gathered: Tensor = x.full_tensor() if hasattr(x, "full_tensor") else x
    return gathered


def distribute_like(x: Tensor, like: Any) -> Tensor:
    """Return the whole x with the device, memory format and, if the processes share it, slices of `like`."""
    if not hasattr(like, "full_tensor"):
        return torch.empty_like(like, dtype=x.dtype).copy_(x)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def get_world_size() -> int:
    """Return how many processes `torchrun` or `accelerate launch` started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process on its machine, which is that of its device; 0 when it is on its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_accumulation(accumulate: int, processes: int) -> int:
    """Return how many of the `accumulate` micro-batches of a step each process computes.

    Raises:
        ValueError: if they cannot be shared evenly.

    >>> local_accumulation(8, processes=2)
    4
    """
    if accumulate % processes:
        raise ValueError(
            f"accumulate {accumulate} does not divide by the {processes} processes that share its micro-batches;"
            f" choose accumulate {-(-accumulate // processes) * processes} with a batch smaller in proportion,"
            " or another number of processes"
        )
    return accumulate // processes


def init_distributed(device: torch.device | str) -> SingleProcess:
    """Join the processes that were started together, or return the one there is.

    Args:
        device: of this process, such as `cuda:{local_rank()}`.

    Raises:
        ImportError: if there are several and accelerate is not installed.
        ValueError: if DeepSpeed was asked for.

    >>> init_distributed("cpu").world_size
    1
    """
    if get_world_size() == 1:
        return SingleProcess()
    if _asked("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError("DeepSpeed (ACCELERATE_USE_DEEPSPEED) is not supported; launch without it, or with --use_fsdp")
    accelerate = require("accelerate", "training in several processes", extra="devices")
    how = accelerate.DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # they live where they are averaged
    on_cpu = torch.device(device).type == "cpu"
    accelerator = accelerate.Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[how])
    atexit.register(accelerator.end_training)
    return FullyShardedProcesses(accelerator) if _asked("ACCELERATE_USE_FSDP") else DistributedProcesses(accelerator)


def _asked(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true")
