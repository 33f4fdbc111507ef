"""Few-shot regression tasks as VMGP is trained on them (arXiv:2110.11044): fresh ones in each step, or a given few.

Try: galley fit -c yaml/vmgp/floor.yaml (CPU, under three minutes).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Generator
from torch.utils.data import DataLoader

from modules.contracts import FewShotProblem, FewShotTasks, Predictive, Scaling

from .devices import replicas, unfinished_steps
from .tasks.base import Points, TaskSource
from .tasks.fixed_sets import FixedSets, ScoredTasks
from .tasks.scaling import estimate_scaling
from .tasks.streams import GivenBatches, ScoredBatches, TaskLoader, TaskStream, scored_loader
from .text.streams import loader_options

log = logging.getLogger(__name__)

PREDICTION_QUERIES = 200
"""Most rows of a task that are predicted in one batch."""


class FewShotData(L.LightningDataModule):
    """Batches of few-shot tasks (`modules.contracts.FewShotTasks`) in units of the data.

    The tasks of a training step are a function of `seed` and the step: any number of devices and workers gives the same
    global batches, and a run goes on exactly where it stopped. The tasks that learners are scored on are a function of
    `eval_seed`, so that runs with different seeds and learners meet the same; test tasks keep their queries whatever
    the number of support points.

    Args:
        tasks: Where the tasks come from.
        num_support: Support points of a task in training and validation: a number, or [fewest, most], drawn per task.
        num_query: Query points of a task.
        batch_size: Tasks per optimizer step, over all devices.
        num_train_tasks: Size of a training set that is drawn once, whose points are split anew in each step; None:
            fresh tasks in each step.
        num_val_tasks: Tasks of the validation; where a source has fewer, all of them.
        num_test_tasks: Tasks of the test; likewise.
        test_support: Numbers of support points to test with, one test loader each; None: the most of `num_support`.
        eval_batch_size: Tasks per device and batch in validation, test and prediction. What an evaluation draws is a
            function of the batch, so that scores repeat to the last digit only where this stays.
        standardize: Whether learners get units in which training tasks have zero mean and unit variance.
        num_workers: Processes that draw training batches, per device; drawing costs less than a process does.
        seed: Seed of the training tasks.
        eval_seed: Seed of validation, test and picture tasks, and of the scaling.
        folder: Where sources keep what they prepare.

    Attributes:
        problem: What recipes must know of the tasks; there after `setup`.
        digest: SHA-256 of what decides the validation and test tasks; there after `setup`. Runs with the same digest
            were scored on the same tasks.

    Raises:
        ValueError: A number is out of range.
    """

    problem: FewShotProblem
    digest: str

    def __init__(
        self,
        tasks: TaskSource,
        *,
        num_support: int | list[int] = 5,
        num_query: int = 5,
        batch_size: int = 50,
        num_train_tasks: int | None = None,
        num_val_tasks: int = 500,
        num_test_tasks: int = 2000,
        test_support: list[int] | None = None,
        eval_batch_size: int = 100,
        standardize: bool = True,
        num_workers: int = 0,
        seed: int = 17,
        eval_seed: int = 11044,
        folder: str = "data",
    ) -> None:
        super().__init__()
        self.num_support = _support_limits(num_support)
        self.test_support = [self.num_support[1]] if test_support is None else test_support
        if not self.test_support or min(self.test_support) < 0:
            raise ValueError(
                f"test_support={test_support} must be a list of numbers that are at least 0 "
                "(data.init_args.test_support)"
            )
        _check_positive(
            num_query=num_query,
            batch_size=batch_size,
            num_val_tasks=num_val_tasks,
            num_test_tasks=num_test_tasks,
            eval_batch_size=eval_batch_size,
            **({} if num_train_tasks is None else {"num_train_tasks": num_train_tasks}),
        )
        self.tasks = tasks
        self.num_query = num_query
        self.batch_size = batch_size
        self.num_train_tasks = num_train_tasks
        self.num_val_tasks = num_val_tasks
        self.num_test_tasks = num_test_tasks
        self.eval_batch_size = eval_batch_size
        self.standardize = standardize
        self.num_workers = num_workers
        self.seed = seed
        self.eval_seed = eval_seed
        self.folder = folder
        self._position = 0
        self._resumed: dict[str, Any] | None = None

    def prepare_data(self) -> None:
        """Makes what the source needs; instant if it is there."""
        self.tasks.prepare(Path(self.folder))

    def setup(self, stage: str) -> None:
        """Opens the source and sets `problem` and `digest`.

        Raises:
            ValueError: The source has no usable tasks, or devices and sizes do not fit.
        """
        self._replicas, self._replica = replicas(self.trainer)
        if stage == "fit":
            self._check_devices()
        if hasattr(self, "problem"):
            return
        self.tasks.open(Path(self.folder))
        self._sets = FixedSets(self.tasks, self.num_support, self.num_query, self.seed, self.eval_seed)
        # a file of new tasks alone can be predicted and scored; the checkpoint has the scaling
        trains = stage == "fit" or self.tasks.num_tasks("train") != 0
        num_pooled = self.num_train_tasks if trains else None
        self._pool = None if num_pooled is None else self._sets.training_set(num_pooled)
        self.problem = FewShotProblem(
            name=self.tasks.name,
            input_dim=self.tasks.input_dim,
            output_dim=self.tasks.output_dim,
            scaling=self._scaling() if trains else self._no_scaling(),
            spacing=self.tasks.spacing,
        )
        self.digest = hashlib.sha256(json.dumps(self._evaluation()).encode()).hexdigest()

    def train_dataloader(self) -> DataLoader[FewShotTasks]:
        """The endless stream of steps, each this device's share of the tasks, from where the run stands."""
        if self._resumed is not None:
            self._go_on(self._resumed)
            self._resumed = None
        stream = TaskStream(
            self.tasks,
            self._pool,
            self.batch_size,
            self.num_support,
            self.num_query,
            self.seed,
            self._replicas,
            self._replica,
        )
        return TaskLoader(stream, self._start, **self._loader_options(self.num_workers))

    def val_dataloader(self) -> DataLoader[FewShotTasks]:
        """This device's part of the validation tasks, with support as in training."""
        return self._scored_loader(self._sets.validation(self.num_val_tasks))

    def test_dataloader(self) -> list[DataLoader[FewShotTasks]]:
        """This device's part of the test tasks, once for each number of support points in `test_support`."""
        return [self._scored_loader(tasks) for tasks in self._sets.test(self.num_test_tasks, self.test_support)]

    def predict_dataloader(self) -> DataLoader[FewShotTasks]:
        """This device's part of what the source has to predict.

        Raises:
            ValueError: It has nothing.
        """
        batches = self.tasks.to_predict(num_tasks=self.eval_batch_size, num_queries=PREDICTION_QUERIES)
        if not batches:
            raise ValueError(
                f"{self.tasks.name} has nothing to predict: galley predict answers the rows without targets of a table "
                "(data.init_args.tasks: datamodules.tasks.TabularTasks)"
            )
        return DataLoader(GivenBatches(batches[self._replica :: self._replicas]), **self._loader_options(0))

    def picture_tasks(self) -> FewShotTasks:
        """A few tasks with the most support points, their queries along x where the source has such tasks."""
        return self._sets.pictures()

    def oracle_prediction(self, tasks: FewShotTasks, generator: Generator | None = None) -> Predictive | None:
        """The Bayes-optimal predictive at the queries, in units of the data; None where nobody knows it.

        Args:
            tasks: In units of the data; the query targets are not looked at.
            generator: Source of everything random, on their device; None: a function of `eval_seed`, the same at each
                call.
        """
        if generator is None:
            generator = Generator(tasks.query_x.device).manual_seed(self.eval_seed)
        return self.tasks.oracle(
            tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x, generator=generator
        )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Counts the steps that training has consumed: here, as loaders read ahead."""
        if self.trainer is not None and self.trainer.training:
            self._position += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands (`position`: steps), and what must stay when it goes on."""
        if not hasattr(self, "digest"):  # an error before `setup` was through: there is nothing to go on from
            return {}
        return {"position": self._position - unfinished_steps(self.trainer), **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Notes where to go on; `train_dataloader` compares and does it."""
        self._resumed = dict(state_dict) or None

    @property
    def unique_units(self) -> int | None:
        """Points of all training tasks; None where each step has fresh ones."""
        return self.tasks.num_train_points if self._pool is None else int(self._pool.mask.sum())

    def _go_on(self, state: dict[str, Any]) -> None:
        for name, value in self._identity().items():
            if state[name] != value:
                raise ValueError(
                    f"the run was made with {name}={state[name]}, now it is {value}: its tasks cannot go on from here; "
                    "restore the old value, or start a new run"
                )
        self._position = state["position"]

    def _identity(self) -> dict[str, Any]:
        """What decides the training tasks, their units, and those that the run is validated on."""
        return {
            "tasks": self.tasks.digest,
            "seed": self.seed,
            "eval_seed": self.eval_seed,
            "batch_size": self.batch_size,
            "num_support": list(self.num_support),
            "num_query": self.num_query,
            "num_train_tasks": self.num_train_tasks,
            "num_val_tasks": self.num_val_tasks,
            "standardize": self.standardize,
        }

    def _evaluation(self) -> list[Any]:
        sizes = [self.num_val_tasks, self.num_test_tasks, self.num_query, self.num_support, self.test_support]
        return [self.tasks.digest, self.eval_seed, sizes]

    def _start(self) -> int:
        """Where the stream starts: at the same tasks each time if the Trainer is told to overfit."""
        overfits = self.trainer is not None and getattr(self.trainer, "overfit_batches")  # noqa: B009 (untyped there)
        return 0 if overfits else self._position

    def _scaling(self) -> Scaling:
        tasks = self._sets.scaling_set() if self._pool is None else self._pool
        self._tell_short_tasks(tasks)
        return estimate_scaling(tasks) if self.standardize else self._no_scaling()

    def _tell_short_tasks(self, tasks: Points) -> None:
        """Say it once if no task has the most support points that were asked for."""
        largest = int(tasks.mask.sum(dim=1).max())
        if largest <= self.num_support[1]:
            log.warning(
                "num_support=%s: the largest task of %s has %d points, and all but one of them are its support "
                "(data.init_args.num_support)",
                list(self.num_support),
                self.tasks.name,
                largest,
            )

    def _no_scaling(self) -> Scaling:
        return Scaling.identity(self.tasks.input_dim, self.tasks.output_dim)

    def _scored_loader(self, tasks: ScoredTasks) -> DataLoader[FewShotTasks]:
        batches = ScoredBatches(tasks, self.num_query, self.eval_batch_size, self._replicas)
        return scored_loader(batches, self._replica, **self._loader_options(0))

    def _check_devices(self) -> None:
        if self.batch_size % self._replicas:
            raise ValueError(
                f"batch_size={self.batch_size} must be a multiple of the {self._replicas} devices "
                "(data.init_args.batch_size)"
            )
        if self.trainer is not None and self.trainer.accumulate_grad_batches != 1:
            raise ValueError(
                f"trainer.accumulate_grad_batches={self.trainer.accumulate_grad_batches} has no place here: a batch is "
                "a whole step; remove it, and raise data.init_args.batch_size"
            )

    def _loader_options(self, num_workers: int) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(num_workers, self.seed, pin_memory=on_gpu)


def _support_limits(num_support: int | Sequence[int]) -> tuple[int, int]:
    limits = [num_support, num_support] if isinstance(num_support, int) else list(num_support)
    if len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
        raise ValueError(
            f"num_support={num_support} must be a number that is at least 0, or two: [fewest, most] "
            "(data.init_args.num_support)"
        )
    return limits[0], limits[1]


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1 (data.init_args.{name})")
