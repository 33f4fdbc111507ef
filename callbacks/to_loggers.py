"""Reports to the loggers that take more than numbers."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger


def log_report(logger: Logger, folder: Path, name: str) -> None:
    """Hand a report, `name.json`, `name.md` and `name.png` in a folder, to TensorBoard, Weights & Biases or MLflow.

    TensorBoard gets the page and the picture, Weights & Biases a table and the picture, MLflow the files. Other loggers
    keep numbers only.
    """
    page, picture = folder / f"{name}.md", folder / f"{name}.png"
    if isinstance(logger, TensorBoardLogger):
        from matplotlib.image import imread

        logger.experiment.add_text(name, page.read_text())
        logger.experiment.add_image(name, imread(picture), dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_text(name, columns=["report"], data=[[page.read_text()]])
        logger.log_image(f"{name}_picture", [str(picture)])
    elif isinstance(logger, MLFlowLogger):
        for path in (folder / f"{name}.json", page, picture):
            logger.experiment.log_artifact(logger.run_id, str(path))


def log_picture(logger: Logger, path: Path, name: str, *, step: int) -> None:
    """Hand a PNG to TensorBoard, Weights & Biases or MLflow, under a name and at a step of training."""
    if isinstance(logger, TensorBoardLogger):
        from matplotlib.image import imread

        logger.experiment.add_image(name, imread(path), global_step=step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path))
