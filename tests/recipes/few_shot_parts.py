"""What the tests of the few-shot recipe train: small learners on tasks whose Bayes-optimal predictive is plain."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from datamodules import FewShotData
from datamodules.tasks import SplitName, TaskFamily
from modules.contracts import GaussianMixture
from modules.meta import DeepKernelGP, Vmgp
from modules.optim import WarmupLinear
from recipes import MetaRegression


class Levels(TaskFamily):
    """y = level + noise, both standard normal; the oracle is the conjugate posterior of the level."""

    name = "levels"

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return torch.randn(num_tasks, num_points, 1, generator=generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        level = torch.randn(len(x), 1, 1, generator=generator)
        return level + torch.randn(x.shape, generator=generator)

    def oracle(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> GaussianMixture:
        precision = 1 + support_mask.sum(dim=1)[:, None, None]
        mean = (support_y * support_mask[..., None]).sum(dim=1, keepdim=True) / precision
        return GaussianMixture(mean.expand_as(query_x)[None], (1 + 1 / precision).expand_as(query_x)[None])


def expected_oracle_nll(num_support: int) -> float:
    """Entropy of the oracle's predictive, which is its expected negative log-likelihood."""
    return 0.5 * math.log(2 * math.pi * math.e * (1 + 1 / (1 + num_support)))


def small_data(**arguments: Any) -> FewShotData:
    defaults: dict[str, Any] = {
        "tasks": Levels(),
        "num_support": [1, 3],
        "num_query": 2,
        "batch_size": 8,
        "num_val_tasks": 10,
        "num_test_tasks": 400,
        "eval_batch_size": 4,
    }
    return FewShotData(**(defaults | arguments))


def small_model(*, exact: bool = False, **arguments: Any) -> MetaRegression:
    """Trains a `Vmgp`, or with `exact` a learner that draws nothing at all."""
    torch.manual_seed(3)
    defaults: dict[str, Any] = {
        "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
        "schedule": WarmupLinear(),
        "num_samples": 50,
    }
    learner = DeepKernelGP() if exact else Vmgp(latent_dim=2)
    return MetaRegression(learner, **(defaults | arguments))
