"""Where we lean on, or go around, the inside of jsonargparse and Lightning: all of it, each with its reason.

`tests/recipes/test_config_upstream.py` has a test for each that notices when the reason is gone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

import jsonargparse
from jsonargparse import _completions_jsonschema, _typehints
from jsonargparse._parameter_resolvers import ParamData, get_signature_parameters
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


WRAPPED_OPTIMIZERS = "lightning.pytorch.core.optimizer.Lightning"


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


@contextmanager
def schema_of_any_class() -> Iterator[None]:
    """Lets the JSON Schema be made of a parser that has `type[...]` or `Any` members.

    `type.__subclasses__` is not bound there and raises TypeError (jsonargparse 4.53, seen through `abc.ABCMeta`). Where
    a Trainer has run in this process, its wrapped optimizers are subclasses that cannot be imported.
    """
    original = _typehints.get_all_subclass_paths

    def tolerant(*args: Any, **kwargs: Any) -> list[str]:
        try:
            return [path for path in original(*args, **kwargs) if not path.startswith(WRAPPED_OPTIMIZERS)]
        except TypeError:
            return []

    _completions_jsonschema.get_all_subclass_paths = tolerant
    try:
        yield
    finally:
        _completions_jsonschema.get_all_subclass_paths = original


def silence_tips() -> None:
    """Take out of Lightning's output what tells a user nothing: advertisements and a deprecation of its own making."""
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(word in text for word in ("litlogger", "litmodels"))
