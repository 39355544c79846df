"""Training images per second, beside lucidrains' trainer and the diffusers example, in one run.

    python experiments/bench/training.py [--out FILE] [--rounds N] [--batch N] [--threads N] [--device cpu] [--quick]

Every library (`experiments.bench.training_backends`) has a process of its own; they take their steps in turn, and the
median round counts. Columns: images a second, with the range over the rounds; how many times that is of each other
library in float32; operations of a forward pass, which are matched, and parameters; operations a second (a step is
three forward passes) and their share of the largest matrix product's in the same precision, measured in this run;
memory, by which the process grew, compiler included; seconds until everything had run once.

Then what the fast settings change, on random weights and one batch: the loss, and the gradient of all weights.
"""

from __future__ import annotations

from experiments.bench.report import parser

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Measure every network, print the tables and write them as JSON."""
    command = parser("Time training steps beside other libraries.", "training")
    command.add_argument("--rounds", type=int, default=7, help="turns of each process")
    command.add_argument("--batch", type=int, default=16, help="images a step; lucidrains takes no fewer than 16")
    options = command.parse_args(argv)

    from experiments.bench.library_comparison import compare
    from experiments.bench.training_comparison import measured, summary

    compare("training", measured, summary, options)


if __name__ == "__main__":
    main()
