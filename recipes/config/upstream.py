"""Where the command line leans on, or goes around, the inside of jsonargparse and Lightning, each with its reason.

`tests/recipes/test_config_upstream.py` has a test for each that notices when the reason is gone. What else of
Lightning's inside is used stands where it is needed: `recipes/hyperparameters.py`, `datamodules/devices.py`.
"""

from __future__ import annotations

import logging
import sys
import warnings
from functools import cache
from typing import Any, NoReturn

import jsonargparse
from jsonargparse._completions_jsonschema import ParserJsonschema, anyof_schema
from jsonargparse._parameter_resolvers import ParamData, get_signature_parameters
from jsonargparse._typehints import get_all_subclass_paths
from lightning.pytorch.cli import LightningArgumentParser

from recipes.config.debugging import debugging
from recipes.config.problems import ConfigError, Problem


@cache
def parameters(callable_: Any, method: str | None = None) -> dict[str, ParamData]:
    """Parameters of a class, of one of its methods or of a function, those that `**kwargs` passes on included.

    jsonargparse has no public function for what it will accept itself.
    """
    found = get_signature_parameters(callable_, method, logger=False)
    return {p.name: p for p in found if p.kind not in (p.kind.VAR_POSITIONAL, p.kind.VAR_KEYWORD)}  # type: ignore[union-attr]


def accepts_value(annotation: Any, value: Any) -> bool:
    """Whether jsonargparse takes a plain value for an annotation."""
    try:
        _leaf_parser(annotation).parse_object({"value": value})
    except jsonargparse.ArgumentError:
        return False
    return True


@cache
def _leaf_parser(annotation: Any) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=annotation)
    return parser


class Parser(LightningArgumentParser):
    """Lightning's parser without its usage dump: what the pre-check let through and parsing refuses becomes one line.

    LightningArgumentParser prints 70 lines of usage and a nested list of union members around the cause.
    """

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the cause as a `ConfigError`."""
        if debugging():
            raise jsonargparse.ArgumentError(None, message) from ex
        raise ConfigError([Problem("", "", _cause(message))]) from ex


def _cause(message: str) -> str:
    """The innermost line of a nested parser message that says something."""
    lines = [line.strip(" -\t") for line in message.splitlines()]
    noise = ("Does not validate against", "Expected a <class 'NoneType'>", "Given value type", "Subtypes:", "Errors:")
    useful = [line for line in lines if line and not line.startswith(noise)]
    return " ".join(useful)


def constructor_error(error: BaseException) -> BaseException:
    """What a constructor raised, out of the error that the parser wraps around it for every member of a union."""
    while "Does not validate against" in str(error) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def _can_be_imported(class_path: str) -> bool:
    """Not so for classes made in a function, nor for the optimizers that a Trainer has wrapped in this process."""
    module, _, name = class_path.rpartition(".")
    return hasattr(sys.modules.get(module), name)


class ConfigSchema(ParserJsonschema):
    """The JSON Schema of a parser, where jsonargparse's own fails or says too little."""

    def subclass_def(self, class_type: type, action: Any) -> dict[str, Any]:
        """All known subclasses. `type.__subclasses__` is unbound and raises TypeError (met through `ABCMeta`)."""
        try:
            paths = get_all_subclass_paths(class_type)
        except TypeError:
            paths = []
        known = [self.class_path_schema(path, action) for path in paths if _can_be_imported(path)]
        schema: dict[str, Any] = anyof_schema([{"type": "string"}, *(known or [self.unknown_class_path_schema()])])
        return schema

    def callable_schema(self, typehint: Any, action: Any) -> dict[str, Any]:
        """A function, a class to be called, or an object that can be called: the last is left out by jsonargparse."""
        schemas = [super().callable_schema(typehint, action), self.unknown_class_path_schema()]
        schema: dict[str, Any] = anyof_schema(schemas if "anyOf" not in schemas[0] else schemas[:1])
        return schema


def silence_tips() -> None:
    """Take out of Lightning's output what tells a user nothing: advertisements, and warnings of its own making."""
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # A resumed run has checkpoints already, and one that only evaluates a checkpoint has a folder of its own.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message="The dirpath has changed from")
    warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")  # predictions name their documents
    warnings.filterwarnings("ignore", message="You requested to overfit but enabled")  # the stream shuffles by itself
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")  # recipes reduce over ranks first
    warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")  # a prediction has its own number
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").addFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(word in text for word in ("litlogger", "litmodels", "`weights_only` was not set"))
