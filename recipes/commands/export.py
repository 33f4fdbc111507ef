"""Write a trained encoder in Hugging Face layout: galley export RUN_FOLDER FOLDER [--checkpoint FILE]."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main(argv: list[str]) -> int:
    """Export the weights of a run as safetensors with their configuration, and the tokenizer if its store is here.

    With BERT's parts the folder loads in plain transformers; with MosaicBERT's it has the names and shapes of
    mosaicml/mosaic-bert-base. `--model.init_from=FOLDER` starts a new run from it.
    """
    arguments = _parse(argv)

    from modules.checkpoints import load_encoder_weights, save_encoder
    from modules.encoder import Encoder
    from recipes import load
    from recipes.config.problems import ConfigError, Problem
    from recipes.run.checkpoint_io import read_header
    from recipes.run.folder import newest_checkpoint

    run: Path = arguments.run_folder
    try:
        checkpoint = arguments.checkpoint or newest_checkpoint(run)
        model, data = load(run / "config.yaml")
        encoder = getattr(model, "encoder", None)
        if not isinstance(encoder, Encoder):
            raise ValueError(f"{run}: {type(model).__name__} holds no encoder, and only encoders have a layout here")
        encoder.set_vocabulary(read_header(checkpoint)["vocabulary"]["size"])
        load_encoder_weights(encoder, checkpoint)
        save_encoder(encoder, arguments.folder)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("", "", str(error))]) from error
    tokenizer: Path | None = getattr(data, "tokenizer_file", None)
    if tokenizer is not None and tokenizer.is_file():
        shutil.copyfile(tokenizer, arguments.folder / "tokenizer.json")
    print(f"{checkpoint} -> {arguments.folder}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="galley export", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="a folder below runs/, made by galley fit")
    parser.add_argument("folder", type=Path, help="the folder to write; it must not exist")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the run; the newest by default")
    return parser.parse_args(argv)
