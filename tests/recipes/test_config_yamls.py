"""Every YAML of the repository: it parses, is what its golden file says, and its folder stays data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from galley_runs import assert_golden, galley

from recipes.config.compose import compose
from recipes.config.files import REPOSITORY, YAML_FOLDER, header, overlays, runnable_yamls
from recipes.config.run_check import check_run

RUNNABLE = [path.relative_to(REPOSITORY).as_posix() for path in runnable_yamls()]
OVERLAYS = [path.relative_to(REPOSITORY).as_posix() for path in overlays()]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", RUNNABLE)
def test_recipe_equals_its_golden_resolved_config(name: str, capsys: Capture) -> None:
    code, out, err = galley(capsys, "fit", "-c", name, "--print_config")
    assert (code, err) == (0, [])
    text = "".join(line + "\n" for line in out.splitlines() if not line.startswith("#"))
    assert_golden(name.removeprefix("yaml/").replace("/", "-"), text)


@pytest.mark.parametrize("name", RUNNABLE)
def test_recipe_header_answers_what_a_user_asks(name: str) -> None:
    assert {"What", "Run", "Change", "Limits"} <= set(header(REPOSITORY / name))
    assert f"-c {name}" in header(REPOSITORY / name)["Run"]


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name.startswith("yaml/_")])
def test_overlay_lies_over_every_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.config.classes.find_spec", lambda package: object())  # trackers need not be installed
    for recipe in RUNNABLE:
        composed = compose(["-c", recipe, "-c", name])
        problems = [p for p in composed.problems + check_run(composed.tree, "fit") if not p.key.endswith("save_dir")]
        assert problems == []
    assert {"What", "Use", "Needs", "Limits"} <= set(header(REPOSITORY / name))


@pytest.mark.parametrize("name", [name for name in OVERLAYS if not name.startswith("yaml/_")])
def test_family_overlay_lies_over_its_family(name: str) -> None:
    family = [recipe for recipe in RUNNABLE if Path(recipe).parts[1] == Path(name).parts[1]]
    assert family
    for recipe in family:
        composed = compose(["-c", recipe, "-c", name])
        assert composed.problems + check_run(composed.tree, "fit") == []
    assert {"What", "Use", "Needs", "Limits"} <= set(header(REPOSITORY / name))
    assert f"-c {name}" in header(REPOSITORY / name)["Use"]


def test_overlays_that_the_command_line_promises_are_there() -> None:
    promised = {
        "_trainer": ("cpu", "gpu", "ddp", "fsdp", "slurm"),
        "_logger": ("csv", "tensorboard", "wandb", "mlflow"),
        "_debug": ("overfit", "profile"),
    }
    names = {f"yaml/{folder}/{name}.yaml" for folder, entries in promised.items() for name in entries}
    assert names <= set(OVERLAYS)


def test_every_class_is_named_by_its_public_path() -> None:
    """Stored in checkpoints: `modules.encoder.MosaicBert`, never the file it happens to stand in."""
    for path in [*runnable_yamls(), *overlays()]:
        for line in path.read_text().splitlines():
            if "class_path:" in line and not line.lstrip().startswith("#"):
                named = line.split("class_path:")[1].strip(" {}").split(",")[0].strip(" }")
                assert named.rsplit(".", 1)[-1][0].isupper() or "." in named, f"{path}: {named}"


def test_editors_find_the_schema() -> None:
    """Where `galley schema` writes it."""
    (mapped,) = json.loads((REPOSITORY / ".vscode" / "settings.json").read_text())["yaml.schemas"].items()
    assert mapped == ("./galley.schema.json", "/yaml/**/*.yaml")


def test_yaml_is_still_pyyaml() -> None:
    """One Python file in `yaml/` would make it a package that hides PyYAML."""
    assert "site-packages" in Path(str(yaml.__file__)).parts
    assert list(YAML_FOLDER.rglob("*.py")) == []
