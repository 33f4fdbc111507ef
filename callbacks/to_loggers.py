"""Pictures to the loggers that take them."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger


def log_picture(logger: Logger, name: str, path: Path) -> None:
    """Hand a PNG file to TensorBoard, Weights & Biases or MLflow; other loggers keep numbers only."""
    if isinstance(logger, TensorBoardLogger):
        from matplotlib.image import imread

        logger.experiment.add_image(name, imread(path), dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)])
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path))
