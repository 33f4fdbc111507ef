"""Gradient steps of many networks on many tasks at once, without forming the weights that they lead to.

A gradient step changes the weights of a linear map by a sum over the points, dW = sum_n v_n k_n^T and db = sum_n v_n:
k_n is what came into the map at point n (its key) and v_n the step length times minus the derivative of the error by
what came out (its value). So the map of an adapted network is the shared one plus attention to the points, unnormalised
and linear: W x + b + sum_n v_n (k_n^T x + 1). A few points cost less than a weight matrix for every network and task,
no graph is needed inside the step, and autograd through these formulas gives the exact second-order gradient.
torch.func on each task's weights says the same, and is the reference in the tests.

Letters: S networks, B tasks, N points, R rank (points times steps done), I and O width into and out of a layer, Y
target width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .stacked_perceptrons import StackedPerceptrons


class LayerUpdate(NamedTuple):
    """What gradient steps added to one layer: `values^T keys` to its weights, the sum of `values` to its biases.

    Attributes:
        keys_SBRI: Inputs of the layer at the points stepped on.
        values_SBRO: Minus step length times derivative of the error by the outputs of the layer.
    """

    keys_SBRI: Tensor
    values_SBRO: Tensor

    def change(self, x_SBNI: Tensor) -> Tensor:
        """What the update adds to the outputs of the layer, [S, B, N, O]."""
        return (x_SBNI @ self.keys_SBRI.mT + 1) @ self.values_SBRO

    def then(self, later: LayerUpdate) -> LayerUpdate:
        """Both updates as one."""
        return LayerUpdate(*(torch.cat(pair, dim=2) for pair in zip(self, later, strict=True)))


def adapt(
    networks: StackedPerceptrons,
    x_BNX: Tensor,
    y_BNY: Tensor,
    mask_BN: Tensor,
    *,
    num_steps: int,
    step_length: float,
) -> list[LayerUpdate]:
    """`num_steps` gradient steps of every network on the mean squared error of every task by itself.

    The mean goes over the real points and the target dimensions of a task; a task without points changes nothing.

    Args:
        networks: Where all tasks start, with ReLU between their layers.
        x_BNX: Inputs.
        y_BNY: Targets.
        mask_BN: bool, which points are real.
        num_steps: Gradient steps, at least 1.
        step_length: Learning rate of the steps.

    Returns:
        The update of each layer, all steps together.
    """
    num_terms_B1 = mask_BN.to(y_BNY).sum(dim=1, keepdim=True).clamp(min=1) * y_BNY.shape[-1]
    slopes_BN1 = torch.where(mask_BN, -2 * step_length / num_terms_B1, 0.0)[..., None]
    updates: list[LayerUpdate] = []
    for _ in range(num_steps):
        outputs_SBNY, inputs = run(networks, x_BNX, updates)
        step = _step(networks, inputs, (outputs_SBNY - y_BNY) * slopes_BN1, updates)
        updates = [old.then(new) for old, new in zip(updates, step, strict=True)] if updates else step
    return updates


def run(networks: StackedPerceptrons, x_BNX: Tensor, updates: list[LayerUpdate]) -> tuple[Tensor, list[Tensor]]:
    """Outputs [S, B, N, Y] of all networks, adapted by `updates` ([]: not), and the inputs of each layer."""
    num_networks = networks.weights[0].shape[0]
    x = x_BNX.expand(num_networks, *x_BNX.shape)
    inputs: list[Tensor] = []
    for index in range(networks.num_layers):
        inputs.append(x)
        x = networks.layer(index, x.flatten(1, 2)).unflatten(1, x_BNX.shape[:2])
        if updates:
            x = x + updates[index].change(inputs[-1])
        if index < networks.num_layers - 1:
            x = torch.relu(x)
    return x, inputs


def _step(
    networks: StackedPerceptrons, inputs: list[Tensor], values_SBNY: Tensor, updates: list[LayerUpdate]
) -> list[LayerUpdate]:
    """One step of backpropagation: from the values of the last layer to the update of each."""
    step: list[LayerUpdate] = []
    values = values_SBNY
    for index in reversed(range(networks.num_layers)):
        step.append(LayerUpdate(inputs[index], values))
        if index == 0:
            break
        below = (values.flatten(1, 2) @ networks.weights[index]).unflatten(1, values.shape[1:3])
        if updates:  # the adapted weights carry the derivative down
            keys_SBRI, values_SBRO = updates[index]
            below = below + (values @ values_SBRO.mT) @ keys_SBRI
        values = torch.where(inputs[index] > 0, below, 0.0)  # what ReLU let through
    return step[::-1]
