"""Scoring a learner on held-out tasks, batch by batch, over all ranks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, distributed

from modules.contracts import FewShotTasks, Predictive
from modules.scores import ScoreSheet, TaskScores, task_digests, task_scores
from recipes.random_streams import generator_of

PREDICTION, SCORES, ORACLE = range(3)
"""Streams of random numbers; none depends on the run, so that all learners meet the same ones."""


class Evaluation:
    """Collects the scores of an evaluation.

    Args:
        spacing: Of discrete targets, as in `FewShotProblem`.
        num_samples: Draws for the scores that need some.
    """

    def __init__(self, *, spacing: float | None, num_samples: int) -> None:
        self.spacing = spacing
        self.num_samples = num_samples
        self._parts: dict[tuple[int, int], ScoreSheet] = {}

    def add(
        self,
        tasks: FewShotTasks,
        *,
        loader: int,
        place: int,
        predict: Callable[[FewShotTasks, Generator], Predictive],
        oracle: Callable[[FewShotTasks, Generator], Predictive | None] | None = None,
    ) -> None:
        """Score one batch; an empty one, with which ranks are kept in step, is passed over.

        Args:
            tasks: In units of the data.
            loader: Which evaluation loader it comes from; each has its own sheet.
            place: Number of the batch in that loader, over all ranks.
            predict: The learner.
            oracle: The Bayes-optimal predictive, where it is known; None: it is not asked.
        """
        if not len(tasks.query_x):
            return
        predictive = predict(tasks, self._generator(tasks, loader, place, PREDICTION))
        scores = self._scores(predictive, tasks, self._generator(tasks, loader, place, SCORES))
        best = oracle(tasks, self._generator(tasks, loader, place, ORACLE)) if oracle is not None else None
        oracle_scores = None
        if best is not None:
            oracle_scores = self._scores(best, tasks, self._generator(tasks, loader, place, SCORES))
        least, most = map(int, tasks.support_mask.sum(dim=1).aminmax())
        sheet = ScoreSheet(most, task_digests(tasks), scores, oracle_scores, least_support=least)
        self._parts[loader, place] = sheet

    def sheets(self, num_ranks: int) -> list[ScoreSheet]:
        """The scores of each loader, the tasks of all ranks in their order; every rank must call this."""
        parts = self._parts
        if num_ranks > 1:
            gathered: list[dict[tuple[int, int], ScoreSheet]] = [{}] * num_ranks
            distributed.all_gather_object(gathered, self._parts)
            parts = {key: sheet for of_rank in gathered for key, sheet in of_rank.items()}
        loaders = sorted({loader for loader, _ in parts})
        return [ScoreSheet.cat([parts[key] for key in sorted(parts) if key[0] == loader]) for loader in loaders]

    def _scores(self, predictive: Predictive, tasks: FewShotTasks, generator: Generator) -> TaskScores:
        scores = task_scores(predictive, tasks, spacing=self.spacing, num_samples=self.num_samples, generator=generator)
        values = {name: value.cpu() for name, value in scores.values.items()}
        return TaskScores(values, scores.pit.cpu(), scores.mask.cpu())

    def _generator(self, tasks: FewShotTasks, loader: int, place: int, stream: int) -> Generator:
        return generator_of(tasks.query_x.device, loader, place, stream)
