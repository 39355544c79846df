"""Sampling images per second, beside diffusers' DDPMPipeline with the same weights, in one run.

    python experiments/bench/sampling.py [--out FILE] [--rounds N] [--batch N] [--steps N] [--threads N] [--device cpu]
                                         [--quick]

Both take `--steps` steps from level 1000 to 0 with the ancestral step of DDPM, from noise to images, x0_hat clamped;
our network is handed over by `restore.to_diffusers`. The columns are those of `experiments/bench/training.py`, with one
forward pass counted for a step.

The second table holds the loop of `samplers.sample` against as many calls of the network alone, in turn in one process:
the share of time spent outside the network. The third says what the fast settings change, on random weights: the
network's output at each step from the same x_t, and the images at the end of two trajectories with the same noise.
"""

from __future__ import annotations

from experiments.bench.report import parser

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Measure every network, print the tables and write them as JSON."""
    command = parser("Time sampling beside diffusers.", "sampling")
    command.add_argument("--rounds", type=int, default=5, help="turns of each process")
    command.add_argument("--batch", type=int, default=8, help="number of images that are sampled together")
    command.add_argument("--steps", type=int, default=10, help="number of sampling steps")
    options = command.parse_args(argv)

    from experiments.bench.library_comparison import compare
    from experiments.bench.sampling_comparison import measured, summary

    compare("sampling", measured, summary, options)


if __name__ == "__main__":
    main()
