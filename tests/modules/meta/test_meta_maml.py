"""MAML: one call for all tasks and members equals plain autograd, one task and one member at a time.

The contract of learners (fillers, order, batches) is held in test_meta_contract.py.

Letters: S members, B tasks, N support points, Q query points, X input width, Y target width.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from modules.contracts import FewShotTasks, GaussianMixture
from modules.meta import Maml, MamlEnsemble, MultilayerPerceptron

Weights = dict[str, Tensor]


def build(num_members: int = 3, *, dtype: torch.dtype = torch.float64, num_inner_steps: int = 1) -> MamlEnsemble:
    torch.manual_seed(0)
    learner = MamlEnsemble(
        2, 2, num_members=num_members, hidden_dims=(8, 7), num_inner_steps=num_inner_steps, inner_lr=0.3
    )
    with torch.no_grad():
        for bias in learner.networks.biases:
            bias.normal_(std=0.3)
        learner.raw_sd_SY.normal_()
    return learner.to(dtype)


def draw(
    num_tasks: int = 4, num_support: int = 5, num_queries: int = 3, *, dtype: torch.dtype = torch.float64
) -> FewShotTasks:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    support_mask = torch.ones(num_tasks, num_support, dtype=torch.bool)
    query_mask = torch.ones(num_tasks, num_queries, dtype=torch.bool)
    support_mask[0, 2:] = False
    support_mask[1] = False  # a task without support
    query_mask[2, 1] = False
    support_x, support_y = normal(num_tasks, num_support, 2), normal(num_tasks, num_support, 2)
    query_x, query_y = normal(num_tasks, num_queries, 2), normal(num_tasks, num_queries, 2)
    num_points = int(support_mask.sum() + query_mask.sum())
    return FewShotTasks(support_x, support_y, support_mask, query_x, query_y, query_mask, num_points)


def member(learner: MamlEnsemble, index: int) -> Weights:
    """One network of the stack under the names of `MultilayerPerceptron`."""
    pairs = zip(learner.networks.weights, learner.networks.biases, strict=True)
    return {
        name: tensor[index]
        for layer, pair in enumerate(pairs)
        for name, tensor in zip((f"{2 * layer}.weight", f"{2 * layer}.bias"), pair, strict=True)
    }


def plain_adaptation(
    learner: MamlEnsemble, network: torch.nn.Module, weights: Weights, x: Tensor, y: Tensor
) -> Weights:
    """Gradient steps on one task of real points only, by autograd."""

    def error(weights: Weights) -> Tensor:
        return (functional_call(network, weights, (x,)) - y).square().mean()

    for _ in range(learner.num_inner_steps if len(x) else 0):
        steps = grad(error)(weights)
        weights = {name: weight - learner.inner_lr * steps[name] for name, weight in weights.items()}
    return weights


def plain_loss(learner: MamlEnsemble, tasks: FewShotTasks) -> Tensor:
    """The loss by loops over members and tasks."""
    network = MultilayerPerceptron(2, 2, hidden_dims=(8, 7)).double()
    losses = []
    for s in range(len(learner.raw_sd_SY)):
        variance = torch.nn.functional.softplus(learner.raw_sd_SY[s]) ** 2 + 1e-4
        for b, (support, queries) in enumerate(zip(tasks.support_mask, tasks.query_mask, strict=True)):
            x, y = tasks.support_x[b, support], tasks.support_y[b, support]
            weights = plain_adaptation(learner, network, member(learner, s), x, y)
            mean = functional_call(network, weights, (tasks.query_x[b, queries],))
            density = torch.distributions.Normal(mean, variance.sqrt()).log_prob(tasks.query_y[b, queries])
            losses.append(-density.sum(dim=-1).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("num_inner_steps", [1, 3])
def test_loss_and_gradients_are_those_of_autograd_through_each_task_alone(num_inner_steps: int) -> None:
    learner, tasks = build(num_inner_steps=num_inner_steps), draw()
    loss, plain = learner.loss(tasks), plain_loss(learner, tasks)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=1e-12)
    parameters = list(learner.parameters())
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(plain, parameters), strict=True)
    for ours, theirs in pairs:
        assert theirs.abs().max() > 1e-4  # something to compare
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_predictions_are_those_of_vmapped_functional_calls() -> None:
    learner, tasks = build(num_inner_steps=2), replace(draw(), support_mask=torch.ones(4, 5, dtype=torch.bool))
    network = MultilayerPerceptron(2, 2, hidden_dims=(8, 7)).double()

    def predict(weights: Weights, x: Tensor, y: Tensor, query_x: Tensor) -> Tensor:
        return functional_call(network, plain_adaptation(learner, network, weights, x, y), (query_x,))

    members = [member(learner, s) for s in range(3)]
    stacked = {name: torch.stack([weights[name] for weights in members]) for name in members[0]}
    expected = vmap(vmap(predict, (None, 0, 0, 0)), (0, None, None, None))(
        stacked, tasks.support_x, tasks.support_y, tasks.query_x
    )
    torch.testing.assert_close(answer(learner, tasks).means_SBQY, expected, rtol=1e-12, atol=1e-12)


def answer(learner: MamlEnsemble, tasks: FewShotTasks) -> GaussianMixture:
    with torch.inference_mode():  # adaptation needs no autograd
        return learner.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)


def one_task(tasks: FewShotTasks, b: int) -> FewShotTasks:
    names = ("support_x", "support_y", "support_mask", "query_x", "query_y", "query_mask")
    return replace(tasks, **{name: getattr(tasks, name)[b : b + 1] for name in names})


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_tasks_in_a_batch_equal_each_alone(dtype: torch.dtype, tolerance: float) -> None:
    learner, tasks = build(dtype=dtype, num_inner_steps=2), draw(dtype=dtype)
    together = answer(learner, tasks)
    alone = [answer(learner, one_task(tasks, b)) for b in range(4)]
    means = torch.cat([predictive.means_SBQY for predictive in alone], dim=1)
    torch.testing.assert_close(together.means_SBQY, means, rtol=0, atol=tolerance)
    losses = torch.stack([learner.loss(one_task(tasks, b)) for b in range(4)])
    torch.testing.assert_close(learner.loss(tasks), losses.mean(), rtol=tolerance, atol=tolerance)


def test_members_together_equal_each_alone_trained_on_the_same_batches() -> None:
    tasks, together = draw(), build()
    alone: list[MamlEnsemble] = []
    for s in range(3):
        learner = Maml(2, 2, hidden_dims=(8, 7), inner_lr=0.3).double()
        learner.load_state_dict({name: tensor[s : s + 1] for name, tensor in together.state_dict().items()})
        alone.append(learner)
    for trained in [together, *alone]:
        optimizer = torch.optim.Adam(trained.parameters(), lr=1e-2, eps=1e-30)  # a mean over members scales gradients
        for _ in range(5):
            optimizer.zero_grad()
            trained.loss(tasks).backward()
            optimizer.step()
    means = torch.cat([answer(learner, tasks).means_SBQY for learner in alone])
    assert (means - answer(build(), tasks).means_SBQY).abs().min() > 1e-6  # they did learn
    torch.testing.assert_close(answer(together, tasks).means_SBQY, means, rtol=1e-9, atol=1e-9)


def test_outer_gradient_by_finite_differences() -> None:
    """The second order part included: at one parameter after the other through the inner step."""
    learner, tasks = build(1), draw()
    parameters = [parameter.detach() for parameter in learner.parameters()]
    learner.loss(tasks).backward()
    for tensor, parameter in zip(parameters, learner.parameters(), strict=True):
        assert parameter.grad is not None
        index = int(parameter.grad.abs().argmax())
        middle = float(tensor.view(-1)[index])
        losses = []
        for value in (middle + 1e-6, middle - 1e-6, middle):
            tensor.view(-1)[index] = value
            losses.append(learner.loss(tasks).detach())
        slope = (losses[0] - losses[1]) / 2e-6
        torch.testing.assert_close(slope, parameter.grad.view(-1)[index], rtol=1e-6, atol=1e-8)


def test_without_support_nothing_is_adapted() -> None:
    learner, tasks = build(num_inner_steps=2), draw()
    x, y, mask = (tensor[:, :0] for tensor in (tasks.support_x, tasks.support_y, tasks.support_mask))
    empty = replace(tasks, support_x=x, support_y=y, support_mask=mask)
    x_SNX = tasks.query_x.flatten(0, 1).expand(3, -1, -1)
    expected = learner.networks(x_SNX).unflatten(1, (4, 3))
    torch.testing.assert_close(answer(learner, empty).means_SBQY, expected, rtol=1e-12, atol=1e-12)
    learner.loss(empty).backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)


def test_predictive_is_the_equal_mixture_of_members_with_their_noise() -> None:
    learner, tasks = build(), draw()
    predictive = answer(learner, tasks)
    variances = torch.nn.functional.softplus(learner.raw_sd_SY) ** 2 + 1e-4
    densities = [
        torch.distributions.Normal(predictive.means_SBQY[s], variances[s].sqrt()).log_prob(tasks.query_y).sum(dim=-1)
        for s in range(3)
    ]
    log_prob, error = predictive.log_prob(tasks.query_y)
    torch.testing.assert_close(log_prob, torch.logsumexp(torch.stack(densities), dim=0) - math.log(3))
    assert not error.any()
    joint, _ = predictive.joint_log_prob(tasks.query_y)  # a component is one function for all queries
    totals = torch.stack([density.sum(dim=-1) for density in densities])
    torch.testing.assert_close(joint, torch.logsumexp(totals, dim=0) - math.log(3))


def test_adaptation_learns_lines_from_two_points() -> None:
    """Lines through the origin: after training, one step from two points predicts the others."""
    torch.manual_seed(0)
    learner, generator = MamlEnsemble(num_members=2), torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)

    def lines(num_tasks: int) -> FewShotTasks:
        x = torch.rand(num_tasks, 6, 1, generator=generator) * 2 - 1
        y = x * torch.randn(num_tasks, 1, 1, generator=generator)
        mask = torch.ones(num_tasks, 6, dtype=torch.bool)
        return FewShotTasks(x[:, :2], y[:, :2], mask[:, :2], x[:, 2:], y[:, 2:], mask[:, 2:], num_tasks * 6)

    for _ in range(300):
        optimizer.zero_grad()
        learner.loss(lines(50)).backward()
        optimizer.step()
    tasks = lines(500)
    adapted = (answer(learner, tasks).mean - tasks.query_y).square().mean()
    alone = replace(tasks, support_mask=tasks.support_mask & False)
    unadapted = (answer(learner, alone).mean - tasks.query_y).square().mean()
    assert adapted < 0.5 * unadapted  # measured: 0.36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_members": 0}, "num_members=0 must be at least 1"),
        ({"num_inner_steps": 0}, "num_inner_steps=0 must be at least 1"),
        ({"inner_lr": 0.0}, "inner_lr=0.0 must be positive"),
        ({"output_dim": 0}, "output_dim=0 must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MamlEnsemble(**arguments)  # type: ignore[arg-type]
