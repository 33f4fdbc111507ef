"""The transformer neural process: what its queries may and may not depend on, against plain attention, and learning.

The contract of learners (fillers, batches, no support) is held in test_meta_contract.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from modules.contracts import FewShotTasks
from modules.meta import HistogramHead, MixtureHead, NeuralProcess
from modules.meta.heads import HeadBuilder
from modules.meta.neural_process import ContextBlock

HEADS = [MixtureHead, HistogramHead]
B, N, Q = 4, 6, 3


def make_tasks(*, num_support: int = N, x: int = 1, y: int = 1, seed: int = 0) -> FewShotTasks:
    """Four tasks; the second has two real support points and the third none, the last has one real query."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(B, num_support + Q, x, generator=generator, dtype=torch.float64)
    targets = torch.randn(B, num_support + Q, y, generator=generator, dtype=torch.float64)
    support_mask = torch.arange(num_support) < torch.tensor([[num_support], [2], [0], [num_support]])
    query_mask = torch.arange(Q) < torch.tensor([[Q], [Q], [Q], [1]])
    parts = points[:, :num_support], targets[:, :num_support], support_mask, points[:, num_support:]
    num_points = int(support_mask.sum() + query_mask.sum())
    return FewShotTasks(*parts, targets[:, num_support:], query_mask, num_points)


def make(head: HeadBuilder | None = None, **options: int) -> NeuralProcess:
    torch.manual_seed(0)
    return NeuralProcess(**options, num_layers=2, dim=16, hidden_dim=24, head=head).double()


def density(learner: NeuralProcess, tasks: FewShotTasks) -> Tensor:
    with torch.no_grad():
        told = learner.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)
    return told.log_prob(tasks.query_y).value


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", HEADS)
def test_support_is_a_set(head: HeadBuilder) -> None:
    learner, tasks = make(head), make_tasks()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    shuffled = replace(
        tasks,
        support_x=tasks.support_x[:, order],
        support_y=tasks.support_y[:, order],
        support_mask=tasks.support_mask[:, order],
    )
    close(density(learner, shuffled), density(learner, tasks))
    other = replace(tasks, support_y=tasks.support_y.flip(1))
    assert (density(learner, other)[0] - density(learner, tasks)[0]).abs().max() > 1e-3, "labels must matter"


def test_queries_do_not_see_each_other() -> None:
    learner, tasks = make(), make_tasks()
    alone = density(learner, tasks)
    order = torch.tensor([2, 0, 1])
    close(
        density(learner, replace(tasks, query_x=tasks.query_x[:, order], query_y=tasks.query_y[:, order])),
        alone[:, order],
    )
    more_x = torch.cat([tasks.query_x, tasks.query_x[:, :1] + 100], dim=1)
    more_y = torch.cat([tasks.query_y, tasks.query_y[:, :1]], dim=1)
    close(density(learner, replace(tasks, query_x=more_x, query_y=more_y))[:, :Q], alone)


def test_loss_is_nats_per_query_and_task() -> None:
    learner, tasks = make(), make_tasks()
    nats = -density(learner, tasks)
    by_hand = (nats[:3].mean(dim=1).sum() + nats[3, 0]) / 4
    close(learner.loss(tasks).detach(), by_hand)


def test_a_query_differs_from_a_point_labelled_zero() -> None:
    """Without the flag both would be the same token."""
    learner = make()
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    tokens = learner._tokens(x, torch.zeros_like(x), x)
    assert (tokens[0, 1] - tokens[0, 2]).abs().max() > 1e-2


def test_attention_equals_a_plain_one_with_a_full_mask() -> None:
    """Outputs and gradients of a block against softmax over all tokens, written out."""
    torch.manual_seed(2)
    block = ContextBlock(8, 2, 12).double()
    num_context, num_tokens = 4, 9
    tokens_BTD = torch.randn(3, num_tokens, 8, dtype=torch.float64, requires_grad=True)
    mask_BC = torch.arange(num_context) < torch.tensor([[4], [1], [3]])
    fast = block(tokens_BTD, mask_BC)
    plain = tokens_BTD + full_attention(block, block.attention_norm(tokens_BTD), mask_BC)
    plain = plain + block.feed_forward(block.feed_forward_norm(plain))
    close(fast, plain)
    weights = [tokens_BTD, *block.parameters()]
    seed = torch.randn_like(fast)
    gradients = [torch.autograd.grad(out, weights, seed) for out in (fast, plain)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def full_attention(block: ContextBlock, tokens_BTD: Tensor, mask_BC: Tensor) -> Tensor:
    num_tasks, num_tokens, dim = tokens_BTD.shape
    q, k, v = (
        x.view(num_tasks, num_tokens, block.num_heads, -1)
        for x in (block.query(tokens_BTD), *block.key_value(tokens_BTD).chunk(2, dim=-1))
    )
    logits_BHTT = torch.einsum("bqhc,bkhc->bhqk", q, k) / math.sqrt(dim / block.num_heads)
    seen_BT = torch.cat([mask_BC, torch.zeros(num_tasks, num_tokens - mask_BC.shape[1], dtype=torch.bool)], dim=1)
    weights_BHTT = logits_BHTT.masked_fill(~seen_BT[:, None, None], -torch.inf).softmax(dim=-1)
    return block.out(torch.einsum("bhqk,bkhc->bqhc", weights_BHTT, v).flatten(2))


@pytest.mark.parametrize("head", HEADS)
def test_no_support_is_a_predictive_too(head: HeadBuilder) -> None:
    tasks = make_tasks(num_support=0)
    learner = make(head)
    assert torch.isfinite(density(learner, tasks)).all()
    close(density(learner, tasks)[2], density(learner, replace(tasks, support_mask=tasks.support_mask))[2])
    learner.loss(tasks).backward()
    assert learner.always_D.grad is not None
    assert learner.always_D.grad.abs().max() > 0


@pytest.mark.parametrize("head", HEADS)
def test_learns_to_read_the_support(head: HeadBuilder) -> None:
    """Targets are +1 or -1 throughout a task, with noise .1: an ideal learner knows after one point."""
    torch.manual_seed(1)
    learner = NeuralProcess(dim=32, num_layers=2, hidden_dim=32, embedding_depth=2, head=head)
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(2)
    for _ in range(250):
        optimizer.zero_grad()
        learner.loss(signs(generator, num_tasks=30)).backward()
        optimizer.step()
    test = signs(generator, num_tasks=500)
    nothing = replace(test, support_mask=torch.zeros_like(test.support_mask))
    noise = 0.5 * math.log(2 * math.pi * math.e * 0.01)  # entropy: what no learner can beat on average
    loss = -density(learner, test).mean().item()
    assert noise - 0.05 < loss < noise + 0.5
    assert -density(learner, nothing).mean().item() > loss + 0.5, "without support the sign is unknown"


def signs(generator: torch.Generator, num_tasks: int) -> FewShotTasks:
    x = torch.randn(num_tasks, 6, 1, generator=generator)
    sign = torch.randint(2, (num_tasks, 1, 1), generator=generator) * 2.0 - 1
    y = sign + 0.1 * torch.randn(num_tasks, 6, 1, generator=generator)
    kept = torch.randint(4, (num_tasks, 1), generator=generator)  # tasks without support teach the prior
    mask = torch.arange(3) < kept
    return FewShotTasks(x[:, :3], y[:, :3], mask, x[:, 3:], y[:, 3:], torch.ones_like(mask), 6 * num_tasks)


def test_head_is_a_slot_of_the_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(NeuralProcess, "learner")
    head = {"class_path": "modules.meta.HistogramHead", "init_args": {"num_bins": 7}}
    learner = {"class_path": "modules.meta.NeuralProcess", "init_args": {"dim": 8, "output_dim": 2, "head": head}}
    built = parser.instantiate_classes(parser.parse_object({"learner": learner})).learner
    assert built.head.out.weight.shape == (2 * 9, 8)


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: NeuralProcess(num_layers=0), "num_layers=0 must be at least 1"),
        (lambda: NeuralProcess(embedding_depth=0), "embedding_depth=0 must be at least 1"),
        (lambda: NeuralProcess(dim=10, num_heads=4), "num_heads=4 must divide dim=10"),
        (lambda: NeuralProcess(0), "input_dim=0 must be at least 1"),
    ],
)
def test_refuses_wrong_sizes(make_one: Callable[[], NeuralProcess], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_one()
