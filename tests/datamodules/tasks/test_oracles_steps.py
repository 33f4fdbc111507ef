"""The oracle of steps against rejection sampling and all placements of the switches."""

from __future__ import annotations

import math

import pytest
import torch
from oracle_checks import Drawn, draw, pit_chi_square, scores_of
from torch import Generator, Tensor

from datamodules.tasks import Steps
from modules.contracts import Predictive


def oracle(tasks: Steps, drawn: Drawn) -> Predictive:
    predictive = tasks.oracle(*drawn.support, drawn.query_x)
    assert predictive is not None
    return predictive


def levels(x_M: Tensor, num_draws: int) -> Tensor:
    """Levels [S, M] of fresh tasks at some places."""
    switches = 5 * torch.rand(num_draws, 1, 3, generator=Generator().manual_seed(0)).double() - 2.5
    return 2.0 * ((x_M[:, None] > switches).sum(dim=-1) % 2) - 1


def test_oracle_is_what_rejection_sampling_says() -> None:
    drawn = draw(Steps(), 6, 3, 4, seed=1)
    predictive = oracle(Steps(), drawn)
    above = 1 - predictive.cdf(torch.zeros(6, 4, 1))[..., 0]
    joint = predictive.sample(50_000, joint=True, generator=Generator().manual_seed(1))[..., 0].sign()
    for task in range(6):
        support = drawn.support[1][task, :, 0].sign().double()
        x = torch.cat([drawn.support[0][task, :, 0], drawn.query_x[task, :, 0]]).double()
        every = levels(x, 200_000)
        kept = every[(every[:, :3] == support).all(dim=1)][:, 3:]
        assert len(kept) > 2000
        error = 5 * 0.5 / len(kept) ** 0.5
        torch.testing.assert_close((kept > 0).double().mean(dim=0), above[task], rtol=0, atol=error)
        products = (kept[:, :, None] * kept[:, None]).mean(dim=0).double()
        drawn_products = (joint[:, task, :, None] * joint[:, task, None]).mean(dim=0)
        torch.testing.assert_close(drawn_products, products, rtol=0, atol=2 * error + 0.02)


def test_joint_density_is_the_chain_of_single_ones() -> None:
    tasks = Steps(noise_sd=0.4)
    drawn = draw(tasks, 5, 2, 3, seed=2)
    x, y, _ = drawn.support
    chained = torch.zeros(5).double()
    for query in range(3):
        past_x = torch.cat([x, drawn.query_x[:, :query]], dim=1)
        past_y = torch.cat([y, drawn.query_y[:, :query]], dim=1)
        past = (past_x, past_y, torch.ones(past_x.shape[:2], dtype=torch.bool))
        now = Drawn(past, drawn.query_x[:, query : query + 1], drawn.query_y[:, query : query + 1])
        chained += oracle(tasks, now).log_prob(now.query_y).value[:, 0]
    predictive = oracle(tasks, drawn)
    torch.testing.assert_close(predictive.joint_log_prob(drawn.query_y).value, chained, rtol=1e-9, atol=1e-9)
    asked = torch.tensor([[True, False, False]]).expand(5, -1)
    first = predictive.log_prob(drawn.query_y).value[:, 0]
    torch.testing.assert_close(predictive.joint_log_prob(drawn.query_y, asked).value, first, rtol=1e-9, atol=1e-9)


def test_prior_predictive_counts_switches() -> None:
    """Without support, the number of switches to the left is binomial."""
    x = torch.tensor([[[-3.0], [0.0], [1.0], [4.0]]])
    nothing = x[:, :0]
    predictive = Steps().oracle(nothing, nothing, torch.zeros(1, 0, dtype=torch.bool), x)
    assert predictive is not None
    above = 1 - predictive.cdf(torch.zeros(1, 4, 1))[0, :, 0]
    odd = [sum(math.comb(3, n) * p**n * (1 - p) ** (3 - n) for n in (1, 3)) for p in (0.0, 0.5, 0.7, 1.0)]
    torch.testing.assert_close(above, torch.tensor(odd).double())


@pytest.mark.parametrize("num_support", [0, 5, 20])
def test_oracle_is_calibrated(num_support: int) -> None:
    drawn = draw(Steps(), 1000, num_support, 1, seed=3)
    assert pit_chi_square(scores_of(oracle(Steps(), drawn), drawn).pit) > 0.001


def test_nobody_who_believes_otherwise_does_better() -> None:
    drawn = draw(Steps(), 500, 5, 3, seed=4)
    right, wrong = (
        oracle(tasks, drawn).log_prob(drawn.query_y).value.mean(dim=1)
        for tasks in (Steps(), Steps(switch_range=(-4.0, 4.0)))
    )
    assert (right - wrong).mean() > 3 * (right - wrong).std() / 500**0.5


def test_filler_changes_nothing() -> None:
    tasks, drawn = Steps(), draw(Steps(), 3, 4, 2, seed=5)
    x, y, _ = drawn.support
    mask = torch.tensor([[True] * 4, [False, True, False, True], [False] * 4])
    results = []
    for filler in (-1.0, 4.0):
        support = (torch.where(mask[..., None], x, filler), torch.where(mask[..., None], y, filler), mask)
        predictive = oracle(tasks, Drawn(support, drawn.query_x, drawn.query_y))
        joint = predictive.joint_log_prob(drawn.query_y).value
        draws = predictive.sample(50, joint=True, generator=Generator().manual_seed(0))
        results.append((predictive.log_prob(drawn.query_y).value, joint, draws[:, 2]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    one = oracle(tasks, Drawn((x[1:2, 1::2], y[1:2, 1::2], mask[1:2, 1::2]), drawn.query_x[1:2], drawn.query_y[1:2]))
    torch.testing.assert_close(one.log_prob(drawn.query_y[1:2]).value[0], results[0][0][1], rtol=1e-9, atol=1e-9)


def test_without_noise_there_is_no_density() -> None:
    tasks = Steps(noise_sd=0.0)
    drawn = draw(tasks, 2, 3, 1)
    assert tasks.oracle(*drawn.support, drawn.query_x) is None
