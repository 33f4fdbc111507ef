"""Mistakes that show only when classes are built or the run is on its way are told in one line each, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from galley_runs import TINY, galley, write

from recipes import load
from recipes.config.problems import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("tiny.yaml", TINY)


NETS = "[{class_path: cli_parts.Net, init_args: {dim: 5}}, {class_path: cli_parts.Net, init_args: {dim: 6}}]"
RANGES = (
    "tiny.yaml:14: model.init_args.net: dim=3 must be even",
    "command line: model.init_args.nets[0]: dim=5 must be even",
    "command line: data: batch_size=9 must be a positive multiple",
    "command line: trainer.callbacks[0]: Invalid value for save_top_k=-5",
)


def test_all_classes_that_refuse_their_arguments_are_told_together(capsys: Capture) -> None:
    callback = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {save_top_k: -5}}"
    tokenizer = "{class_path: datamodules.text.BytePairTokenizer, init_args: {vocab_size: 400}}"
    arguments = f"corpus: datamodules.text.PythonSources, tokenizer: {tokenizer}, batch_size: 9, micro_batch_size: 2"
    data = f"{{class_path: datamodules.MaskedLMData, init_args: {{{arguments}}}}}"
    options = ("--model.net.dim=3", f"--model.nets={NETS}", f"--data={data}", f"--trainer.callbacks=[{callback}]")
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", *options)
    assert code == 2
    for line, start in zip(err, RANGES, strict=True):
        assert line.startswith(start)


def test_load_tells_them_together() -> None:
    with pytest.raises(ConfigError) as error:
        load("tiny.yaml", "--model.net.dim=3", f"--model.nets={NETS}")
    assert [problem.key for problem in error.value.problems] == ["model.init_args.net", "model.init_args.nets[0]"]


def test_an_optimizer_that_refuses_is_told_although_it_is_built_in_the_run(capsys: Capture) -> None:
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", "--model.optimizer.lr=-1")
    assert code == 2
    assert err[-1] == "tiny.yaml:17: model.init_args.optimizer: Invalid learning rate: -1.0"


def test_a_loss_that_is_not_finite_is_one_line_and_no_mistake(capsys: Capture) -> None:
    words = ("--model.optimizer.lr=1e30", "--trainer.callbacks=[callbacks.FiniteLoss]")
    code, _, err = galley(capsys, "fit", "-c", "tiny.yaml", *words)
    assert code == 1
    assert err[-1].startswith("step ")
    assert "not finite" in err[-1]
    assert not any("Traceback" in line for line in err)


@pytest.mark.parametrize("content", [b"trainer: \xff\n", b"trainer: \x01\n"])
def test_a_file_that_is_no_text_is_told(content: bytes, capsys: Capture) -> None:
    Path("binary.yaml").write_bytes(content)
    code, _, err = galley(capsys, "fit", "-c", "binary.yaml")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("binary.yaml: no")


def test_prepare_tells_of_a_damaged_store(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    stores = Path("stores").absolute()
    monkeypatch.chdir(home)
    words = ("-c", "yaml/mosaicbert/tiny.yaml", "-c", "yaml/mosaicbert/_tiny.yaml", f"--data.folder={stores}")
    assert galley(capsys, "prepare", *words)[0] == 0
    (tokens,) = stores.rglob("tokens.bin")
    content = bytearray(tokens.read_bytes())
    content[10] ^= 1
    tokens.chmod(0o644)
    tokens.write_bytes(content)
    code, _, err = galley(capsys, "prepare", *words)
    assert code == 2
    assert "tokens.bin" in err[-1]
    assert not any("Traceback" in line for line in err)


def test_load_looks_at_all_keys() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_stepp: unknown option .*did you mean max_steps"):
        load("tiny.yaml", "--trainer.max_stepp=3")
    with pytest.raises(ConfigError, match="model: missing"):
        load("yaml/_trainer/gpu.yaml")
    assert load("tiny.yaml", "--trainer.accelerator=gpu", "--return_predictions=false")[1] is not None
