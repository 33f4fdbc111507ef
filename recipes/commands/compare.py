"""Compare few-shot runs on the same tasks: galley compare RUN RUN [RUN ...] [--split val|test]."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.commands._arguments import OneLineParser, parse, run

if TYPE_CHECKING:
    from torch import Tensor

    from modules.contracts import Estimate
    from recipes.commands._score_files import ScoreFile, Scores

COLUMNS = {"log_loss": "log-loss", "nll": "NLL", "crps": "CRPS", "rmse": "RMSE", "coverage_90": "90 % coverage"}
"""Scores of the table, with their headings; those that no run has are left out."""


def main(argv: list[str]) -> int:
    """Prints how runs were launched, their means and standard errors over tasks, and the differences to the first one.

    Differences are paired: task by task, so that what makes a task hard for everybody cancels.

    Returns:
        Exit code: 0, or 2 after a mistake that one line on stderr explains.
    """
    return run("galley compare", _compare, argv)


def _compare(argv: list[str]) -> None:
    from recipes.commands._score_files import read_scores

    parser = OneLineParser(prog="galley compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders; differences are to the first")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="which tasks (default: %(default)s)")
    arguments = parse(parser, argv)
    if len(arguments.runs) < 2:
        raise ValueError(f"two runs or more can be compared, not {len(arguments.runs)}")
    files = {str(folder): read_scores(folder, arguments.split) for folder in arguments.runs}
    if len(files) < len(arguments.runs):
        raise ValueError("the same run is named twice")
    _check_same_tasks(files, arguments.split)
    sizes = sorted({support for support, _ in next(iter(files.values()))})
    launches = [line for folder in arguments.runs for line in _launch(folder)]
    if launches:
        print("\n".join(launches), end="\n\n")
    print("\n\n".join(_table(files, support) for support in sizes))


def _launch(folder: Path) -> list[str]:
    """The command of a run, which tells more than the time in its name; nothing where no command line has made it."""
    path = folder / "command.txt"
    if not path.is_file():
        return []
    program, *words = shlex.split(path.read_text().splitlines()[0])
    return [f"{folder}: {shlex.join([Path(program).name, *words])}"]


def _check_same_tasks(files: dict[str, ScoreFile], split: str) -> None:
    """Refuse runs that were scored on different tasks: their differences would mean nothing."""
    way_out = (
        "score both with the same data.init_args.test_support"
        if split == "test"
        else "validation has as many as training; compare tests instead: galley test with the same "
        "data.init_args.test_support"
    )
    (first, reference), *others = files.items()
    wanted = {support: scores.digests for (support, who), scores in reference.items() if who == "model"}
    for name, file in others:
        found = {support: scores.digests for (support, who), scores in file.items() if who == "model"}
        if found.keys() != wanted.keys():
            raise ValueError(
                f"{name} has tasks of {_listed(file)} support points, {first} of {_listed(reference)}: {way_out}"
            )
        for support, digests in wanted.items():
            if found[support] != digests:
                raise ValueError(
                    f"{name} was scored on other tasks than {first} ({support} support points): "
                    "both need the same data, save for data.init_args.seed and what concerns training alone"
                )


def _listed(file: ScoreFile) -> str:
    ranges = sorted({(scores.least_support, support) for (support, _), scores in file.items()})
    return ", ".join(f"{most}" if least == most else f"{least} to {most}" for least, most in ranges)


def _table(files: dict[str, ScoreFile], support: int) -> str:
    from modules.scores import support_title

    models = {name: file[support, "model"] for name, file in files.items()}
    oracles = [file[support, "oracle"] for file in files.values() if (support, "oracle") in file]
    rows = {name: _estimates(scores) for name, scores in models.items()}
    if oracles:
        rows["oracle"] = _estimates(oracles[0])
    (first, reference), *others = models.items()
    differences = {f"{name} - first": _differences(scores, reference) for name, scores in others}
    if oracles:
        differences["first - oracle"] = _differences(reference, oracles[0])
    columns = [name for name in COLUMNS if any(name in row for row in rows.values())]
    size = support_title(reference.least_support, support)
    title = f"{len(reference.digests)} tasks, {size}: mean +- standard error over tasks"
    paired = f"paired differences (first: {first}; negative is better, but for coverage)"
    return "\n".join([title, *_lines(rows, columns), "", paired, *_lines(differences, columns)])


def _estimates(scores: Scores) -> dict[str, Estimate]:
    """Means over tasks: the difference to nothing."""
    from modules.contracts import Estimate
    from modules.scores import paired_differences

    nothing = {name: value.new_zeros(value.shape) for name, value in scores.values.items()}
    found = paired_differences(scores.values, nothing)
    mean, error = found["squared_error"]
    return found | {"rmse": Estimate(mean.sqrt(), error / (2 * mean.sqrt()))}  # delta method


def _differences(scores: Scores, reference: Scores) -> dict[str, Estimate]:
    """Paired differences; that of two RMSEs by the delta method."""
    from modules.contracts import Estimate
    from modules.scores import paired_differences

    found = paired_differences(scores.values, reference.values)
    own, other = (_root_mean(each.values["squared_error"]) for each in (scores, reference))
    scaled = {"e": scores.values["squared_error"] / (2 * own)}, {"e": reference.values["squared_error"] / (2 * other)}
    return found | {"rmse": Estimate(own - other, paired_differences(*scaled)["e"].error)}


def _root_mean(squares: Tensor) -> Tensor:
    return squares.mean().sqrt()


def _lines(rows: dict[str, dict[str, Estimate]], columns: list[str]) -> list[str]:
    width = max(map(len, rows), default=0)
    header = " " * width + "".join(f"{COLUMNS[name]:>20}" for name in columns)
    return [header] + [
        f"{name:<{width}}" + "".join(f"{_cell(row[column]) if column in row else '':>20}" for column in columns)
        for name, row in rows.items()
    ]


def _cell(estimate: Estimate) -> str:
    value, error = map(float, estimate)
    return "-" if value in (float("inf"), float("-inf")) or value != value else f"{value:.4f} +- {error:.4f}"
