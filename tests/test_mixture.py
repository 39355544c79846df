"""Mixtures and what they are made of: schedules, tables, couplings, and where random numbers come from."""

from __future__ import annotations

import itertools
import math
import sys
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import degrade
from degrade.coupling import couple
from degrade.draws import rand, randint, randn, randn_like
from degrade.keyed import key_seed, keyed
from degrade.schedules import Cosine, Linear, Straight, Table
from degrade.tables import Tables, TablesBySize, compute_dtype
from tests.cases import images, partners

SCHEDULES = [Linear(), Cosine(), Straight(), Linear(beta_1=0.01, beta_T=0.3), Cosine(s=0.0, max_beta=0.9)]
VARIANCE_PRESERVING = [schedule for schedule in SCHEDULES if schedule.name != "straight"]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
levels = st.integers(1, 2000)
unhurried = settings(deadline=None)  # the processors are shared


def seed(number):
    return torch.Generator().manual_seed(number)


def noise(**arguments):
    return degrade.make("gaussian_noise", **arguments)


def linear_alpha_bars(T, beta_1, beta_T):
    """Products of 1 - beta as Ho et al. define them, one factor after another."""
    alpha_bars = [1.0]
    for i in range(T):
        beta = beta_1 + (beta_T - beta_1) * i / max(1, T - 1)
        alpha_bars.append(alpha_bars[-1] * (1 - beta))
    return torch.tensor(alpha_bars, dtype=torch.float64)


def cosine_alpha_bars(T, s, max_beta):
    """Nichol and Dhariwal, eq. 17: alpha_bar = f(t) / f(0), its betas cut, multiplied up again."""
    f = [math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2 for t in range(T + 1)]
    alpha_bars = [1.0]
    for t in range(1, T + 1):
        alpha_bars.append(alpha_bars[-1] * (1 - min(1 - f[t] / f[t - 1], max_beta)))
    return torch.tensor(alpha_bars, dtype=torch.float64)


@unhurried
@given(levels, st.floats(1e-5, 0.1), st.floats(1e-3, 0.5))
def test_linear_is_the_product_of_its_betas(T, beta_1, beta_T):
    a, _ = Linear(beta_1=beta_1, beta_T=beta_T)(T)
    torch.testing.assert_close(a**2, linear_alpha_bars(T, beta_1, beta_T), rtol=1e-11, atol=1e-300)


def test_linear_ends_where_ddpm_ends():
    """Ho et al., section 4: T = 1000 and betas from 1e-4 to 0.02 leave 4.04e-5 of the variance."""
    a, b = noise().coefficients(torch.tensor([1000]), torch.zeros(1, dtype=torch.float64))
    assert a.item() ** 2 == pytest.approx(4.0358e-5, rel=1e-4)
    assert b.item() ** 2 == pytest.approx(1 - 4.0358e-5, rel=1e-8)


@unhurried
@given(levels, st.floats(0, 0.1), st.floats(0.5, 0.9999))
def test_cosine_is_a_squared_cosine_with_its_betas_cut(T, s, max_beta):
    a, _ = Cosine(s=s, max_beta=max_beta)(T)
    torch.testing.assert_close(a**2, cosine_alpha_bars(T, s, max_beta), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("T", [1, 2, 200, 1000])
def test_the_cut_of_cosine_spares_a_last_trace_of_the_image(T):
    """Without the cut alpha_bar_T is 0, and what divides by it is not a number."""
    a, _ = Cosine()(T)
    assert a[T] ** 2 / a[T - 1] ** 2 == pytest.approx(0.001, rel=1e-9)
    torch.testing.assert_close((a[: T // 2 + 1] ** 2), cosine_alpha_bars(T, 0.008, 1.0)[: T // 2 + 1])


@unhurried
@given(levels)
def test_straight_is_a_straight_line(T):
    a, b = Straight()(T)
    t = torch.arange(T + 1, dtype=torch.float64)
    torch.testing.assert_close(b, t / T, rtol=4e-16, atol=0)
    torch.testing.assert_close(a + b, torch.ones_like(a), rtol=0, atol=2e-16)


@every_schedule
@unhurried
@given(T=levels)
def test_tables_are_clean_at_0_and_fall_from_image_to_z(schedule, T):
    a, b = schedule(T)
    assert a.shape == b.shape == (T + 1,)
    assert a.dtype == b.dtype == torch.float64
    assert (a[0], b[0]) == (1, 0)
    assert (a.diff() < 0).all()
    assert (b.diff() >= 0).all()
    assert b[1] > 0
    assert a[T] >= 0
    assert b[T] <= 1


@pytest.mark.parametrize("schedule", VARIANCE_PRESERVING, ids=str)
@unhurried
@given(T=levels)
def test_variance_is_preserved(schedule, T):
    a, b = schedule(T)
    torch.testing.assert_close(a**2 + b**2, torch.ones_like(a), rtol=0, atol=1e-15)


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_b_has_all_its_digits_where_it_is_small(T):
    """Against 40 decimal digits; sqrt(1 - a^2) would lose five of sixteen of them."""
    _, b = Linear()(T)
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64).tolist()
    with localcontext(prec=40):
        alpha_bar = Decimal(1)
        for t, beta in enumerate(betas[:50], start=1):
            alpha_bar *= 1 - Decimal(beta)
            assert abs(Decimal(b[t].item()) / (1 - alpha_bar).sqrt() - 1) < Decimal("1e-14")


def test_b_of_cosine_is_precise_where_it_is_small():
    """cos^2 u - cos^2 v = sin(v - u) sin(v + u) is the difference without cancellation."""
    T, s = 1000, 0.008
    _, b = Cosine(s=s)(T)
    for t in (1, 2, 10, 100):
        u, v = (angle / (1 + s) * math.pi / 2 for angle in (s, t / T + s))
        step = t / T / (1 + s) * math.pi / 2
        assert b[t].item() == pytest.approx(math.sqrt(math.sin(step) * math.sin(v + u)) / math.cos(u), rel=1e-11)


def test_schedules_may_end_without_any_image():
    for schedule in ({"name": "linear", "beta_T": 1}, {"name": "cosine", "max_beta": 1}, "straight"):
        D, eps = noise(T=20, schedule=schedule), images(1, 1, 4, 4)
        x_T = D(images(1, 1, 4, 4, seed=1), torch.tensor([20]), eps)
        torch.testing.assert_close(x_T, eps, rtol=0, atol=1e-14)


def test_a_table_is_taken_as_it_is():
    a, b = Table(a=(1, 0.25, -0.5), b=(0, 2.0, 0.125))(2)
    assert a.tolist() == [1, 0.25, -0.5]
    assert b.tolist() == [0, 2, 0.125]
    D = noise(T=2, schedule={"name": "table", "a": (1, 0.25, -0.5), "b": (0, 2.0, 0.125)})
    x0, z = torch.full((3, 1, 1, 1), 8.0), torch.full((3, 1, 1, 1), 16.0)
    assert D(x0, torch.tensor([2, 0, 1]), z).flatten().tolist() == [-2, 8, 34]


@every_schedule
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_mixture_is_its_formula(schedule, dtype):
    D, x0, z = noise(T=9, schedule=schedule), images(10, 2, 4, 4, dtype=dtype), images(10, 2, 4, 4, seed=1, dtype=dtype)
    a, b = (table.to(dtype) for table in schedule(9))
    x_t = D(x0, torch.arange(10), z)
    for t in range(10):
        torch.testing.assert_close(x_t[t], a[t] * x0[t] + b[t] * z[t], rtol=0, atol=0)
    assert torch.equal(x_t[0], x0[0])


@every_schedule
@unhurried
@given(T=levels, data=st.data())
def test_estimate_inverts_apply(schedule, T, data):
    D = noise(T=T, schedule=schedule)
    t = torch.tensor([data.draw(st.integers(1, T)) for _ in range(3)])
    x0, z, other = (images(3, 1, 4, 4, seed=k) for k in range(3))
    found = D.estimate(D(x0, t, z), x0, t, other)
    _, b = schedule(T)
    assert ((found - z).abs().amax((1, 2, 3)) <= 1e-15 / b[t] + 1e-14).all()
    assert torch.equal(D.estimate(D(x0, t, z), x0, t, None), found)


@every_schedule
def test_half_precision_is_full_precision_rounded(schedule):
    D, x0 = noise(T=20, schedule=schedule), images(4, 3, 8, 8, dtype=torch.bfloat16)
    z, t = D.draw(x0, seed(0)), torch.tensor([0, 1, 10, 20])
    assert z.dtype == torch.bfloat16
    x_t = D(x0, t, z)
    assert x_t.dtype == torch.bfloat16
    assert torch.equal(x_t, D(x0.float(), t, z.float()).bfloat16())
    assert torch.equal(x_t[0], x0[0])
    z_hat = D.estimate(x_t, x0, t.clamp(min=1), z)
    assert z_hat.dtype == torch.float32
    assert torch.equal(D(x0, t, z_hat)[1:], x_t[1:])


@every_schedule
def test_single_precision_is_double_precision_to_a_few_bits(schedule):
    D, x0, z = noise(T=1000, schedule=schedule), images(4, 3, 8, 8), images(4, 3, 8, 8, seed=1)
    t = torch.tensor([1, 2, 500, 1000])
    single = D(x0.float(), t, z.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), D(x0, t, z), rtol=0, atol=5e-7)
    torch.testing.assert_close(D.coefficients(t, x0.float())[1].double(), D.coefficients(t, x0)[1], rtol=1e-7, atol=0)


def test_tables_need_a_common_number_of_rows():
    with pytest.raises(ValueError, match=r"the tables have \[2, 3\] rows; they need one and the same number, T \+ 1"):
        Tables(torch.zeros(2), torch.zeros(3), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"the tables have \[\] rows"):
        Tables()


def test_tables_give_each_image_its_row():
    scalars, rows = torch.arange(4.0), torch.arange(20.0).view(4, 5)
    t, like = torch.tensor([3, 0, 3]), torch.zeros(3, 1, 2, 2)
    one, row = Tables(scalars, rows).at(t, like)
    assert one.shape == (3, 1, 1, 1)
    assert one.flatten().tolist() == [3, 0, 3]
    assert torch.equal(row, rows[t])


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [(torch.float64, torch.float64)] + [(d, torch.float32) for d in (torch.float32, torch.bfloat16, torch.float16)],
    ids=str,
)
def test_tables_are_converted_once_for_each_precision(dtype, computed):
    tables = Tables(torch.linspace(0, 1, 8, dtype=torch.float64), constants=(torch.full((2,), 1 / 3).double(),))
    like = torch.zeros(1, 1, 1, 1, dtype=dtype)
    assert compute_dtype(dtype) == computed
    assert tables.at(torch.tensor([1]), like)[0].dtype == computed
    first, again = (tables.whole(torch.device("cpu"), computed) for _ in range(2))
    assert first[0][0] is again[0][0]
    assert first[1][0].dtype == computed
    assert first[0][0].tolist() == torch.linspace(0, 1, 8, dtype=torch.float64).to(computed).tolist()


def test_tables_by_size_are_built_once_for_each_size_and_precision():
    built = []

    def build(height, width, dtype):
        built.append((height, width, dtype))
        return Tables(torch.ones(3, height), constants=(torch.full((width,), 2.0),))

    tables, t = TablesBySize(build), torch.tensor([0, 2])
    for shape, dtype in itertools.product([(2, 1, 4, 6), (2, 3, 4, 6), (2, 1, 6, 4)], [torch.float32, torch.bfloat16]):
        like = torch.zeros(shape, dtype=dtype)
        assert tables.at(t, like)[0].shape == (2, shape[2])
        assert tables.constants(like)[0].shape == (shape[3],)
    tables.at(t, torch.zeros(2, 1, 4, 6).double())
    assert built == [(4, 6, torch.float32), (6, 4, torch.float32), (4, 6, torch.float64)]


def test_interpolation_without_a_source_says_how_to_give_one():
    D = degrade.make("interpolation")
    with pytest.raises(ValueError, match=r"no source to draw partners from; .*make\('interpolation', source=\.\.\.\)"):
        D.draw(images(2, 3, 4, 4))
    x0 = images(2, 3, 4, 4)
    assert torch.equal(D(x0, torch.tensor([0, 0]), -x0), x0)


@pytest.mark.parametrize("given_shape", [(2, 1, 4, 4), (2, 3, 8, 8), (1, 3, 4, 4), (3, 4, 4)], ids=str)
@pytest.mark.parametrize("coupling", ["independent", "optimal"])
def test_partners_of_another_shape_are_refused(given_shape, coupling):
    D = degrade.make("interpolation", coupling=coupling, source=lambda n, generator: torch.zeros(given_shape))
    with pytest.raises(ValueError, match="interpolation: ") as caught:
        D.draw(images(2, 3, 4, 4))
    assert str(given_shape) in str(caught.value)
    assert "(2, 3, 4, 4)" in str(caught.value)


def test_partners_come_from_the_source_with_the_generator_in_the_precision_of_x0():
    asked = []

    def source(n, generator):
        asked.append(n)
        return partners(3, 4, 4)(n, generator)

    D, x0 = degrade.make("interpolation", source=source), images(5, 3, 4, 4, dtype=torch.float32)
    z = D.draw(x0, seed(3))
    assert asked == [5]
    assert torch.equal(z, partners(3, 4, 4)(5, seed(3)).float())


def squares(x0, z):
    """Total squared distance of the pairs."""
    return (x0 - z).double().square().sum().item()


@unhurried
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_the_optimal_coupling_is_the_best_of_all_permutations(n, number):
    x0, z = images(n, 2, 3, 3, seed=number), 2 * images(n, 2, 3, 3, seed=number + 1) + 0.5
    found = couple("optimal", x0, z)
    least = min(squares(x0, z[list(order)]) for order in itertools.permutations(range(n)))
    assert squares(x0, found) == pytest.approx(least, rel=1e-12)
    assert sorted(found.flatten(1).tolist()) == sorted(z.flatten(1).tolist())


def test_the_optimal_coupling_of_a_shuffled_batch_undoes_the_shuffle():
    x0 = images(16, 3, 4, 4)
    order = torch.randperm(16, generator=seed(0))
    D = degrade.make("interpolation", coupling="optimal", source=lambda n, generator: x0[order] + 0.01)
    assert torch.equal(D.draw(x0), x0 + 0.01)
    assert D.draw(x0.bfloat16()).dtype == torch.bfloat16


def test_the_independent_coupling_keeps_the_order():
    x0, z = images(5, 3, 4, 4), images(5, 3, 4, 4, seed=1)
    assert torch.equal(couple("independent", x0, z), z)
    D = degrade.make("interpolation", source=lambda n, generator: z)
    assert D.coupling == "independent"
    assert torch.equal(D.draw(x0), z)


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    x0 = images(2, 1, 2, 2)
    assert couple("independent", x0, -x0) is not None
    with pytest.raises(ImportError, match=r"'optimal' needs scipy: pip install 'degrade-restore\[optimal\]'"):
        couple("optimal", x0, -x0)


DRAWS = {
    "randn_like": lambda like, generator: randn_like(like, generator),
    "randn": lambda like, generator: randn((5, 7), like, generator),
    "rand": lambda like, generator: rand((5, 7), like, generator),
    "randint": lambda like, generator: randint(1000, (5, 7), like, generator),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_draws_depend_on_their_generator_alone(draw):
    like, state = torch.zeros(5, 7), torch.get_rng_state()
    generator = seed(1)
    first, second = draw(like, generator), draw(like, generator)
    assert torch.equal(draw(like, seed(1)), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@every_draw
def test_without_a_generator_draws_come_from_the_global_one(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first, second = draw(torch.zeros(5, 7), None), draw(torch.zeros(5, 7), None)
        torch.manual_seed(3)
        assert torch.equal(draw(torch.zeros(5, 7), None), first)
    assert not torch.equal(first, second)


@every_draw
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_draws_the_numbers_of_full_precision(draw, half):
    like = torch.zeros(5, 7)
    full, halved = draw(like, seed(1)), draw(like.to(half), seed(1))
    assert full.dtype == (torch.int64 if draw is DRAWS["randint"] else torch.float32)
    assert halved.dtype == (half if draw is DRAWS["randn_like"] else full.dtype)
    assert torch.equal(halved, full.to(halved.dtype))


@every_draw
def test_draws_are_made_where_the_generator_is_and_placed_where_the_images_are(draw):
    """Drawn on meta, they would not have advanced the generator."""
    there, here = seed(1), seed(1)
    drawn = draw(torch.zeros(5, 7, device="meta"), there)
    draw(torch.zeros(5, 7), here)
    assert drawn.device.type == "meta"
    assert drawn.shape == (5, 7)
    assert torch.equal(there.get_state(), here.get_state())


@pytest.mark.gpu
@every_draw
def test_a_cpu_generator_gives_every_device_the_same_numbers(draw):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        like = torch.zeros(5, 7, dtype=dtype)
        assert torch.equal(draw(like.to("cuda"), seed(1)).cpu(), draw(like, seed(1)))


def test_draws_have_the_distributions_they_say():
    like = torch.zeros(200, 300, dtype=torch.float64)
    normal, uniform, whole = randn_like(like, seed(0)), rand((200, 300), like, seed(0)), randint(7, (60_000,), like)
    assert normal.dtype == uniform.dtype == torch.float64
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.015
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.006
    assert whole.dtype == torch.int64
    assert (whole.bincount(minlength=7) / 60_000 - 1 / 7).abs().max() < 0.01


keys = st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=4).map(tuple)


@unhurried
@given(keys, keys)
def test_a_key_is_its_seed(first, second):
    assert 0 <= key_seed(*first) < 2**63
    assert (key_seed(*first) == key_seed(*second)) == (first == second)


def test_parts_of_a_key_do_not_run_together():
    alike = [(1, 23), (12, 3), (123,), ("1", 23), ("123",), ("1, 23",), (), ("",), (23, 1)]
    assert len({key_seed(*key) for key in alike}) == len(alike)


def test_a_key_means_the_same_in_every_process_and_version():
    """Seeds that may never change: a run is resumed by them."""
    assert key_seed(3, "train", 17) == 8492239712576225772
    assert key_seed() == 5460801731388113703


def test_equal_keys_give_equal_numbers_and_different_keys_different_ones():
    def numbers(*key):
        return torch.rand(100, generator=keyed("cpu", *key))

    state = torch.get_rng_state()
    assert torch.equal(numbers(3, "train", 17), numbers(3, "train", 17))
    runs = torch.stack([numbers(3, "train", step) for step in range(50)] + [numbers(4, "train", 0), numbers(3, "t", 0)])
    assert torch.pdist(runs).min() > 1
    assert torch.corrcoef(runs).fill_diagonal_(0).abs().max() < 0.5
    assert torch.equal(torch.get_rng_state(), state)
    assert keyed(torch.device("cpu"), 0).device.type == "cpu"
