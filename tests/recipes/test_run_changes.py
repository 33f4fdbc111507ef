"""What goes on from a checkpoint: which values may differ, which checkpoint is taken, what is told of a damaged one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from galley_runs import TINY, galley, write

from recipes.cli import run_cli
from recipes.run.changes import changes, model_differences
from recipes.run.folder import newest_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
Capture = pytest.CaptureFixture[str]
ENCODER = "model.init_args.encoder.init_args"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("tiny.yaml", TINY.replace("enable_checkpointing: false", "enable_checkpointing: true"))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (f"{ENCODER}.attention", "free"),
        (f"{ENCODER}.attention.init_args.block", "free"),
        (f"{ENCODER}.attention_dropout", "guarded"),
        (f"{ENCODER}.dropout", "guarded"),
        (f"{ENCODER}.num_layers", "fixed"),
        ("trainer.max_epochs", "free"),
        ("data.init_args.num_processes", "free"),
        ("data.init_args.corpus.init_args.paths", "free"),
        ("data.init_args.validation.init_args.paths", "free"),
        ("data.init_args.corpus.init_args.document", "fixed"),
        ("data.init_args.tokenizer.init_args.path", "free"),
        ("data.init_args.tokenizer.init_args.vocab_size", "fixed"),
        ("data.init_args.batch_size", "guarded"),
    ],
)
def test_kind_of_a_value(key: str, kind: str) -> None:
    old: dict = {}
    new: dict = {}
    for tree, value in ((old, 1), (new, 2)):
        *path, last = key.split(".")
        for name in path:
            tree = tree.setdefault(name, {})
        tree[last] = value
    assert [(change.key, change.kind) for change in changes(old, new)] == [(key, kind)]


def test_an_evaluation_compares_what_the_weights_mean() -> None:
    def model(lr: float, rate: float, heads: int, *, compile: bool) -> dict:
        encoder = {"class_path": "E", "init_args": {"num_heads": heads, "dropout": rate}}
        optimizer = {"class_path": "O", "init_args": {"lr": lr}}
        return {"class_path": "M", "init_args": {"encoder": encoder, "optimizer": optimizer, "compile": compile}}

    old, new = model(1.0, 0.1, 4, compile=True), model(2.0, 0.2, 8, compile=False)
    evaluated = [change.key for change in model_differences(old, new, training=False)]
    assert evaluated == [f"{ENCODER}.num_heads"]
    trained = {change.key for change in model_differences(old, new, training=True)}
    assert trained == {f"{ENCODER}.num_heads", f"{ENCODER}.dropout", "model.init_args.optimizer.init_args.lr"}


@pytest.fixture
def run(capsys: Capture) -> Path:
    """A run of four steps with one checkpoint."""
    cli = run_cli(["fit", "-c", "tiny.yaml"])
    assert cli.run_folder is not None
    return cli.run_folder


def test_an_evaluation_may_have_another_optimizer(run: Path, capsys: Capture) -> None:
    words = ("-c", "tiny.yaml", f"--ckpt_path={newest_checkpoint(run)}", "--model.optimizer.lr=0.5")
    assert galley(capsys, "validate", *words)[0] == 0
    code, _, err = galley(capsys, "fit", *words)
    assert (code, len(err)) == (2, 1)
    assert "lr: 0.5 differs from 0.001" in err[0]


@pytest.mark.parametrize("what", ["folder", "junk", "weights"])
def test_what_is_no_checkpoint_is_told_in_one_line(what: str, capsys: Capture) -> None:
    if what == "folder":
        Path("some.ckpt").mkdir()
    elif what == "junk":
        Path("some.ckpt").write_bytes(b"junk" * 100)
    else:
        torch.save({"weight": torch.ones(1)}, "some.ckpt")
    code, _, err = galley(capsys, "validate", "-c", "tiny.yaml", "--ckpt_path=some.ckpt")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("command line: ckpt_path: some.ckpt: ")
    assert "checkpoint" in err[0]


def test_the_latest_step_is_gone_on_from_whatever_the_times(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name, step, seconds in (("last", 9, 10), ("same", 9, 20), ("best", 5, 30)):
        torch.save({"global_step": step}, folder / f"{name}.ckpt")
        os.utime(folder / f"{name}.ckpt", (seconds, seconds))
    assert newest_checkpoint(tmp_path / "run").name == "same.ckpt"


def test_a_damaged_checkpoint_is_named_with_the_way_out(run: Path, capsys: Capture) -> None:
    whole = newest_checkpoint(run)
    last = whole.with_name("last.ckpt")
    last.write_bytes(whole.read_bytes()[:-100])
    code, _, err = galley(capsys, "resume", str(run))
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"{last}: damaged")
    assert err[0].endswith(f"delete it to go on from {whole.name} (step 4)")
    whole.unlink()
    assert galley(capsys, "resume", str(run))[2][0].endswith("no other is there")


def test_a_run_does_not_go_back(run: Path, capsys: Capture) -> None:
    code, _, err = galley(capsys, "resume", str(run), "--", "--trainer.max_steps=3")
    assert (code, err) == (2, ["trainer.max_steps: 3 is behind the run, which has done 4 steps: ask for more"])
    assert not (run / "resumes.jsonl").exists()
    assert galley(capsys, "resume", str(run), "--", "--trainer.max_steps=6")[0] == 0
    assert json.loads((run / "resumes.jsonl").read_text())["changes"] == {"trainer.max_steps": [4, 6]}


def test_overrides_without_their_dashes_are_told(run: Path, capsys: Capture) -> None:
    code, _, err = galley(capsys, "resume", str(run), "--trainer.max_steps=6")
    assert code == 2
    assert err == [
        "command line: --trainer.max_steps: what changes the configuration follows --: "
        f"galley resume {run} -- --trainer.max_steps=6"
    ]


def test_export_tells_of_a_damaged_checkpoint(run: Path, capsys: Capture) -> None:
    newest_checkpoint(run).write_bytes(b"junk")
    code, _, err = galley(capsys, "export", str(run), "exported")
    assert (code, len(err)) == (2, 1)
    assert "damaged" in err[0]
