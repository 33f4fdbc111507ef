"""`galley fit` and its siblings: what a run leaves, how it ends, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from galley_runs import TINY, galley, write

from recipes.cli import run_cli
from recipes.config.files import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("tiny.yaml", TINY)


def run_folders() -> list[Path]:
    return sorted(Path("runs").glob("*/*"))


def test_fit_writes_one_folder_that_explains_itself(capsys: Capture) -> None:
    code, _, _ = galley(capsys, "fit", "-c", "tiny.yaml", "--model.init_args.name=seven")
    assert code == 0
    (folder,) = run_folders()
    assert {"config.yaml", "command.txt", "environment.json"} <= {path.name for path in folder.iterdir()}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["name"] == "seven"
    assert config["model"]["init_args"]["optimizer"]["init_args"]["weight_decay"] == 0.1


def test_the_written_config_is_a_configuration_again(capsys: Capture) -> None:
    galley(capsys, "fit", "-c", "tiny.yaml")
    (folder,) = run_folders()
    code, out, err = galley(capsys, "fit", "-c", str(folder / "config.yaml"), "--print_config")
    assert (code, err) == (0, [])
    assert yaml.safe_load(out) == yaml.safe_load((folder / "config.yaml").read_text())


def test_a_run_of_a_written_config_lies_beside_the_run_that_wrote_it(capsys: Capture) -> None:
    galley(capsys, "fit", "-c", "tiny.yaml")
    (folder,) = run_folders()
    assert galley(capsys, "validate", "-c", str(folder / "config.yaml"))[0] == 0
    assert len(run_folders()) == 2
    assert {path.parent.name for path in run_folders()} == {"tiny"}


def test_validate_takes_the_same_file(capsys: Capture) -> None:
    code, _, _ = galley(capsys, "validate", "-c", "tiny.yaml")
    assert code == 0
    assert "val/loss" in (run_folders()[0] / "metrics.csv").read_text()


def test_a_logger_writes_into_the_run_folder(capsys: Capture) -> None:
    overlay = str(REPOSITORY / "yaml/_logger/csv.yaml")
    assert galley(capsys, "validate", "-c", "tiny.yaml", "-c", overlay)[0] == 0
    (folder,) = run_folders()
    assert "val/loss" in (folder / "csv" / "metrics.csv").read_text()


def test_checkpoints_lie_in_the_run_folder_whatever_the_logger(capsys: Capture) -> None:
    overlay = str(REPOSITORY / "yaml/_logger/tensorboard.yaml")
    assert galley(capsys, "fit", "-c", "tiny.yaml", "-c", overlay, "--trainer.enable_checkpointing=true")[0] == 0
    (folder,) = run_folders()
    assert len(list((folder / "checkpoints").glob("*.ckpt"))) == 1
    assert list((folder / "tensorboard").glob("events.*"))


def test_print_config_runs_nothing_and_needs_no_gpu(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    code, out, _ = galley(capsys, "fit", "-c", "tiny.yaml", "--trainer.accelerator=gpu", "--print_config")
    assert (code, run_folders()) == (0, [])
    assert yaml.safe_load(out)["trainer"]["accelerator"] == "gpu"
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", "--trainer.accelerator=gpu")
    assert code == 2
    assert "no GPU" in err[0]


def test_faults_end_with_exit_code_2_one_line_each(capsys: Capture) -> None:
    code, out, err = galley(capsys, "fit", "-c", "tiny.yaml", "--model.net.num_layer=1", "--trainer.max_step=1")
    assert (code, out, run_folders()) == (2, "", [])
    assert err == [
        "command line: model.init_args.net.init_args.num_layer: unknown option (value 1), did you mean num_layers?",
        "command line: trainer.max_step: unknown option (value 1), did you mean max_steps?",
    ]


def test_a_constructor_that_refuses_is_told_with_its_place(capsys: Capture) -> None:
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", "--model.net.dim=3")
    assert (code, run_folders()) == (2, [])
    assert err == ["tiny.yaml:14: model.init_args.net: dim=3 must be even"]


def test_debug_brings_the_traceback_back(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALLEY_DEBUG", "1")
    with pytest.raises(ValueError, match="dim=3 must be even"):
        galley(capsys, "fit", "-c", "tiny.yaml", "--model.net.dim=3")


def test_swapping_the_optimizer_leaves_no_old_value(capsys: Capture) -> None:
    words = (
        "fit",
        "-c",
        "tiny.yaml",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.5",
        "--print_config",
    )
    code, out, err = galley(capsys, *words)
    optimizer = yaml.safe_load(out)["model"]["init_args"]["optimizer"]
    assert code == 0
    assert optimizer["class_path"] == "torch.optim.SGD"
    assert (optimizer["init_args"]["weight_decay"], optimizer["init_args"]["lr"]) == (0, 0.5)
    assert err == [
        "command line: model.init_args.optimizer: torch.optim.SGD replaces torch.optim.AdamW; not carried over: "
        "weight_decay=0.1 (tiny.yaml:20). State what SGD shall have of these."
    ]


def test_swapping_a_proposed_optimizer_leaves_no_default_of_it(capsys: Capture) -> None:
    swap = "{class_path: torch.optim.SGD, init_args: {lr: 0.1}}"
    words = ["--seed_everything=1", "--model=cli_parts.DefaultModel", "--data=cli_parts.TinyData", "--print_config"]
    _, out, _ = galley(capsys, "fit", *words, f"--model.optimizer={swap}")
    assert yaml.safe_load(out)["model"]["init_args"]["optimizer"]["init_args"]["weight_decay"] == 0
    _, out, _ = galley(capsys, "fit", *words)
    assert yaml.safe_load(out)["model"]["init_args"]["optimizer"]["init_args"]["weight_decay"] == 0.01


@pytest.fixture
def checkpoint(capsys: Capture) -> str:
    cli = run_cli(["fit", "-c", "tiny.yaml"])
    cli.trainer.save_checkpoint("some.ckpt")
    return "some.ckpt"


def test_ckpt_path_goes_on_and_refuses_another_model(capsys: Capture, checkpoint: str) -> None:
    assert galley(capsys, "fit", "-c", "tiny.yaml", f"--ckpt_path={checkpoint}", "--trainer.max_steps=8")[0] == 0
    words = ("-c", "tiny.yaml", f"--ckpt_path={checkpoint}")
    code, _, err = galley(capsys, "fit", *words, "--model.name=other")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("command line: model.init_args.name: 'other' differs from 'tiny' in some.ckpt: ")
    code, _, err = galley(capsys, "validate", *words, "--model.net.num_layers=3")
    assert err[0].startswith("command line: model.init_args.net.init_args.num_layers: 3 differs from 2 in some.ckpt")
    code, _, err = galley(capsys, "validate", *words, "--model.net=cli_parts.Net", "--model.net.dim=4")
    assert len(err) == 1  # and nothing of the arguments that the other class has
    assert "net.class_path: 'cli_parts.Net' differs from 'cli_parts.DeepNet' in some.ckpt" in err[0]


def test_a_class_in_the_working_directory_is_found(capsys: Capture) -> None:
    Path("beside.py").write_text("from cli_parts import DeepNet\n\n\nclass Beside(DeepNet):\n    pass\n")
    assert galley(capsys, "fit", "-c", "tiny.yaml", "--model.net=beside.Beside", "--model.net.dim=4")[0] == 0


def test_a_class_that_is_built_with_other_arguments_is_told(capsys: Capture) -> None:
    """A network for a place that gives two widths."""
    Path("narrow.py").write_text(
        "from torch import nn\n\n\nclass Narrow(nn.Module):\n    def __init__(self, width: int = 3) -> None:\n"
        "        super().__init__()\n"
    )
    code, _, err = galley(capsys, "fit", "-c", "yaml/vmgp/floor.yaml", "--model.learner.decoder=narrow.Narrow")
    assert code == 2
    assert err[-1].startswith(
        "command line: model.init_args.learner.init_args.decoder: Narrow.__init__() takes from 1 to"
    )


def test_ckpt_path_of_the_caller_is_not_compared(checkpoint: str) -> None:
    words = ["fit", "-c", "tiny.yaml", "--model.name=other", "--trainer.max_steps=8"]
    cli = run_cli(words, run_folder=Path("old"), ckpt_path=checkpoint)
    assert cli.trainer.global_step == 8
    assert Path("old/config.yaml").exists()
    assert len(run_folders()) == 1  # that of the fixture


@pytest.mark.parametrize("name", ["no/such.ckpt", "last", "best"])
def test_ckpt_path_to_nothing_says_what_was_looked_for(capsys: Capture, name: str) -> None:
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", f"--ckpt_path={name}")
    assert (code, run_folders()) == (2, [])
    assert err[0].startswith(
        f"command line: ckpt_path: no such file (value '{name}'), looked for {Path(name).absolute()}"
    )


def test_check_config_can_refuse(capsys: Capture) -> None:
    seen: list[dict[str, Any]] = []

    def check(config: dict[str, Any]) -> list[str]:
        seen.append(config)
        return ["not this one"]

    with pytest.raises(Exception, match="not this one"):
        run_cli(["fit", "-c", "tiny.yaml"], check_config=check)
    assert seen[0]["trainer"]["max_steps"] == 4
    assert run_folders() == []


def test_ctrl_c_ends_with_130(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: L.LightningModule, batch: Any, batch_idx: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli_parts.TinyModel.training_step", interrupt)
    assert galley(capsys, "fit", "-c", "tiny.yaml")[0] == 130


def test_choices_are_announced(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from modules.layers.attention.auto import _announce

    monkeypatch.chdir(home)
    _announce.cache_clear()
    code, _, lines = galley(capsys, "fit", "-c", "yaml/mosaicbert/tiny.yaml", "-c", "yaml/mosaicbert/_tiny.yaml")
    assert code == 0
    assert len([line for line in lines if line.startswith("attention=SdpaAttention for ")]) == 1
    assert len([line for line in lines if line.startswith("precision=32-true on cpu")]) == 1
