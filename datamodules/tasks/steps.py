"""Step functions and constants: tasks that no smooth function fits (arXiv:2110.11044).

Letters: B tasks, M points, X input width, N switches.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from modules.contracts import Predictive

from .base import SplitName, TaskFamily
from .draws import Range, check_at_least, check_range, normal, uniform


class Steps(TaskFamily):
    """-1 at the left, and the other sign after each of a few switches at random places, plus noise.

    ALPaCA's multistep tasks (arXiv:1807.08912) are `noise_sd=0.224`, a variance of 0.05.

    Args:
        num_switches: Switches of a task.
        switch_range: Where they are, uniform and independent.
        x_range: Range of the inputs.
        noise_sd: Standard deviation of Gaussian noise on the targets.

    Raises:
        ValueError: A range is no range, noise or a number negative.
    """

    name = "steps"

    def __init__(
        self,
        num_switches: int = 3,
        *,
        switch_range: Range = (-2.5, 2.5),
        x_range: Range = (-5.0, 5.0),
        noise_sd: float = 0.03,
    ) -> None:
        check_at_least(0, num_switches=num_switches, noise_sd=noise_sd)
        check_range("switch_range", switch_range)
        check_range("x_range", x_range)
        self.num_switches = num_switches
        self.switch_range = switch_range
        self.x_range = x_range
        self.picture_range = x_range
        self.noise_sd = noise_sd
        self.spacing = None if noise_sd else 2.0

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return uniform(self.x_range, (num_tasks, num_points, 1), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        switches_B1N = uniform(self.switch_range, (len(x), 1, self.num_switches), generator)
        passed_BM1 = (x > switches_B1N).sum(dim=-1, keepdim=True)
        levels_BM1 = 2.0 * (passed_BM1 % 2) - 1
        return levels_BM1 + self.noise_sd * normal(tuple(x.shape), generator)

    def oracle(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> Predictive | None:
        """Exact; None without noise."""
        from .oracles import StepsOracle

        if not self.noise_sd:
            return None
        return StepsOracle(
            support_x,
            support_y,
            support_mask,
            query_x,
            num_switches=self.num_switches,
            switch_range=self.switch_range,
            noise_sd=self.noise_sd,
        )


class Constant(TaskFamily):
    """y = u with u ~ U(0, 1), whatever x ~ N(0, I) is: one labelled point tells all.

    Args:
        input_dim: X.

    Raises:
        ValueError: `input_dim` is below 1.
    """

    name = "constant"
    picture_range = (-2.5, 2.5)

    def __init__(self, input_dim: int = 2) -> None:
        check_at_least(1, input_dim=input_dim)
        self.input_dim = input_dim

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return normal((num_tasks, num_points, self.input_dim), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        return torch.rand((len(x), 1, 1), generator=generator).expand(-1, x.shape[1], -1).contiguous()
