"""Where the time of the network goes, by kinds of operation.

    python experiments/bench/network.py [--out FILE] [--before FILE] [--threads N] [--device cpu] [--quick]

PyTorch's profiler adds up what each operation takes by itself, over a forward pass and over a training step's forward
and backward passes, in both precisions (bfloat16 where it is not emulated) and both memory layouts; compiled code is
not told apart by kind and is left to `training.py`. Columns: milliseconds, the least of several passes without the
profiler, on a CPU those of the processor, which other programs do not add to; and each kind's share; with `--before`, a
file that an earlier version wrote, the same of that one in front.
"""

from __future__ import annotations

from pathlib import Path

from experiments.bench.report import parser

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Profile every setting, print the table and write it as JSON."""
    command = parser("Say where the time of the network goes.", "network")
    command.add_argument("--before", type=Path, metavar="FILE", help="what an earlier version wrote")
    command.add_argument("--rounds", type=int, default=5, help="passes of each kind, of which the fastest counts")
    options = command.parse_args(argv)

    from experiments.bench.network_profile import profile_network

    profile_network(options)


if __name__ == "__main__":
    main()
