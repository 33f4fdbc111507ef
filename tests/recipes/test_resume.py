"""A run that is killed, at any moment, and resumed by its folder ends where an uninterrupted one does, bit for bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from interrupted_runs import REPOSITORY, finish, galley_process, last_checkpoint, wait_for_step

from callbacks.metrics_csv import read_metrics
from recipes.__main__ import main
from recipes.run.changes import changes, refusals

NUM_STEPS = 200


def fit_words(corpus: Path) -> list[str]:
    home = REPOSITORY / "yaml" / "mosaicbert"
    return [
        *("fit", "-c", str(home / "base.yaml"), "-c", str(home / "_tiny.yaml")),
        f"--data.corpus.init_args.paths={corpus}",
        "--data.corpus.init_args.document=line",
        f"--data.folder={corpus.parent / 'stores'}",
        f"--trainer.max_steps={NUM_STEPS}",
        "--trainer.val_check_interval=50",
    ]


def only_run(home: Path) -> Path:
    (folder,) = (home / "runs" / "mosaicbert" / "base").iterdir()
    return folder


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("uninterrupted")
    finish(galley_process(*fit_words(corpus), cwd=home))
    return only_run(home)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_stopped_and_resumed(uninterrupted: Path, corpus: Path, tmp_path: Path, how: signal.Signals, code: int) -> None:
    overlay = tmp_path / "often.yaml"
    overlay.write_text(
        "trainer:\n  callbacks+:\n    - {class_path: callbacks.LastCheckpoint, init_args: {every_n_steps: 7}}\n"
    )
    process = galley_process(*fit_words(corpus), "-c", str(overlay), cwd=tmp_path)
    folder = wait_for_step(tmp_path / "runs" / "mosaicbert" / "base", 20, process)
    process.send_signal(how)
    output = finish(process, code)
    assert not any(word in output for word in ("Traceback", "litlogger", "litmodels", "LeafSpec"))
    stopped_at = last_checkpoint(folder)["global_step"]
    assert 14 <= stopped_at < NUM_STEPS
    if how == signal.SIGTERM:  # it saved where it stopped, not at the last seventh step
        assert stopped_at == max(read_metrics(folder / "metrics.csv")["train/loss"]) + 1

    finish(galley_process("resume", str(folder), "--", "--data.num_workers=2", cwd=tmp_path))
    assert only_run(tmp_path) == folder
    assert not list(folder.glob("**/.*"))
    whole, resumed = last_checkpoint(uninterrupted), last_checkpoint(folder)
    assert resumed["global_step"] == NUM_STEPS
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    metrics = [read_metrics(run / "metrics.csv") for run in (uninterrupted, folder)]
    for name in ("train/loss", "train/lr", "val/loss", "meter/tokens"):
        assert metrics[0][name] == metrics[1][name], name
    record = json.loads((folder / "resumes.jsonl").read_text())
    assert record["changes"] == {"data.init_args.num_workers": [0, 2]}


def test_what_may_change_and_what_may_not(uninterrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["num_layers=3", "dropout=0.0"]
    words = [f"--model.encoder.init_args.{override}" for override in overrides] + ["--data.seed=18"]
    assert main(["resume", str(uninterrupted), "--", *words]) == 2
    output = capsys.readouterr().err
    for key, old, new in (("num_layers", "2", "3"), ("data.init_args.seed", "17", "18"), ("dropout", "0.1", "0.0")):
        (line,) = [line for line in output.splitlines() if f"{key}:" in line]
        assert f"{old} in the run, {new} now" in line
    assert "--force" in output


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    assert "no such run folder" in finish(galley_process("resume", "nowhere", cwd=tmp_path), code=2)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "no checkpoint to go on from" in finish(galley_process("resume", "run", cwd=tmp_path), code=2)


def test_three_kinds_of_values() -> None:
    old = {"seed_everything": 1, "trainer": {"max_steps": 5, "precision": "32-true"}, "data": {"init_args": {"x": 1}}}
    new = {
        "seed_everything": 2,
        "trainer": {"max_steps": 9, "precision": "bf16-mixed"},
        "data": {"init_args": {"x": 1}},
    }
    found = changes(old, new)
    assert {change.key: change.kind for change in found} == {
        "seed_everything": "fixed",
        "trainer.max_steps": "free",
        "trainer.precision": "guarded",
    }
    assert len(refusals(found, force=False)) == 2
    (line,) = refusals(found, force=True)
    assert line.startswith("seed_everything: 1 in the run, 2 now")


def test_a_run_is_exported_with_its_tokenizer(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    exported = tmp_path / "exported"
    assert main(["export", str(uninterrupted), str(exported)]) == 0
    weights = load_file(exported / "model.safetensors")
    trained = last_checkpoint(uninterrupted)["state_dict"]
    assert torch.equal(weights["bert.embeddings.word_embeddings.weight"], trained["encoder.embeddings.word.weight"])
    assert json.loads((exported / "config.json").read_text())["model_type"] == "mosaicbert"
    assert (exported / "tokenizer.json").is_file()
    assert main(["export", str(uninterrupted), str(exported)]) == 2
    assert "exists" in capsys.readouterr().err
