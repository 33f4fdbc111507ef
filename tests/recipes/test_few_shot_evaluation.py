"""The evaluation of the few-shot recipe: what it draws, and for whom."""

from __future__ import annotations

import pytest
import torch
from few_shot_parts import small_data, small_model
from torch import Generator, Tensor

from modules.contracts import FewShotTasks, GaussianMixture
from modules.scores import ScoreSheet
from recipes.few_shot_evaluation import Evaluation
from recipes.few_shot_table import scores_table


def score_on(num_devices: int) -> ScoreSheet:
    """Scores of a learner that draws, from what each of some devices would read."""
    model, data = small_model(), small_data(num_test_tasks=21)
    data.setup("test")
    evaluation = Evaluation(spacing=None, num_samples=20)
    for device in range(num_devices):
        data._replicas, data._replica = num_devices, device
        for number, batch in enumerate(data.test_dataloader()[0]):
            place = number * num_devices + device
            evaluation.add(batch, loader=0, place=place, predict=model.predictive)
    (sheet,) = evaluation.sheets(num_ranks=1)
    return sheet


@pytest.mark.parametrize("num_devices", [2, 4])
def test_scores_do_not_depend_on_the_number_of_devices(num_devices: int) -> None:
    one, several = score_on(1), score_on(num_devices)
    assert one.digests == several.digests
    assert one.support_range == several.support_range == (3, 3)
    assert torch.equal(one.model.pit, several.model.pit)
    for name, value in one.model.values.items():
        assert torch.equal(value, several.model.values[name]), name


def test_the_oracle_draws_anew_for_each_batch_and_the_same_each_time() -> None:
    model, data = small_model(exact=True), small_data()
    data.setup("test")
    batch = next(iter(data.test_dataloader()[0]))
    drawn: list[Tensor] = []

    def oracle(tasks: FewShotTasks, generator: Generator) -> GaussianMixture:
        drawn.append(torch.rand(3, generator=generator))
        return GaussianMixture(torch.zeros_like(tasks.query_y)[None], torch.ones(()))

    evaluation = Evaluation(spacing=None, num_samples=2)
    for place in (0, 1, 0):
        evaluation.add(batch, loader=0, place=place, predict=model.predictive, oracle=oracle)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.isclose(drawn[0], drawn[1]).any()


def test_mixed_sizes_of_support_are_told() -> None:
    model, data = small_model(exact=True), small_data(num_support=[0, 10], num_val_tasks=60)
    data.setup("validate")
    evaluation = Evaluation(spacing=None, num_samples=2)
    for place, batch in enumerate(data.val_dataloader()):
        evaluation.add(batch, loader=0, place=place, predict=model.predictive)
    with torch.no_grad():
        head, *_ = scores_table(evaluation.sheets(num_ranks=1)).splitlines()
    assert head.split(maxsplit=2)[2] == "0 to 10 support points"
