"""Oracles work where their inputs are: seen on a CPU by making all else on the meta device, which mixes with none."""

from __future__ import annotations

import pytest
import torch
from oracle_checks import draw
from torch import Generator

from datamodules.tasks import LatentFunction, Sinusoid, Steps, TaskFamily, transforms

FAMILIES = [
    *(LatentFunction(t()) for t in (transforms.Identity, transforms.Floor, transforms.Sign, transforms.Square)),
    Sinusoid(),
    Steps(),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_everything_is_made_where_the_inputs_are(family: TaskFamily) -> None:
    drawn, generator = draw(family, 3, 4, 2), Generator().manual_seed(0)
    y = drawn.query_y.double()
    with torch.device("meta"):
        predictive = family.oracle(*drawn.support, drawn.query_x, num_samples=50, generator=generator)
        assert predictive is not None
        results = [
            predictive.mean,
            predictive.sample(10, generator=generator),
            predictive.sample(10, joint=True, generator=generator),
            *predictive.log_prob(y),
            *predictive.joint_log_prob(y),
            *predictive.log_mass(y - 1, y + 1),
            predictive.cdf(y),
        ]
    assert all(result.device == y.device for result in results)
