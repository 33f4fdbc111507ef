"""Composing a configuration: order, places, appending, short forms, swapped classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from galley_runs import write

from recipes.config.compose import compose
from recipes.config.tree import read_value, read_yaml


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_last_source_wins_from_left_to_right() -> None:
    a = write("a.yaml", "trainer: {max_steps: 1, devices: 1}\n")
    b = write("b.yaml", "trainer: {max_steps: 2}\n")
    assert compose(["-c", a, "-c", b]).tree.plain() == {"trainer": {"max_steps": 2, "devices": 1}}
    assert compose(["-c", b, "-c", a]).tree.plain()["trainer"]["max_steps"] == 1
    assert compose(["-c", a, "--trainer.max_steps=3", "-c", b]).tree.plain()["trainer"]["max_steps"] == 2
    assert compose([f"--config={a}", "--trainer.max_steps", "-1"]).tree.plain()["trainer"]["max_steps"] == -1


def test_every_value_knows_its_line() -> None:
    tree = read_yaml("a: 1\nb:\n  c:\n    - x\n    - y: 2\n", name="f.yaml")
    assert tree.value["a"].source == "f.yaml:1"
    assert tree.value["b"].value["c"].source == "f.yaml:3"
    assert tree.value["b"].value["c"].value[1].value["y"].source == "f.yaml:5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("2e4", 2e4),
        ("17", 17),
        ("true", True),
        ("null", None),
        ("2020-01-01", "2020-01-01"),
        ("00:12:00:00", "00:12:00:00"),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("a: b: c", "a: b: c"),
        ("[", "["),
        ("", None),
    ],
)
def test_values_of_the_command_line(text: str, value: object) -> None:
    node = read_value(text)
    assert node.plain() == value
    assert type(node.plain()) is type(value)
    assert node.text == text


def test_append_keeps_what_is_there() -> None:
    a = write("a.yaml", "trainer: {callbacks: [A]}\n")
    b = write("b.yaml", "trainer: {callbacks+: [B, C]}\n")
    composed = compose(["-c", a, "-c", b, "--trainer.callbacks+=D"])
    assert composed.tree.plain() == {"trainer": {"callbacks": ["A", "B", "C", "D"]}}
    assert compose(["-c", b]).tree.plain() == {"trainer": {"callbacks": ["B", "C"]}}
    assert compose(["-c", a, "-c", write("c.yaml", "trainer: {callbacks: [E]}\n")]).tree.plain()["trainer"] == {
        "callbacks": ["E"]
    }


@pytest.mark.parametrize("text", ["accelerator: cpu\n", "trainer:\n  accelerator: cpu\n"])
def test_a_section_in_another_file_is_found_from_the_file_that_names_it(text: str) -> None:
    write("overlays/cpu.yaml", text)
    name = write("family/recipe.yaml", "trainer: ../overlays/cpu.yaml\n")
    tree = compose(["-c", name, "--trainer.devices=2"]).tree
    assert tree.plain() == {"trainer": {"accelerator": "cpu", "devices": 2}}
    assert tree.value["trainer"].value["accelerator"].source.startswith("family/../overlays/cpu.yaml:")


CLASSES = "model: {class_path: M, init_args: {net: {class_path: N, init_args: {dim: 1}}}}\n"


def test_short_forms_enter_the_arguments_of_classes() -> None:
    name = write("a.yaml", CLASSES)
    full = compose(["-c", name, "--model.init_args.net.init_args.dim=2", "--model.init_args.x=3"]).tree.plain()
    assert compose(["-c", name, "--model.net.dim=2", "--model.x=3"]).tree.plain() == full
    assert full["model"]["init_args"] == {"net": {"class_path": "N", "init_args": {"dim": 2}}, "x": 3}


def test_a_class_named_by_a_string_takes_arguments() -> None:
    composed = compose(["--model=M", "--model.a=1"])
    assert composed.tree.plain() == {"model": {"class_path": "M", "init_args": {"a": 1}}}


@pytest.mark.parametrize("swap", [["--model.net.class_path=O"], ["--model.net=O"], ["-c", "swap.yaml"]])
def test_arguments_of_a_swapped_class_are_dropped_and_told(swap: list[str]) -> None:
    write("swap.yaml", "model: {init_args: {net: {class_path: O}}}\n")
    composed = compose(["-c", write("a.yaml", CLASSES), *swap])
    assert composed.tree.plain()["model"]["init_args"]["net"] == {"class_path": "O"}
    (notice,) = composed.notices
    place = "swap.yaml:1" if swap[0] == "-c" else "command line"
    assert notice.startswith(f"{place}: model.init_args.net: O replaces N; not carried over: dim=1 (a.yaml:1).")


def test_the_same_class_again_keeps_its_arguments() -> None:
    composed = compose(["-c", write("a.yaml", CLASSES), "--model.net.class_path=N", "--model.net=N"])
    assert composed.tree.plain()["model"]["init_args"]["net"] == {"class_path": "N", "init_args": {"dim": 1}}
    assert composed.notices == []


def test_anchors_and_merge_keys_work() -> None:
    name = write("a.yaml", "model: &m {class_path: M}\ndata: {<<: *m, init_args: {a: 1}}\n")
    assert compose(["-c", name]).tree.plain()["data"] == {"class_path": "M", "init_args": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a: given twice, first at f.yaml:1: remove one"),
        ("a: [1\nb: 2\n", "f.yaml:2: not valid YAML: expected ',' or ']', but got ':'"),
        ("- a\n", "f.yaml:1: must be a mapping with keys such as trainer, model, data"),
        ("trainer: no.yaml\n", "f.yaml:1: trainer: no such file: no.yaml"),
    ],
)
def test_faults_of_a_file_name_the_line(text: str, line: str) -> None:
    composed = compose(["-c", write("f.yaml", text)])
    assert [str(problem) for problem in composed.problems] == [line]
    assert not composed.complete


def test_faults_of_the_words_are_all_reported() -> None:
    problems = compose(["-c", "yaml/_trainer/cpu.yml", "--trainer.devices", "--seed_everything=1", "stray"]).problems
    assert [str(problem) for problem in problems][1:] == [
        "command line: trainer.devices: needs a value: write --key=value",
        "command line: unexpected word 'stray': options are written --key=value, files -c FILE",
    ]
    assert str(problems[0]).startswith("command line: -c yaml/_trainer/cpu.yml: no such file, neither here nor in ")
    assert str(problems[0]).endswith("did you mean yaml/_trainer/cpu.yaml?")


def test_only_what_the_new_class_lacks_is_told() -> None:
    adamw = "model: {class_path: M, init_args: {optimizer: {class_path: torch.optim.AdamW, init_args: "
    below = write("a.yaml", adamw + "{lr: 1.0, weight_decay: 0.1, betas: [0.9, 0.98], amsgrad: true}}}}\n")
    swap = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.5"]
    (notice,) = compose(["-c", below, *swap]).notices
    assert "not carried over: weight_decay=0.1 (a.yaml:1). State" in notice
    assert compose(["-c", below, *swap, "--model.optimizer.weight_decay=0.0"]).notices == []


@pytest.mark.parametrize("recipe", ["tiny", "base"])
def test_the_usual_overlay_says_nothing(recipe: str) -> None:
    assert compose(["-c", f"yaml/mosaicbert/{recipe}.yaml", "-c", "yaml/mosaicbert/_tiny.yaml"]).notices == []
