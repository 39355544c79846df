"""Distributed training: the processes that share a training, one per device.

They are started by `torchrun` or `accelerate launch`; without either there is a single process.

Process r of W computes micro-batches r, r + W, r + 2 W, ... of every step, and the gradients are averaged before the
optimizer step (distributed data parallel, through Hugging Face accelerate). A micro-batch is a function of (seed, step,
micro-batch) and not of the process that computes it. So W processes see the batches of a single process and, except for
the rounding of the average, take the same steps. After every step all processes hold the same weights, average and
optimizer state, and no state of a random generator: what one process saves is complete, and any number of processes may
continue from it.

Launched for FSDP (`accelerate launch --use_fsdp`, or ACCELERATE_USE_FSDP=true), the processes also share the memory:
each holds a shard of every weight and of the optimizer state (torch's `fully_shard`), and gathers the weights of a
block while it computes the block. The average and the checkpoints hold full tensors, so that sampling needs no
communication, and a checkpoint does not depend on how many processes wrote it. DeepSpeed is not supported.
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

__all__ = [
    "DistributedProcesses",
    "FullyShardedProcesses",
    "SingleProcess",
    "count_micro_batches",
    "distribute_like",
    "full_tensor",
    "get_world_size",
    "init_distributed",
    "local_rank",
]


class SingleProcess:
    """A single process; all collective operations do nothing.

    >>> alone = SingleProcess()
    >>> alone.rank, alone.world_size, alone.any_rank(True), alone.gather(torch.ones(2)).tolist()
    (0, 1, True, [1.0, 1.0])
    """

    rank: int = 0
    world_size: int = 1

    def broadcast_parameters(self, net: nn.Module) -> None:
        """Copy the weights and buffers of the network in process 0 to all processes."""

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages the gradients over all processes."""
        return net

    def no_sync(self, net: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which the wrapped `net` adds to the gradients without averaging them."""
        return nullcontext()

    def gather(self, x: Tensor) -> Tensor:
        """Return the x (N, ...) of all W processes, (W N, ...) in the order of ranks, without a wait of the host."""
        return x

    def any_rank(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process; the hosts wait for each other, but not for a device."""
        return flag


class DistributedProcesses(SingleProcess):
    """Several processes with a copy of the weights each; see the module.

    Args:
        accelerator: the `Accelerator` of Hugging Face accelerate that initialized torch.distributed.
    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.rank = accelerator.process_index
        self.world_size = accelerator.num_processes
        # Flags are exchanged between the hosts: reading one on a device would wait for all work before it.
        self._hosts: Any = torch.distributed.new_group(backend="gloo")

    def broadcast_parameters(self, net: nn.Module) -> None:
        """Copy the weights and buffers of the network in process 0 to all processes."""
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
        """Return the x (N, ...) of all W processes, (W N, ...) in the order of ranks, without a wait of the host."""
        gathered: Tensor = self.accelerator.gather(x)
        return gathered

    def any_rank(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process; the hosts wait for each other, but not for a device."""
        flags = torch.tensor([int(flag)])
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX, group=self._hosts)
        return bool(flags.item())


class FullyShardedProcesses(DistributedProcesses):
    """Several processes with a shard of weights, gradients and optimizer state each; see the module."""

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the network, sharded in place: its parameters are shards from now on."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.accelerator.device.type, (self.world_size,))
        net.to(memory_format=torch.contiguous_format)  # shards cannot be in another
        for block in [module for module in net.modules() if isinstance(module, getattr(net, "shard_modules", ()))]:
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


def full_tensor(x: Tensor) -> Tensor:
    """Return x; if it is sharded, gathered from all processes, each of which must call this."""
    gathered: Tensor = x.full_tensor() if hasattr(x, "full_tensor") else x
    return gathered


def distribute_like(x: Tensor, like: Any) -> Tensor:
    """Return the full tensor x with the device and memory format of `like`, and sharded as it is."""
    if not hasattr(like, "full_tensor"):
        return torch.empty_like(like, dtype=x.dtype).copy_(x)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def get_world_size() -> int:
    """Return the number of processes that `torchrun` or `accelerate launch` started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process on its machine, which is the index of its device; 0 for a single process."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def count_micro_batches(batch_size: int, micro_batch_size: int | None, world_size: int = 1) -> int:
    """Return the number of micro-batches of an optimizer step, over all processes.

    Args:
        batch_size: images per optimizer step, over all processes.
        micro_batch_size: images per forward pass, at most; None for one forward pass in each process.
        world_size: number of processes.

    Raises:
        ValueError: if the images cannot be shared evenly among micro-batches, or these among the processes.

    >>> count_micro_batches(64, 32), count_micro_batches(8, 32), count_micro_batches(64, None, world_size=4)
    (2, 1, 4)
    """
    if batch_size % world_size:
        more = -(-batch_size // world_size) * world_size
        raise ValueError(
            f"batch_size {batch_size} does not divide by the {world_size} processes; use batch_size {more}"
        )
    size = batch_size // world_size if micro_batch_size is None else min(micro_batch_size, batch_size)
    count, rest = divmod(batch_size, size)
    if rest or count % world_size:
        share = batch_size // world_size
        fits = max(size for size in range(1, min(size, share) + 1) if share % size == 0)
        among = f" among {world_size} processes" if world_size > 1 else ""
        raise ValueError(
            f"batch_size {batch_size} cannot be shared{among} in micro-batches of {size} images;"
            f" use micro_batch_size {fits}"
        )
    return count


def init_distributed(device: torch.device | str) -> SingleProcess:
    """Initialize torch.distributed if several processes were started, and return the processes.

    Args:
        device: device of this process, such as `cuda:{local_rank()}`.

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
    # Gradients are views into the buffers that are averaged, which saves a copy.
    how = accelerate.DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    on_cpu = torch.device(device).type == "cpu"
    accelerator = accelerate.Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[how])
    atexit.register(accelerator.end_training)
    return FullyShardedProcesses(accelerator) if _asked("ACCELERATE_USE_FSDP") else DistributedProcesses(accelerator)


def _asked(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true")
