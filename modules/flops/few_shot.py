"""FLOPs of a few-shot learner per task point, counted on a made-up batch of the run's own sizes."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Generator

from modules.contracts import CostProfile, FewShotLearner, FewShotTasks
from modules.flops.counted import count_flops, count_parameters

NUM_TASKS = 2
"""Tasks of the made-up batch: their number cancels, as all work of a learner is per task."""


def few_shot_cost_profile(
    learner: FewShotLearner, *, num_support: int, num_query: int, num_samples: int
) -> CostProfile:
    """Cost per task point: training on all points of a task, prediction of the queries spread over all of them.

    Matrix products are counted; factorisations, triangular solves and element-wise work are not, so that the cost of a
    Gaussian process on a small task is that of its networks and kernels.

    Args:
        learner: On the device and in the precision it trains in; its gradients stay as they are.
        num_support: Support points of a task.
        num_query: Query points of a task.
        num_samples: Monte-Carlo draws of a prediction.
    """
    tasks = _made_up_tasks(learner, num_support, num_query)
    generator = Generator(tasks.query_x.device).manual_seed(0)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    frozen = deepcopy(learner).requires_grad_(False)  # torch's counter fails on parameters that no_grad gives back

    def train() -> object:
        return torch.autograd.grad(learner.loss(tasks, generator), trained, allow_unused=True)

    def predict() -> object:
        support = (tasks.support_x, tasks.support_y, tasks.support_mask)
        return frozen.predict(*support, tasks.query_x, num_samples=num_samples, generator=generator)

    train_flops, predict_flops = (count_flops(work) / tasks.num_points for work in (train, predict))
    counts = count_parameters(learner)
    return CostProfile(
        unit="task point",
        parameters_total=counts.total,
        parameters_active=counts.total,
        parameters_trainable=counts.trainable,
        train_flops=train_flops,
        prefill_flops=predict_flops,
        decode_flops=predict_flops,
        decode_weight_bytes=sum(p.numel() * p.element_size() for p in learner.parameters()),
        law_note="loss laws of language models say nothing of few-shot learners",
    )


def _made_up_tasks(learner: FewShotLearner, num_support: int, num_query: int) -> FewShotTasks:
    like = next(learner.parameters())
    generator = Generator(like.device).manual_seed(0)

    def drawn(num_points: int, width: int) -> torch.Tensor:
        shape = (NUM_TASKS, num_points, width)
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    def real(num_points: int) -> torch.Tensor:
        return torch.ones(NUM_TASKS, num_points, dtype=torch.bool, device=like.device)

    return FewShotTasks(
        support_x=drawn(num_support, learner.input_dim),
        support_y=drawn(num_support, learner.output_dim),
        support_mask=real(num_support),
        query_x=drawn(num_query, learner.input_dim),
        query_y=drawn(num_query, learner.output_dim),
        query_mask=real(num_query),
        num_points=NUM_TASKS * (num_support + num_query),
    )
