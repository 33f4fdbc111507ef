"""The check of a configuration: what is wrong is named with file, line, key, value and the nearest right name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cli_parts import Limits, Net, Norm
from galley_runs import TINY, write
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from recipes.config.annotations import allowed
from recipes.config.check import check_value
from recipes.config.compose import compose
from recipes.config.run_check import check_machine, check_run
from recipes.config.tree import read_yaml


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(*overrides: str, text: str = TINY) -> list[str]:
    """All problems of the tiny configuration with these overrides."""
    composed = compose(["-c", write("f.yaml", text), *overrides])
    return [str(p) for p in composed.problems + check_run(composed.tree, "fit") + check_machine(composed.tree)]


def test_a_sound_configuration_has_no_problem() -> None:
    assert faults() == []


NET = "model.init_args.net"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("num_layers: 2", "num_layer: 2", f"15: {NET}.init_args.num_layer: unknown option (value 2), did you "
         "mean num_layers?"),
        ("num_layers: 2", "num_layers: two", f"15: {NET}.init_args.num_layers: wrong type (value 'two'), expected int"),
        ("num_layers: 2", "num_layers: 1e1", f"15: {NET}.init_args.num_layers: wrong type (value 1e1), expected int"),
        ("dim: 4, ", "", f"15: {NET}.init_args.dim: missing: cli_parts.DeepNet needs it (int)"),
        ("max_steps", "max_step", "5: trainer.max_step: unknown option (value 4), did you mean max_steps?"),
        (
            "cli_parts.TinyData",
            "datamodules.MaskedLM",
            "22: data.class_path: no such class (value 'datamodules.MaskedLM'), did you mean datamodules.MaskedLMData?",
        ),
        (
            "torch.optim.AdamW",
            "torch.optim.AdaW",
            "17: model.init_args.optimizer.class_path: no such class (value 'torch.optim.AdaW'), "
            "did you mean torch.optim.AdamW?",
        ),
        (
            "class_path: cli_parts.DeepNet",
            "class: cli_parts.DeepNet",
            f"13: {NET}: wrong type (value {{'class': 'cli_parts.DeepNet', 'init_args': {{'dim': 4, 'n...), "
            "expected class_path of Net",
        ),
        ("cli_parts.DeepNet", "cli_parts.Norm", f"14: {NET}.class_path: cli_parts.Norm is no Net"),
        ("weight_decay", "weigth_decay", "20: model.init_args.optimizer.init_args.weigth_decay: unknown option "
         "(value 0.1), did you mean weight_decay?"),
        ("accelerator: cpu", "accelerator: 3", "3: trainer.accelerator: wrong type (value 3), expected str or "
         "class_path of Accelerator"),
    ],
)  # fmt: skip
def test_one_fault_is_named_with_its_line(old: str, new: str, line: str) -> None:
    assert old in TINY
    assert faults(text=TINY.replace(old, new)) == [f"f.yaml:{line}"]


def test_all_faults_of_a_configuration_come_together() -> None:
    text = TINY.replace("num_layers", "num_layer").replace("AdamW", "Adamw").replace("max_steps", "max_step")
    found = faults("--data.num_row=3", "--sed=1", text=text)
    assert [line.split(": ")[0] for line in found] == [
        "f.yaml:15",
        "f.yaml:17",
        "command line",
        "command line",
        "f.yaml:5",
    ]
    assert found[2].endswith("data.init_args.num_row: unknown option (value 3), did you mean num_rows?")


def test_an_unknown_name_like_no_other_lists_what_there_is() -> None:
    (line,) = faults("--data.qqq=1")
    assert line.startswith("command line: data.init_args.qqq: unknown option (value 1); cli_parts.TinyData knows ")
    assert {"num_rows", "dim"} <= set(line.split("knows ")[1].split(", "))


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("my_own.Net", ": there is no module my_own, neither in {cwd} nor among installed packages"),
        ("cli_parts.DeepNets", ": cli_parts has no DeepNets, did you mean DeepNet?"),
        ("cli_parts.Xyzzy", ": cli_parts has no Xyzzy"),
        ("modls.encoder.Bert", ", did you mean modules.encoder.Bert?"),
    ],
)
def test_what_is_missing_of_a_class_of_ones_own_is_told(path: str, end: str) -> None:
    (line,) = faults(f"--model.net={path}")
    assert line.endswith(f"no such class (value '{path}'){end.format(cwd=Path.cwd())}")


def test_without_a_near_name_the_classes_that_fit_are_listed() -> None:
    (line,) = faults("--model=recipes.Xyzzy")
    assert "no such class (value 'recipes.Xyzzy'); there are " in line
    assert "recipes.MaskedLM" in line


@pytest.mark.parametrize("seed", ["true", "1.5", "one"])
def test_the_seed_is_an_integer(seed: str) -> None:
    (line,) = faults(f"--seed_everything={seed}")
    assert line.endswith(", expected int")


def test_the_seed_and_both_parts_must_be_there() -> None:
    found = faults(text="trainer: {max_steps: 1}\n")
    assert {line.split(": ")[1] for line in found} == {"seed_everything", "model", "data"}


def test_no_gpu_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    (line,) = faults("--trainer.accelerator=gpu")
    assert "no GPU that torch can use (value 'gpu'): use --trainer.accelerator=cpu" in line
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert faults("--trainer.accelerator=gpu", "--trainer.devices=2") == []
    (line,) = faults("--trainer.accelerator=gpu", "--trainer.devices=8")
    assert line.endswith("more GPUs than this machine has (value 8): use --trainer.devices=2")


def test_a_missing_extra_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.config.classes.find_spec", lambda name: None)
    write("needs_flash.py", "import flash_attn_that_is_not_here\n")
    write("needs_other.py", "raise RuntimeError('broken build')\n")
    monkeypatch.syspath_prepend(".")
    (line,) = faults("--trainer.logger=lightning.pytorch.loggers.WandbLogger")
    assert line.endswith('needs the package wandb: pip install -e ".[tracking]"')
    (line,) = faults("--model.net=needs_flash.Net")
    assert line.endswith("needs the package flash_attn_that_is_not_here: pip install flash_attn_that_is_not_here")
    (line,) = faults("--model.net=needs_other.Net")
    assert line.endswith("needs_other.Net cannot be imported: RuntimeError: broken build")
    assert "needs_flash" not in sys.modules


def test_a_missing_file_is_named() -> None:
    (line,) = faults("--model.vocab_file=no/such.json")
    assert (
        f"model.init_args.vocab_file: no such file (value 'no/such.json'), looked for {Path.cwd()}/no/such.json" in line
    )
    (line,) = faults("--ckpt_path=runs/none.ckpt")
    assert line.startswith("command line: ckpt_path: no such file")
    assert faults(f"--model.vocab_file={write('some.json', '')}") == []
    assert faults("--model.vocab_file=s3://bucket/some.json") == []


def test_text_stays_text_where_text_is_wanted() -> None:
    composed = compose(["-c", write("f.yaml", TINY), "--model.name=12"])
    assert check_run(composed.tree, "fit") == []
    assert composed.tree.plain()["model"]["init_args"]["name"] == "12"
    (line,) = faults(text=TINY.replace("    net:\n", "    name: 12\n    net:\n"))
    assert line == "f.yaml:13: model.init_args.name: wrong type (value 12), expected str"


@pytest.mark.parametrize("typed", ["1e1", "true", "12.50"])
def test_a_wrong_value_is_told_as_it_was_typed(typed: str) -> None:
    (line,) = faults(f"--trainer.max_steps={typed}")
    assert line == f"command line: trainer.max_steps: wrong type (value {typed}), expected int"


SOUND: list[tuple[Any, str]] = [
    (int, "1"),
    (float, "1"),
    (bool, "true"),
    (str | None, "null"),
    (Literal["a", "b"], "b"),
    (Path, "some/where"),
    (timedelta, "00:10:00"),
    (tuple[float, float], "[0.1, 0.2]"),
    (list[int] | None, "[1, 2]"),
    (dict[str, int], "{a: 1}"),
    (str | Sequence[str], "[x, y]"),
    (Limits, "{low: 0.1}"),
    (Any, "{what: ever}"),
    (Net, "{class_path: cli_parts.DeepNet, init_args: {dim: 2}}"),
    (Net | None, "null"),
    (list[Net], "[{class_path: cli_parts.Net, init_args: {dim: 2}}]"),
    (Iterable[Net] | bool, "false"),
    (dict[str, Net], "{a: {class_path: cli_parts.Net, init_args: {dim: 2}}}"),
    (Callable[[int], Norm], "{class_path: cli_parts.Norm, init_args: {eps: 1e-6}}"),
    (Callable[[int], Norm], "cli_parts.Norm"),
    (Callable[[float], float], "{class_path: cli_parts.Decay, init_args: {start: 0.5}}"),
    (Callable[[float], float], "cli_parts.constant"),
    (Callable[[float], float] | float, "0.3"),
    (OptimizerCallable, "{class_path: torch.optim.SGD, init_args: {lr: 0.1}}"),
    (LRSchedulerCallable, "{class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 3}}"),
]


@pytest.mark.parametrize(("annotation", "text"), SOUND, ids=str)
def test_sound_values_pass(annotation: Any, text: str) -> None:
    assert check_value(read_yaml(text, name="f"), annotation, key="k") == []


FAULTY: list[tuple[Any, str, str]] = [
    (int, "null", "k: wrong type (value None), expected int"),
    (int | None, "x", "k: wrong type (value 'x'), expected int or null"),
    (Literal["a", "b"], "c", "k: wrong type (value 'c'), expected 'a' or 'b'"),
    (tuple[float, float], "[1, x]", "k[1]: wrong type (value 'x'), expected float"),
    (list[int], "[1, x]", "k[1]: wrong type (value 'x'), expected int"),
    (dict[str, int], "{a: x}", "k.a: wrong type (value 'x'), expected int"),
    (Limits, "{lo: 1}", "k.lo: unknown option (value 1), did you mean low?"),
    (Limits, "{low: x}", "k.low: wrong type (value 'x'), expected float"),
    (list[Net], "[{class_path: cli_parts.Net}]", "k[0].init_args.dim: missing: cli_parts.Net needs it (int)"),
    (Net, "{init_args: {dim: 2}}", "k: no class is named, expected class_path of Net"),
    (Net, "{class_path: 3}", "k.class_path: must be a dotted name (value 3)"),
    (Net, "{class_path: cli_parts.Net, dim: 2}", "k.dim: unknown key beside class_path (value 2): put it in init_args"),
    (Net, "{class_path: cli_parts.Net, init_args: [2]}", "k.init_args: must be a mapping of arguments"),
    (Callable[[int], Norm], "{class_path: cli_parts.Norm, init_args: {dim: 3}}", "k.init_args.dim: unknown option"),
    (
        Callable[[float], float],
        "{class_path: cli_parts.Limits}",
        "k.class_path: cli_parts.Limits is no class or function to call",
    ),
    (Callable[[float], float], "{class_path: cli_parts.Decay, init_args: {ende: 0.5}}", "did you mean end?"),
    (OptimizerCallable, "{class_path: torch.optim.SGD, init_args: {params: []}}", "k.init_args.params: unknown option"),
    (
        Any,
        "{class_path: cli_parts.Net, init_args: {dmi: 2}}",
        "k.init_args.dmi: unknown option (value 2), did you mean dim?",
    ),
]


@pytest.mark.parametrize(("annotation", "text", "line"), FAULTY, ids=str)
def test_faulty_values_are_told(annotation: Any, text: str, line: str) -> None:
    assert line in str(check_value(read_yaml(text, name="f"), annotation, key="k")[0])


def test_annotations_are_described_in_words() -> None:
    assert str(allowed(float | Net | None)) == "float or class_path of Net or null"
    assert str(allowed(Callable[[int], Norm])) == "class_path of Norm (called with 1 more)"
    assert str(allowed(Callable[[float], float])) == "class_path of something to call"
