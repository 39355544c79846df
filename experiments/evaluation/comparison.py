"""A comparison of restorations of the same degraded images: what iterating adds to one prediction of R.

Rows of a comparison, all from the same x_t = D(x0, t, z):

    degraded          x_t itself
    linear inverse    `D.invert(x_t)`, the regularized inverse of an affine D with known z; nothing is trained
    direct            R(x_t, t), the baseline that every other row is compared with, image by image
    SAMPLER, n        a trajectory of n steps; `-fixed` keeps z as the trajectory started

Costs are counted as calls of R (nfe). Image i is degraded and sampled with generators of its own, so that no number
depends on the batch size or on the number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from degrade import Degradation, Params, expand_level, map_params
from degrade.frozen import frozen
from degrade.random import seeded_generator
from experiments.evaluation.accumulate import Rows, gather_objects, process_share
from experiments.evaluation.calls import CountCalls
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.linear import (
    INPUT_NOISE,
    has_linear_inverse,
    linear_inverse,
    to_input_precision,
)
from restore import BaseRestorer
from restore.conditions import Cond, draw_params
from samplers import (
    Sampler,
    cumulative_change,
    direct,
    equal_change_timesteps,
    make_sampler,
    parse_sampler,
    sampler_names,
    spaced_timesteps,
    trajectory,
)
from samplers.loop import inference_mode

__all__ = ["Comparison", "ComparisonOptions", "Method", "Observed", "compatible_samplers"]

DEGRADED, LINEAR, DIRECT = "degraded", "linear inverse", "direct"
SEVERITY_STEPS = 10  # of the trajectories from every severity, at most


@frozen
class ComparisonOptions:
    """What is compared.

    Args:
        samplers: names as `samplers.parse_sampler` reads them; empty for every sampler that suits the degradation, and
            `direct` for none.
        steps: numbers of steps, 1 or more; those above the start are replaced by it.
        start: severity that images are degraded to, 1..T; None for T.
        input_precision: `8bit` rounds the degraded images to 256 levels, as a file does; `float32` does not.
        spacing: `even`, or `equal-error` for severities between which R's prediction changes equally.
        severities: number of severities at which the error per severity is measured; 0 for none.
        batch_size: images in a forward pass.
        seed: seed of the degradation and of the noise of samplers.
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 5, 10, 25, 50)
    start: Annotated[int, Field(ge=1)] | None = None
    input_precision: InputPrecision = "8bit"
    spacing: Literal["even", "equal-error"] = "even"
    severities: Annotated[int, Field(ge=0)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 32
    seed: int = 0


class Method(NamedTuple):
    """One way to restore: a sampler over falling severities, or one of the three rows without a sampler."""

    row: str
    sampler: str | None = None
    severities: tuple[int, ...] = ()

    @property
    def steps(self) -> int | None:
        """Number of steps of the trajectory."""
        return len(self.severities) - 1 if self.severities else None


class Observed(NamedTuple):
    """Rows of the metrics, method and cost, and errors along the longest trajectories, by name of the row."""

    rows: dict[str, Rows]
    described: dict[str, dict[str, Any]]
    along: dict[str, Any]


def compatible_samplers(D: Degradation) -> list[str]:
    """Return every registered sampler that suits D with its defaults, and with fixed z if D is random.

    >>> import degrade
    >>> compatible_samplers(degrade.make("decolor"))[:2]
    ['algorithm1', 'algorithm2']
    """
    found = []
    for name in sampler_names():
        try:
            sampler = make_sampler(name)
            sampler.check_compatible(D)
        except ValueError:  # it needs an argument, or another kind of degradation
            continue
        found.append(name)
        if D.random and "estimate" in sampler.arguments:
            found.append(f"{name}-fixed")
    return found


class Comparison:
    """Degraded images whose truth is known, restored by one or several restorers of the same degradation.

    Args:
        restorers: name -> R; the names become part of the rows if there are several.
        examples: (N, C, H, W) clean images that training has not seen, or a pair of them and a dict of what belongs to
            each: conditions, and z if it is known (see `restore.conditions`).
        evaluator: measures; its processes share the work.
        options: settings of the comparison.

    Raises:
        ValueError: for a start beyond T, restorers of different degradations, or a sampler that does not suit them.
    """

    def __init__(
        self,
        restorers: Mapping[str, BaseRestorer],
        examples: Tensor | tuple[Tensor, Cond],
        evaluator: Evaluator,
        options: ComparisonOptions = ComparisonOptions(),
    ) -> None:
        noise = INPUT_NOISE[options.input_precision]
        self.restorers = {name: CountCalls(R.with_input_noise(noise)) for name, R in restorers.items()}
        self.D = next(iter(restorers.values())).degradation
        if any(R.degradation != self.D for R in restorers.values()):
            raise ValueError("the models undo different degradations; compare models of one degradation")
        self.x0 = examples if isinstance(examples, Tensor) else examples[0]
        self.evaluator, self.options = evaluator, options
        self.start = self.D.T if options.start is None else options.start
        if self.start > self.D.T:
            raise ValueError(f"start {self.start} is more than T = {self.D.T}; choose {self.D.T} or less")
        # `direct` is a row of every table, and alone it means that there is no sampler.
        self.samplers = [name for name in options.samplers or compatible_samplers(self.D) if name != DIRECT]
        for name in self.samplers:
            parse_sampler(name).check_compatible(self.D)
        generators = self._generators("degraded", range(len(self.x0)))
        _, self.z, self.cond = draw_params(self.D, examples, generators)

    def run(self, data: Tensor) -> dict[str, Any]:
        """Measure every row; every process must call it, and all return the same.

        Args:
            data: (M, C, H, W) clean images on which equal-error severities are measured, other ones than x0.

        Returns:
            JSON values: `rows` with method and cost of each, `evaluation` as `Evaluation.to_dict` gives it,
            `trajectory` and `severity` with root mean squared errors.
        """
        jobs = [(name, method) for name in self.restorers for method in self.methods(self.restorers[name], data)]
        rows, described, along = self.observe(jobs)
        evaluation = self.evaluate(rows)
        return {
            "start": self.start,
            "input_precision": self.options.input_precision,
            "spacing": self.options.spacing,
            "rows": described,
            "evaluation": evaluation.to_dict(),
            "trajectory": along,
            "severity": self.errors_by_severity(),
        }

    def observe(self, jobs: Sequence[tuple[str, Method]]) -> Observed:
        """Restore by each (name of the restorer, method), and return what the metrics need; see `run`."""
        rows: dict[str, Rows] = {}
        described: dict[str, dict[str, Any]] = {}
        along: dict[str, Any] = {}
        for name, method in tqdm(jobs, "comparing", disable=None, leave=False):
            key = self._row(name, method)
            rows[key], cost, errors = self._measure(name, method)
            described[key] = {"model": name, "sampler": method.sampler, "steps": method.steps, "nfe": cost}
            if errors and method.steps == max(m.steps or 0 for _, m in jobs):
                along[key] = errors
        return Observed(rows, described, along)

    def evaluate(self, rows: Mapping[str, Rows]) -> Evaluation:
        """Return the table of all rows, with differences to the first direct restoration."""
        baseline = self._row(next(iter(self.restorers)), Method(DIRECT))
        return self.evaluator.summarize(rows, self.evaluator.reference(self.x0), baseline)

    def methods(self, R: BaseRestorer, data: Tensor) -> list[Method]:
        """Return the rows for one restorer."""
        steps = sorted({min(n, self.start) for n in self.options.steps} | {self.start})
        spaced = {n: spaced_timesteps(self.start, n) for n in steps}
        if self.options.spacing == "equal-error":
            generator = seeded_generator(data.device, self.options.seed, "change")
            change = cumulative_change(R, data, generator, spaced_timesteps(self.start))
            spaced = {n: equal_change_timesteps(change, n) for n in steps}
        found = [Method(DEGRADED), *([Method(LINEAR)] if has_linear_inverse(self.D) else []), Method(DIRECT)]
        return found + [Method(f"{name}, {n}", name, tuple(spaced[n])) for name in self.samplers for n in steps]

    def errors_by_severity(self) -> dict[str, Any]:
        """Return the root mean squared error of every way to restore, from several severities."""
        if not self.options.severities:
            return {}
        count = min(self.options.severities, self.start)
        severities = spaced_timesteps(self.start, count)[:-1][::-1]
        found: dict[str, list[float]] = {}
        for name in self.restorers:
            for t in severities:
                spaced = tuple(spaced_timesteps(t, min(SEVERITY_STEPS, t)))
                methods = [Method(DEGRADED), *([Method(LINEAR)] if has_linear_inverse(self.D) else []), Method(DIRECT)]
                for method in methods + [Method(sampler, sampler, spaced) for sampler in self.samplers]:
                    error = self._squared_error(name, method, t)
                    found.setdefault(self._row(name, method), []).append(error**0.5)
        return {"severities": severities, "steps": SEVERITY_STEPS, "rmse": found}

    def _row(self, name: str, method: Method) -> str:
        """Return the name of a row; what does not depend on R is the same for all models."""
        several = len(self.restorers) > 1 and method.row not in (DEGRADED, LINEAR)
        return f"{name}: {method.row}" if several else method.row

    def _generators(self, use: str, images: range) -> list[torch.Generator]:
        return [seeded_generator(self.x0.device, self.options.seed, use, i) for i in images]

    def _degraded(self, part: slice, t: int) -> tuple[Tensor, Params]:
        z = map_params(lambda v: v[part], self.z)
        x_t = self.D(self.x0[part], expand_level(t, self.x0[part]), z)
        return to_input_precision(x_t, self.options.input_precision), z

    def _measure(self, name: str, method: Method) -> tuple[Rows, int, dict[str, Any] | None]:
        """Return the rows of one method, the calls of R for one image, and the errors along its trajectory."""
        accumulator, R = self.evaluator.accumulator(), self.restorers[name]
        before, sums = R.calls, []
        parts = process_share(len(self.x0), self.options.batch_size, self.evaluator.processes)
        for part in parts:
            images, errors = self.restore(R, method, part, self.start)
            accumulator.add(images, self.x0[part])
            sums += [errors] if errors is not None else []
        costs = gather_objects((R.calls - before, len(parts)), self.evaluator.processes)
        cost = sum(calls for calls, _ in costs) // max(1, sum(count for _, count in costs))
        everyone = [errors for share in gather_objects(sums, self.evaluator.processes) for errors in share]
        return accumulator.rows(), cost, self._along(method, everyone) if everyone else None

    def _along(self, method: Method, errors: Sequence[Tensor]) -> dict[str, Any]:
        """Return the errors of x0_hat and of x_s at every visited severity, from sums of squares over batches."""
        prediction, state = (torch.stack(list(errors)).sum(0) / self.x0.numel()).sqrt().tolist()
        return {"t": list(method.severities[:-1]), "s": list(method.severities[1:]), "x0_hat": prediction, "x_s": state}

    def _squared_error(self, name: str, method: Method, t: int) -> float:
        sums = []
        for part in process_share(len(self.x0), self.options.batch_size, self.evaluator.processes):
            images, _ = self.restore(self.restorers[name], method, part, t)
            sums.append(_squares(images.clamp(-1, 1), self.x0[part]))
        everyone = [total for share in gather_objects(sums, self.evaluator.processes) for total in share]
        return sum(everyone) / self.x0.numel()

    def restore(self, R: BaseRestorer, method: Method, part: slice, t: int) -> tuple[Tensor, Tensor | None]:
        """Return the restored images of a batch, and the squared errors (2, steps) of x0_hat and x_s on the way."""
        x_t, z = self._degraded(part, t)
        if self.cond:
            R = R.with_cond(**{name: value[part] for name, value in self.cond.items()})
        if method.row == DEGRADED:
            return x_t, None
        if method.row == LINEAR:
            return linear_inverse(self.D, x_t, expand_level(t, x_t), z, self.options.input_precision), None
        if method.sampler is None:
            return direct(R, x_t, t), None
        sampler: Sampler = parse_sampler(method.sampler)
        generators = self._generators("sampler", range(len(self.x0))[part])
        errors, x0, at = [], self.x0[part], None
        with inference_mode(R):
            for at in trajectory(R, sampler, x_t, z, method.severities, generators):
                truth = self.D(x0, expand_level(at.s, x0), z)
                errors.append((_squares(at.x0_hat.clamp(-1, 1), x0), _squares(at.x_s, truth)))
        assert at is not None
        return at.x_s.clone(), torch.tensor(errors, dtype=torch.float64).T


def _squares(a: Tensor, b: Tensor) -> float:
    """Return the sum of squared differences of images in [-1, 1], on the scale of [0, 1]."""
    return float(((a.cpu().double() - b.cpu().double()) / 2).square().sum())
