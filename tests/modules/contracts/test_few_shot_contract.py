"""Few-shot tasks and their scaling."""

from __future__ import annotations

import torch

from modules.contracts import FewShotTasks, Scaling

B, N, Q = 2, 3, 4


def make_tasks() -> FewShotTasks:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(B, N + Q, 1, generator=generator), torch.randn(B, N + Q, 2, generator=generator)
    mask = torch.arange(N + Q) % 3 > 0
    support = x[:, :N], y[:, :N], mask[:N].expand(B, -1)
    return FewShotTasks(*support, x[:, N:], y[:, N:], mask[N:].expand(B, -1), num_points=8)


def test_points_are_the_support_and_then_the_queries() -> None:
    tasks = make_tasks()
    x, y, mask = tasks.points()
    assert x.shape == (B, N + Q, 1)
    assert torch.equal(x[:, :N], tasks.support_x)
    assert torch.equal(y[:, N:], tasks.query_y)
    assert mask[0].tolist() == [False, True, True, False, True, True, False]


def test_moving_takes_every_tensor_along() -> None:
    moved = make_tasks().to("meta")
    assert moved.num_points == 8
    assert {value.device.type for name, value in vars(moved).items() if name != "num_points"} == {"meta"}


def test_scaling_is_of_inputs_and_targets_and_leaves_masks() -> None:
    scaling = Scaling(*(torch.tensor(value) for value in ([1.0], [2.0], [3.0, -1.0], [10.0, 0.5])))
    tasks = make_tasks()
    scaled = scaling.tasks(tasks)
    torch.testing.assert_close(scaled.support_x * 2 + 1, tasks.support_x)
    torch.testing.assert_close(scaled.query_x * 2 + 1, tasks.query_x)
    torch.testing.assert_close(scaled.support_y * torch.tensor([10, 0.5]) + torch.tensor([3, -1.0]), tasks.support_y)
    torch.testing.assert_close(scaled.query_y * torch.tensor([10, 0.5]) + torch.tensor([3, -1.0]), tasks.query_y)
    assert scaled.support_mask is tasks.support_mask
    assert scaled.query_mask is tasks.query_mask
    same = Scaling.identity(1, 2).tasks(tasks)
    assert torch.equal(same.query_y, tasks.query_y)
    assert torch.equal(same.support_x, tasks.support_x)
