"""What we do about jsonargparse and Lightning: each test says why, and fails once the reason is gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import jsonargparse
import lightning as L
import pytest
import torch
from cli_parts import DefaultModel, TinyData, TinyModel
from galley_runs import TINY, write
from lightning.pytorch.cli import LightningCLI

from recipes.config import upstream
from recipes.config.problems import ConfigError
from recipes.config.schema import _parser

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*No seed found")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["main"])


def plain_cli(*words: str, run: bool = False) -> LightningCLI:
    """Lightning's own command line, set up as ours."""
    return LightningCLI(
        args=list(words),
        run=run,
        save_config_callback=None,
        auto_configure_optimizers=False,
        subclass_mode_model=True,
        subclass_mode_data=True,
    )


def test_reason_of_dropping_arguments_lightning_18072() -> None:
    """The parser still carries AdamW's weight decay into SGD; when it stops, `merge.overlay` may merge plainly."""
    swap = "--model.init_args.optimizer.class_path=torch.optim.SGD"
    cli = plain_cli("-c", write("tiny.yaml", TINY), swap)
    assert cli.config["model"]["init_args"]["optimizer"]["init_args"]["weight_decay"] == 0.1


def test_reason_of_settling_defaults_lightning_18072() -> None:
    """The same for a class that a signature proposes; when it stops, `settle` can go."""
    values = {"class_path": "cli_parts.DefaultModel", "init_args": {"optimizer": {"class_path": "torch.optim.SGD"}}}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DefaultModel, "model")
    optimizer = parser.parse_object({"model": values})["model"]["init_args"]["optimizer"]
    assert optimizer["init_args"]["weight_decay"] == 0.01


def test_reason_of_parse_ckpt_path_lightning_21455() -> None:
    """A checkpoint file still beats the command line for hyper-parameters; when it stops, see `_parse_ckpt_path`."""
    words = ["--data=cli_parts.TinyData", "--trainer.accelerator=cpu", "--trainer.logger=false"]
    cli = plain_cli("--model=cli_parts.PlainModel", *words)
    cli.trainer.validate(cli.model, cli.datamodule)
    cli.trainer.save_checkpoint("some.ckpt")
    asked = ["--ckpt_path=some.ckpt", "--model=cli_parts.PlainModel", "--model.init_args.name=other"]
    assert plain_cli("validate", *asked, *words, run=True).model.name == "plain"


def test_reason_of_exit_code_143_lightning_21623() -> None:
    """SIGTERM still leaves with exit code 0; when it is 143, `_folder` need not translate it."""
    cli = plain_cli("-c", write("tiny.yaml", TINY), "--model.init_args.stop=true")
    with pytest.raises(SystemExit) as stop:
        cli.trainer.fit(cli.model, cli.datamodule)
    assert not stop.value.code


def test_reason_of_config_schema_subclasses() -> None:
    """The schema still trips over a class; when it does not, `ConfigSchema.subclass_def` can go.

    Which one it meets first depends on what is imported: `type.__subclasses__`, or a class that no path leads to.
    """
    with pytest.raises((TypeError, AttributeError), match=r"__subclasses__|has no attribute"):
        _parser().get_completion_script("jsonschema")


def test_reason_of_config_schema_callables() -> None:
    """The schema of a schedule still knows only functions; when it knows objects, `callable_schema` can go."""
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--schedule", type=Callable[[float], float])
    stock = json.loads(parser.get_completion_script("jsonschema"))
    assert stock["properties"]["schedule"] == {"type": "string"}
    assert "anyOf" in upstream.ConfigSchema().generate(parser)["properties"]["schedule"]


def test_reason_of_our_parser_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The library still dumps its usage; ours keeps the cause alone."""
    stock = jsonargparse.ArgumentParser()
    stock.add_argument("--number", type=int | None)
    with pytest.raises(SystemExit):
        stock.parse_object({"number": "x"})
    assert "usage:" in capsys.readouterr().err
    ours = upstream.Parser()
    ours.add_argument("--number", type=int | None)
    with pytest.raises(ConfigError) as error:
        ours.parse_object({"number": "x"})
    assert "number" in str(error.value)
    assert "usage" not in str(error.value)
    assert "\n" not in str(error.value)


def test_reason_of_constructor_error() -> None:
    """A constructor's error still comes wrapped in the list of all union members."""
    parser = upstream.Parser()
    parser.add_subclass_arguments(TinyData, "data", required=False)
    parser.add_subclass_arguments(TinyModel, "model", required=False)
    net = {"class_path": "cli_parts.Net", "init_args": {"dim": 3}}
    values = {"class_path": "cli_parts.TinyModel", "init_args": {"net": net, "optimizer": "torch.optim.Adam"}}
    config = parser.parse_object({"model": values})
    with pytest.raises(ValueError, match="Does not validate against") as error:
        parser.instantiate_classes(config)
    assert str(upstream.constructor_error(error.value)) == "dim=3 must be even"


def test_parameters_follow_keyword_arguments() -> None:
    """What a class passes on by `**kwargs` is known, as the parser will accept it."""
    known = upstream.parameters(L.pytorch.strategies.DDPStrategy)
    assert {"process_group_backend", "find_unused_parameters"} <= set(known)
    assert list(upstream.parameters(torch.optim.SGD))[:2] == ["params", "lr"]


def test_advertisements_are_filtered(caplog: pytest.LogCaptureFixture) -> None:
    upstream.silence_tips()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with caplog.at_level(logging.INFO, logger=logger.name):
        logger.info("Tip: For seamless cloud logging, try installing [litlogger]")
        logger.info("`Trainer.fit` stopped")
    assert [record.getMessage() for record in caplog.records] in ([], ["`Trainer.fit` stopped"])
    assert not logger.filter(logger.makeRecord("n", 20, "f", 1, "litmodels", (), None))
    assert logger.filter(logger.makeRecord("n", 20, "f", 1, "`Trainer.fit` stopped", (), None))
