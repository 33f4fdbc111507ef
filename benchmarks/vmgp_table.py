"""The few-shot results table: trains learners on environments with several seeds, scores all on the same test tasks.

    make vmgp-table                                                            # the core grid, hours on two cores
    python -m benchmarks.vmgp_table --tasks floor sign --learners vmgp deep_kernel_gp --seeds 2 --steps 300

A cell (learner, environment, seed) is what `galley fit -c yaml/vmgp/floor.yaml -c yaml/vmgp/_learner/NAME.yaml -c
yaml/vmgp/_tasks/NAME.yaml` trains, without its callbacks. It is a file of its own below `--folder`, written when it
is done: the command goes on where it stopped, and any overlay by name makes a cell on demand; a change of a YAML file
makes another cell. The page is written anew each time.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import subprocess
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from rich.progress import track

from benchmarks.vmgp_cells import OF_THE_RECIPE, ORACLE, YAML, Cell, Filled, write_cell
from benchmarks.vmgp_page import write_page
from modules.contracts import Predictive
from modules.scores import ScoreSheet
from recipes import load
from recipes.few_shot_evaluation import Evaluation

LEARNERS = (
    "vmgp",
    "vmgp_sites",
    "vmgp_free",
    "deep_kernel_gp",
    "alpaca",
    "maml_ensemble",
    "histogram_process",
    "output_flow_gp",
)
TASKS = ("identity", "floor", "sign", "absolute", "sinusoid", "steps")


def main(argv: list[str] | None = None) -> int:
    """Fills the cells that are missing, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=_overlays("_tasks"), metavar="NAME")
    parser.add_argument(
        "--learners", nargs="+", default=LEARNERS, choices=[OF_THE_RECIPE, *_overlays("_learner")], metavar="NAME"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--test-tasks", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2, help="cells trained side by side, one core each")
    parser.add_argument("--folder", type=Path, default=Path("runs/vmgp_table"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/vmgp.md"))
    args = parser.parse_args(argv)
    learners = [(ORACLE, 0), *((learner, seed) for seed in range(args.seeds) for learner in args.learners)]
    cells = [
        Cell(tasks, learner, seed, args.steps, args.test_tasks) for learner, seed in learners for tasks in args.tasks
    ]
    missing = [cell for cell in cells if not cell.path(args.folder).exists()]
    failed = _fill(missing, args.folder, args.jobs)
    for cell, error in failed:
        print(f"{cell}: {error}")
    write_page(args.page, args.folder, cells)
    return 1 if failed else 0


def _overlays(folder: str) -> list[str]:
    return sorted(path.stem for path in (YAML / folder).glob("*.yaml"))


def _fill(cells: list[Cell], folder: Path, jobs: int) -> list[tuple[Cell, BaseException]]:
    failed = []
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned, initializer=_one_quiet_thread) as pool:
        futures = {pool.submit(fill_cell, cell, folder): cell for cell in cells}
        for future in track(as_completed(futures), total=len(futures), description="cells"):
            error = future.exception()
            if error is not None:
                failed.append((futures[future], error))
    return failed


def _one_quiet_thread() -> None:
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # Lightning's advice, once a cell


def fill_cell(cell: Cell, folder: Path) -> None:
    """Train and score one cell, and write its file; none for an oracle that nobody knows."""
    L.seed_everything(cell.seed, verbose=False)
    model, data = load(
        cell.configs,
        f"--data.init_args.seed={cell.seed}",
        f"--data.init_args.num_test_tasks={cell.num_test_tasks}",
    )
    start = time.perf_counter()
    if cell.learner == ORACLE:
        data.setup("test")
        if data.oracle_prediction(next(iter(_test_loader(data)))) is None:
            return
    else:
        trainer(cell.steps).fit(model, datamodule=data)
    seconds = time.perf_counter() - start
    sheet = score(model, data, data.oracle_prediction if cell.learner == ORACLE else None)
    write_cell(cell.path(folder), Filled(sheet, seconds, _versions()))


def trainer(steps: int) -> L.Trainer:
    """As in `floor.yaml`, without its callbacks and loggers."""
    recipe = yaml.safe_load((YAML / "floor.yaml").read_text())["trainer"]
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        max_steps=steps,
        gradient_clip_val=recipe["gradient_clip_val"],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@torch.no_grad()
def score(model: Any, data: Any, predict: Callable[..., Predictive] | None = None) -> ScoreSheet:
    """Scores of the recipe's learner, or of another predictor, on the test tasks."""
    evaluation = Evaluation(spacing=data.problem.spacing, num_samples=model.num_samples)
    model.eval()
    for place, tasks in enumerate(_test_loader(data)):
        evaluation.add(tasks, loader=0, place=place, predict=predict or model.predictive)
    (sheet,) = evaluation.sheets(num_ranks=1)
    return sheet


def _versions() -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"torch {torch.__version__}, commit {commit.stdout.strip() or 'unknown'}"


def _test_loader(data: Any) -> Any:
    loaders = data.test_dataloader()
    (loader,) = loaders if isinstance(loaders, list) else [loaders]
    return loader


if __name__ == "__main__":
    raise SystemExit(main())
