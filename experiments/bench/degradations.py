"""The cost of D(x0, t) beside the naive loop, at the settings of the original.

    python experiments/bench/degradations.py [--out FILE] [--repeats N] [--threads N] [--device cpu] [--quick]

One training batch is degraded by the closed form and by the loop of `experiments.bench.naive`, in turn in one run: the
loop applies level after level up to max(t), stacks them all and picks one per image. Every number is measured at the
size it stands for, none is extrapolated. Columns: median milliseconds of both and their ratio, with the aim; time at
t = T over time at t = 1; time of `delta`, a change of level, over that of one application; growth of a fresh process in
its first batch; the largest difference of the two results.

A second table follows a whole trajectory, Algorithm 2's D(x0, t - 1) - D(x0, t) for t = T..1 at a fixed x0, where the
loop takes T^2 steps; it leaves out what would take the loop an hour, and snow, whose levels do not build on each other.
A third compares the blur of one image of 1,024 pixels with the same blur by products of matrices. A fourth is the share
of every degradation in the steps of the network of the demo (`experiments.bench.shares`).
"""

from __future__ import annotations

from experiments.bench.report import parser

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Measure every case, print the tables and write them as JSON."""
    command = parser("Time D(x0, t) beside the naive loop.", "degradations")
    command.add_argument("--repeats", type=int, default=9, help="rounds of each case, at most")
    options = command.parse_args(argv)

    from experiments.bench.degradation_costs import measure_degradations

    measure_degradations(options)


if __name__ == "__main__":
    main()
