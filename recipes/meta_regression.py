"""Few-shot regression: trains a learner on many small tasks (VMGP, arXiv:2110.11044, and its rivals).

Try: galley fit -c yaml/vmgp/floor.yaml (CPU, under three minutes).
"""

from __future__ import annotations

import logging
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Generator, Tensor
from torch.optim.lr_scheduler import LambdaLR

from modules.contracts import (
    CostProfile,
    FewShotLearner,
    FewShotProblem,
    FewShotTasks,
    Predictive,
    ScaledPredictive,
    Scaling,
    Schedule,
)
from modules.flops import few_shot_cost_profile
from modules.scores import ScoreSheet
from recipes.few_shot_evaluation import Evaluation
from recipes.few_shot_predictions import prediction_rows
from recipes.few_shot_table import scores_table
from recipes.finite_tasks import check_finite
from recipes.horizon import run_fraction
from recipes.hyperparameters import save_plain_hyperparameters
from recipes.random_streams import generator_of
from recipes.token_means import TokenMeans

log = logging.getLogger(__name__)

TRAIN, PREDICT = range(2)
"""Streams of random numbers of a run."""
SHOWN = ("loss", "crps", "rmse", "coverage_90", "oracle_gap")
"""Scores that tell enough while a run goes on."""


class MetaRegression(L.LightningModule):
    """Trains a few-shot learner on a stream of tasks, and scores its predictive distributions on held-out ones.

    Batches are tasks in the units of the data; the learner sees them scaled, as estimated from training tasks, and that
    scaling travels in the checkpoint. What a training step draws is a function of (seed, step, rank) alone, so that a
    resumed run goes on bit for bit; what an evaluation draws is a function of the number of its batch alone, so that
    learners are compared on common random numbers, on any number of devices, if `eval_batch_size` is the same.

    Gaussian-process algebra loses its positive definiteness in half precision: under `bf16-mixed` and `16-mixed` steps
    leave autocast and compute in float32.

    Logs `train/loss` in nats per scaled point since the last logging step, `train/lr`, and for `val` and `test`, in
    units of the data: all of `modules.scores.summary` (negative log-likelihood, CRPS, coverage and the rest with their
    standard errors over tasks), and `loss`, the one to judge by: the log-loss where targets are discrete, else the
    negative log-likelihood. With several sizes of support `test` becomes `test/support_5` and so on. Where the tasks
    know their Bayes-optimal predictive, `galley validate` and `galley test` score it too: `oracle_loss`, and
    `oracle_gap` with its standard error.

    Args:
        learner: What is trained; its `input_dim` and `output_dim` are those of the tasks.
        optimizer: Builds the optimizer from the parameters, all in one group.
        schedule: Multiplier of the learning rate over the fraction of the run that is done.
        num_samples: Monte-Carlo draws of a predictive distribution in evaluation and prediction.

    Attributes:
        sheets: Scores of each task of the last validation or test, one sheet for each size of support; on all ranks.

    Raises:
        ValueError: `num_samples` is below 2, a width of the learner is not that of the tasks, or the precision is half
            that of float32, for the weights too.
    """

    loss_unit = "nats; training per scaled point, validation per query"

    x_mean: Tensor
    x_scale: Tensor
    y_mean: Tensor
    y_scale: Tensor

    def __init__(
        self,
        learner: FewShotLearner,
        *,
        optimizer: OptimizerCallable,
        schedule: Schedule,
        num_samples: int = 1000,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise ValueError(f"num_samples={num_samples} must be at least 2 (model.init_args.num_samples)")
        save_plain_hyperparameters(self, objects=("learner", "optimizer", "schedule"))
        self.learner = learner
        self.optimizer = optimizer
        self.schedule = schedule
        self.num_samples = num_samples
        self.sheets: list[ScoreSheet] = []
        for name, value in vars(Scaling.identity(learner.input_dim, learner.output_dim)).items():
            self.register_buffer(name, value)
        self._seed: int | None = None
        self._losses = TokenMeans("loss")
        self._evaluation: Evaluation | None = None

    # Building

    def setup(self, stage: str) -> None:
        problem = self._problem
        self._check_widths(problem)
        self._check_precision()
        for name, value in vars(problem.scaling).items():
            getattr(self, name).copy_(value)  # a checkpoint, loaded after this, brings its own
        if self._seed is None:
            self._seed = torch.initial_seed()  # before ranks get random states of their own

    @property
    def _problem(self) -> FewShotProblem:
        problem: FewShotProblem = self.trainer.datamodule.problem  # type: ignore[attr-defined]
        return problem

    def _check_widths(self, problem: FewShotProblem) -> None:
        for name in ("input_dim", "output_dim"):
            own, wanted = getattr(self.learner, name), getattr(problem, name)
            if own != wanted:
                raise ValueError(
                    f"{name}={own} of the learner is not that of the tasks ({problem.name}), which is {wanted}: "
                    f"set model.init_args.learner.init_args.{name} to {wanted}"
                )

    def _check_precision(self) -> None:
        precision = str(self.trainer.precision)
        if precision not in ("32-true", "64-true", "bf16-mixed", "16-mixed"):
            raise ValueError(
                f"trainer.precision={precision} has no digits for the algebra of Gaussian processes: use 32-true, or "
                "bf16-mixed (which computes few-shot learners in float32)"
            )

    def _without_autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, enabled=False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())
        scheduler = LambdaLR(optimizer, lambda _: self.schedule(run_fraction(self.trainer)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def scaling(self) -> Scaling:
        """The map between the units of the data and those of the learner."""
        return Scaling(self.x_mean, self.x_scale, self.y_mean, self.y_scale)

    # Training

    def on_fit_start(self) -> None:
        log.info("precision=%s on %s (trainer.precision)", self.trainer.precision, self.device)

    def training_step(self, batch: FewShotTasks, batch_idx: int) -> Tensor:
        assert self._seed is not None
        if batch.query_y.device.type == "cpu":  # elsewhere every step would wait for it; `FiniteLoss` tells there
            check_finite(batch)
        generator = generator_of(self.device, self._seed, TRAIN, self.global_step, self.global_rank)
        with self._without_autocast():
            loss = self.learner.loss(self.scaling.tasks(batch), generator)
        num_tasks = loss.new_full((), len(batch.query_x))
        self._losses.add(num_tasks, loss * num_tasks)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss", self._losses.compute(self.trainer.strategy)["loss"])
            self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    # Evaluation

    def predictive(self, tasks: FewShotTasks, generator: Generator | None = None) -> Predictive:
        """What the learner predicts at the queries of tasks, both in units of the data.

        Args:
            tasks: On the device of the model; the query targets are not looked at.
            generator: Source of everything random, on that device.
        """
        with torch.no_grad():
            scaled = self.scaling.tasks(tasks)
            inner = self.learner.predict(
                scaled.support_x,
                scaled.support_y,
                scaled.support_mask,
                scaled.query_x,
                num_samples=self.num_samples,
                generator=generator,
            )
            return ScaledPredictive(inner, self.scaling)

    def on_validation_epoch_start(self) -> None:
        self._evaluation = Evaluation(spacing=self._problem.spacing, num_samples=self.num_samples)

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def validation_step(self, batch: FewShotTasks, batch_idx: int, dataloader_idx: int = 0) -> None:
        assert self._evaluation is not None
        check_finite(batch)
        oracle = None
        if self.trainer.state.fn != "fit":  # an oracle may take longer than a short run trains
            oracle = self.trainer.datamodule.oracle_prediction  # type: ignore[attr-defined]
        place = batch_idx * self.trainer.world_size + self.global_rank
        with self._without_autocast():
            self._evaluation.add(batch, loader=dataloader_idx, place=place, predict=self.predictive, oracle=oracle)

    def test_step(self, batch: FewShotTasks, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.validation_step(batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _log_scores(self, stage: str) -> None:
        assert self._evaluation is not None
        self.sheets = self._evaluation.sheets(self.trainer.world_size)
        self._evaluation = None
        for sheet in self.sheets:
            name = stage if len(self.sheets) == 1 else f"{stage}/support_{sheet.num_support}"
            for score, value in sheet.summary().items():
                # equal on all ranks; Lightning wants to be told
                self.log(f"{name}/{score}", value, prog_bar=score in SHOWN, sync_dist=True)
        self._show_scores()

    def _show_scores(self) -> None:
        """Print our table instead of Lightning's, which cuts names short and repeats all of them for each loader."""
        loop = self.trainer.test_loop if self.trainer.testing else self.trainer.validate_loop
        if self.trainer.state.fn != "fit" and loop.verbose:
            loop.verbose = False
            self.print(scores_table(self.sheets))

    # Prediction

    def predict_step(self, batch: FewShotTasks, batch_idx: int) -> list[dict[str, Any]]:
        """One row for each query that is no filler: mean and quantiles, in units of the data."""
        generator = generator_of(self.device, 0, PREDICT, batch_idx * self.trainer.world_size + self.global_rank)
        with self._without_autocast():
            return prediction_rows(self.predictive(batch, generator), batch)

    # Cost

    def cost_profile(self) -> CostProfile:
        """Cost per task point at the run's largest support and its number of queries."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        _, most = data.num_support
        return few_shot_cost_profile(
            self.learner, num_support=most, num_query=data.num_query, num_samples=self.num_samples
        )

    def count_units(self, batch: FewShotTasks) -> int:
        """Points in this rank's part of a global batch."""
        return batch.num_points

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seed_of_draws"] = self._seed
        checkpoint["losses"] = self._losses.state(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._seed = checkpoint["seed_of_draws"]
        self._losses.restore(checkpoint["losses"], rank=self.global_rank)
