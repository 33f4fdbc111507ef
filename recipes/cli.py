"""`galley fit|validate|test|predict`: LightningCLI in subclass mode, behind a check of the whole configuration.

Try: galley fit -c yaml/mosaicbert/tiny.yaml (CPU, under three minutes).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from callbacks import MetricsCsv, RandomState, RunFolder
from callbacks.finite_loss import NonFiniteLossError
from recipes.config.checkpoints import ModelInCheckpoint, check_checkpoint
from recipes.config.compose import Composed, compose
from recipes.config.debugging import debugging
from recipes.config.exports import import_exported
from recipes.config.files import REPOSITORY
from recipes.config.problems import ConfigError, Problem
from recipes.config.run_check import check_machine, check_run
from recipes.config.run_loggers import open_save_dirs
from recipes.config.settle import settle
from recipes.config.told import told
from recipes.config.tree import Node
from recipes.config.upstream import Parser, silence_tips
from recipes.run.announce import announce_choices
from recipes.run.checkpoint_io import AtomicCheckpointIO
from recipes.run.folder import new_run_folder, recipe_name

ConfigCheck = Callable[[dict[str, Any]], list[str]]
"""From the resolved configuration, plain, to the reasons not to run it."""
SIGTERM_CODE = 143
"""What a shell and a scheduler understand as ended by SIGTERM: 128 + 15."""


class GalleyCLI(LightningCLI):
    """LightningCLI for a configuration that has been composed and checked; runs it in a folder of its own.

    Args:
        args: {"subcommand": name, name: configuration}, or words that ask for help.
        tree: The configuration as written, for the places of its values.
        run_folder: Where the run writes; None on the ranks that learn it from rank 0.
        ckpt_path: Go on from this checkpoint, whose hyper-parameters are known to fit.
        check_config: Receives the resolved configuration; what it returns are reasons not to run.
        print_only: Print the resolved configuration instead of running it.
    """

    def __init__(
        self,
        args: dict[str, Any] | list[str],
        *,
        tree: Node,
        run_folder: Path | None = None,
        ckpt_path: str | None = None,
        check_config: ConfigCheck | None = None,
        print_only: bool = False,
    ) -> None:
        self.tree = tree
        self.run_folder = run_folder
        self.ckpt_path = ckpt_path
        self.check_config = check_config
        self.print_only = print_only
        super().__init__(
            args=args,
            save_config_callback=None,  # `RunFolder` writes the configuration
            parser_class=Parser,
            trainer_defaults={"max_epochs": -1},  # streams have no end; Lightning would speak of 1000 epochs
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without Lightning's warning that `sys.argv` is there as well: `args` stems from it."""
        self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Refuse a checkpoint of another model, where Lightning lets it win over YAML and command line (#21455)."""
        configuration = self.config[self.config.subcommand]
        if self.ckpt_path is not None:
            configuration["ckpt_path"] = self.ckpt_path
        elif configuration.get("ckpt_path"):
            model = yaml.safe_load(self._dump(self.config.subcommand))["model"]
            training = self.config.subcommand == "fit"
            problems = check_checkpoint(Path(configuration["ckpt_path"]), model, self.tree, training=training)
            if problems:
                raise ConfigError(problems)

    def resolved_config(self) -> str:
        """The configuration with all its defaults, as a flat YAML that `-c` takes again.

        The checkpoint that `galley resume` goes on from is no part of it: it belongs to one launch, not to the run.
        """
        assert self.subcommand is not None
        return self._dump(self.subcommand)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; a mistake of the user that shows only now (a damaged store, say) is told like the others.

        A loss that is not finite is none, but its message says all: exit code 1 without a traceback.
        """
        try:
            with told(self.tree, building=False):
                super()._run_subcommand(subcommand)
        except NonFiniteLossError as error:
            if debugging():
                raise
            print(error, file=sys.stderr)
            raise SystemExit(1) from error

    def _dump(self, subcommand: str) -> str:
        configuration = self.config[subcommand].clone()
        if self.ckpt_path is not None:
            configuration["ckpt_path"] = None
        return self._parser(subcommand).dump(configuration, skip_none=False)

    def before_instantiate_classes(self) -> None:
        """Let the caller refuse the resolved configuration; stop here where only that was asked for."""
        refused = self.check_config(yaml.safe_load(self.resolved_config())) if self.check_config else []
        if refused:
            raise ConfigError([Problem("", "", message) for message in refused])
        if self.print_only:
            print(self.resolved_config(), end="")
            raise SystemExit(0)

    def instantiate_classes(self) -> None:
        """Build model, data and Trainer; what refuses its arguments is told with its place in the configuration."""
        with told(self.tree, building=True):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the Trainer with what every run has: its folder, its metrics, checkpoints that are whole or absent."""
        folder = self.run_folder or Path()
        trainer = self._get(self.config_init, "trainer")
        config = self.resolved_config()
        every_run = [
            RunFolder(folder, config=config),
            RandomState(),
            ModelInCheckpoint(yaml.safe_load(config)["model"]),
        ]
        added = {
            "callbacks": [*_listed(trainer["callbacks"]), *every_run],
            "logger": [MetricsCsv(folder), *_listed(trainer["logger"])],  # checkpoints lie beside the first one's files
            "plugins": [*_listed(trainer["plugins"]), AtomicCheckpointIO()],
            "default_root_dir": str(folder),
        }
        return super().instantiate_trainer(**added, **kwargs)


def run_cli(
    argv: list[str],
    *,
    run_folder: Path | None = None,
    ckpt_path: str | None = None,
    check_config: ConfigCheck | None = None,
) -> GalleyCLI:
    """Compose, check and run a configuration.

    Args:
        argv: The subcommand and its options, such as `["fit", "-c", "yaml/mosaicbert/tiny.yaml"]`.
        run_folder: Go on in this folder instead of making a new one.
        ckpt_path: Go on from this checkpoint; the caller answers for its fitting the configuration.
        check_config: Called with the resolved configuration before anything is built; returns reasons not to run.

    Returns:
        The command line after its run.

    Raises:
        ConfigError: The configuration cannot be run; it holds all faults.
        SystemExit: With 143 after SIGTERM; with 0 after help or the resolved configuration was printed as asked.
    """
    subcommand, *options = argv
    questions = [word for word in options if _is_question(word)]
    if questions:
        import_exported()  # help knows only the classes that are imported
        GalleyCLI([subcommand, *questions], tree=Node({}, ""))
    print_only = "--print_config" in options
    composed = compose([word for word in options if word != "--print_config"])
    save_dirs = open_save_dirs(composed.tree)
    _check(composed, subcommand, runs=not print_only)
    settle(composed.tree)
    silence_tips()
    announce_choices()
    with _folder(composed, run_folder, make=not print_only and _is_rank_zero()) as folder:
        for node in save_dirs:
            node.value = str(folder or Path())
        cli = GalleyCLI(
            {"subcommand": subcommand, subcommand: composed.tree.plain()},
            tree=composed.tree,
            run_folder=folder,
            ckpt_path=ckpt_path,
            check_config=check_config,
            print_only=print_only,
        )
    if cli.trainer.received_sigterm:
        raise SystemExit(SIGTERM_CODE)
    return cli


@contextmanager
def _folder(composed: Composed, given: Path | None, *, make: bool) -> Iterator[Path | None]:
    """The folder of a run; a new one that nothing was written to is taken away again after an error."""
    made = new_run_folder(recipe_name(composed.files, REPOSITORY)) if given is None and make else None
    try:
        yield given or made
    except SIGTERMException as stop:
        raise SystemExit(SIGTERM_CODE) from stop  # Lightning exits with 0, which a scheduler takes for done (#21623)
    finally:
        if made is not None and not any(made.iterdir()):
            made.rmdir()


def _is_question(word: str) -> bool:
    return word in ("-h", "--help") or word.partition("=")[0].endswith(".help")


def _is_rank_zero() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0  # from the environment that the launcher has set


def _check(composed: Composed, subcommand: str, *, runs: bool) -> None:
    problems = list(composed.problems)
    if composed.complete:
        problems += check_run(composed.tree, subcommand) + (check_machine(composed.tree) if runs else [])
    if problems:
        raise ConfigError(problems)
    if _is_rank_zero():
        for notice in composed.notices:
            print(notice, file=sys.stderr)


def _listed(value: Any) -> list[Any]:
    """One, several or none (null, true, false) as a list."""
    return value if isinstance(value, list) else [] if value is None or isinstance(value, bool) else [value]
