"""Sines of random amplitude, frequency and phase, and their variants.

Letters: B tasks, M points.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from modules.contracts import Predictive

from .base import SplitName, TaskFamily
from .draws import Range, check_positive, check_range, uniform
from .noise import Noise, RelativeNoise


class Sinusoid(TaskFamily):
    """y = A sin(f x + phi) + noise, every parameter uniform. The defaults are VMGP's (arXiv:2110.11044).

    | tasks | settings that differ |
    | --- | --- |
    | VMGP, out of range | `test_x_range=(-5, 10)` |
    | VMGP, high frequency (our range; the paper shows about 9) | `frequency=(0.5, 10)` |
    | ALPaCA (arXiv:1807.08912) | `phase=(0, pi)`, `frequency=(1, 1)`, `noise=FixedNoise(0.141)`: a variance of 0.02 |
    | DKT (arXiv:1910.05199), NGGP (arXiv:2110.13561) | `phase=(0, pi)`, `frequency=(1, 1)`, `noise=FixedNoise(0.1)` |
    | NGGP, mixed noise | the same with `noise=MixedNoise(0.1)` |
    | NGGP, exponential noise | the same with `noise=ExponentialNoise(0.5)` |

    Args:
        amplitude: Range of A.
        frequency: Range of f, in radians per unit of x.
        phase: Range of phi, in radians.
        noise: None is `RelativeNoise(0.01)`: standard deviation 0.01 A.
        x_range: Range of the inputs.
        test_x_range: The same for test tasks, support and query; None: as in training.
        name: What the tasks are called in pictures and tables.

    Raises:
        ValueError: A range is no range, or an amplitude below 0.
    """

    def __init__(
        self,
        amplitude: Range = (0.1, 5.0),
        *,
        frequency: Range = (0.5, 2.0),
        phase: Range = (0.0, 2 * math.pi),
        noise: Noise | None = None,
        x_range: Range = (-5.0, 5.0),
        test_x_range: Range | None = None,
        name: str = "sinusoid",
    ) -> None:
        check_range("amplitude", amplitude, lowest=0.0)
        check_range("frequency", frequency)
        check_range("phase", phase)
        check_range("x_range", x_range)
        check_range("test_x_range", test_x_range or x_range)
        self.amplitude = amplitude
        self.frequency = frequency
        self.phase = phase
        self.noise = noise or RelativeNoise()
        self.x_range = x_range
        self.test_x_range = test_x_range or x_range
        self.picture_range = self.test_x_range
        self.name = name

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        limits = self.test_x_range if split == "test" else self.x_range
        return uniform(limits, (num_tasks, num_points, 1), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        one_each = (len(x), 1, 1)
        amplitude_B11 = uniform(self.amplitude, one_each, generator)
        frequency_B11 = uniform(self.frequency, one_each, generator)
        phase_B11 = uniform(self.phase, one_each, generator)
        noise_BM1 = self.noise.draw(amplitude_B11, x + phase_B11, generator)
        return amplitude_B11 * self._wave(frequency_B11 * x + phase_B11) + noise_BM1

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
        """Weighted draws, where the noise is `RelativeNoise` and amplitude and phase are random; else None."""
        from .oracles import SineTasks, SinusoidOracle

        if type(self) is not Sinusoid or not isinstance(self.noise, RelativeNoise) or not self.noise.share:
            return None
        if self.amplitude[0] == self.amplitude[1] or not 0 < self.phase[1] - self.phase[0] <= 2 * math.pi:
            return None
        mask_BN = support_mask.double()
        y_BN = support_y[..., 0].double() * mask_BN
        tasks = SineTasks(
            support_x[..., 0].double(), y_BN, mask_BN, self.amplitude, self.frequency, self.phase, self.noise.share
        )
        return SinusoidOracle(tasks, query_x, num_samples=num_samples, generator=generator)

    def _wave(self, angle_BM1: Tensor) -> Tensor:
        return torch.sin(angle_BM1)


class Tangent(Sinusoid):
    """y = A tan(f x + phi) + noise, clipped: the same parameters, and a pole in every period.

    Args:
        amplitude: Range of A.
        clip: Largest magnitude of a target; the paper's figure shows 10.
        frequency: As in `Sinusoid`, as all that follows.
        phase: Range of phi, in radians.
        noise: None is `RelativeNoise(0.01)`.
        x_range: Range of the inputs.
        test_x_range: The same for test tasks.
        name: What the tasks are called in pictures and tables.

    Raises:
        ValueError: A range is no range, or `clip` is not positive.
    """

    def __init__(
        self,
        amplitude: Range = (0.1, 5.0),
        *,
        clip: float = 10.0,
        frequency: Range = (0.5, 2.0),
        phase: Range = (0.0, 2 * math.pi),
        noise: Noise | None = None,
        x_range: Range = (-5.0, 5.0),
        test_x_range: Range | None = None,
        name: str = "tangent",
    ) -> None:
        super().__init__(
            amplitude,
            frequency=frequency,
            phase=phase,
            noise=noise,
            x_range=x_range,
            test_x_range=test_x_range,
            name=name,
        )
        check_positive(clip=clip)
        self.clip = clip

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        return super().targets(x, generator).clamp(-self.clip, self.clip)

    def _wave(self, angle_BM1: Tensor) -> Tensor:
        return torch.tan(angle_BM1)
