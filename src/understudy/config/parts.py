"""Build objects from plain nodes: ``_target_`` names the constructor, the other keys are its arguments."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import ConfigError, InvalidInputError, UnderstudyError

TARGET = "_target_"
IGNORED = "_convert_"
"""A key of Hydra's own instantiation; here everything is plain data in any case."""
PACKAGE = "understudy."
_NO_TEXT = {"int": "a whole number", "float": "a number", "bool": "true or false"}
"""By annotation: what is wanted instead of a text."""
_LISTS = ("Sequence[", "list[", "tuple[", "Collection[", "Iterable[")


class PartBuilder:
    """Builds each different node once: equal nodes share one object, and so one copy of its weights."""

    def __init__(self) -> None:
        self._built: dict[str, object] = {}

    def __call__(self, node: object, where: str) -> Any:
        """Build a node and what is nested in it.

        Parameters
        ----------
        node : plain data
            A mapping with ``_target_`` becomes the object; ``_target_: null`` becomes None. Other mappings and lists
            are built entry by entry, everything else stays.
        where : str
            The node's key, for messages.

        Raises
        ------
        ConfigError
            A target outside understudy, one that does not exist, or arguments that it does not take.
        """
        if isinstance(node, list):
            return [self(entry, f"{where}[{i}]") for i, entry in enumerate(node)]
        if not isinstance(node, Mapping):
            return node
        if TARGET not in node:
            return {key: self(value, f"{where}.{key}") for key, value in node.items()}
        if node[TARGET] is None:
            return None
        digest = json.dumps(node, sort_keys=True, default=str)
        if digest not in self._built:
            self._built[digest] = self._construct(node, where)
        return self._built[digest]

    def _construct(self, node: Mapping[str, object], where: str) -> object:
        constructor = find_target(node[TARGET], where)
        arguments = {str(k): self(v, f"{where}.{k}") for k, v in node.items() if k not in {TARGET, IGNORED}}
        unset = [key for key, value in arguments.items() if value == "???"]
        if unset:
            raise ConfigError(f"{where}.{unset[0]} must be given: {where}.{unset[0]}=...")
        _check_arguments(constructor, arguments, where)
        try:
            return constructor(**arguments)
        except InvalidInputError as error:
            raise ConfigError(f"{where}: {error}") from error
        except UnderstudyError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where} cannot be built with these settings: {error}") from error


def find_target(target: object, where: str) -> Callable[..., object]:
    """The class or function that a ``_target_`` names, which must be understudy's own.

    Raises
    ------
    ConfigError
        The name lies outside understudy, leads out of it (a module that understudy imports), or does not exist.
    """
    name = str(target)
    if not name.startswith(PACKAGE):
        raise ConfigError(f"{where}.{TARGET} is {name!r}: only names under '{PACKAGE}' may be built from a config")
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        if isinstance(error, UnderstudyError):
            raise
        raise ConfigError(f"{where}.{TARGET} is {name!r}, which cannot be imported: {error}") from error
    if not (inspect.isclass(found) or inspect.isfunction(found)) or not found.__module__.startswith(PACKAGE):
        raise ConfigError(f"{where}.{TARGET} is {name!r}, which is no class or function of understudy")
    return found


def _check_arguments(constructor: Callable[..., object], arguments: Mapping[str, object], where: str) -> None:
    parameters = inspect.signature(constructor).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ConfigError(f"{where} has no setting called {unknown[0]!r}: it takes {', '.join(parameters)}")
    for name, value in arguments.items():
        _check_text(f"{where}.{name}", value, parameters[name].annotation)
    missing = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in arguments]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} must be given: {where}.{missing[0]}=...")


def _check_text(key: str, value: object, annotation: object) -> None:
    """Refuse a text where a number, yes or no, or a list is wanted."""
    if not isinstance(value, str):
        return
    wanted = str(annotation)
    if wanted in _NO_TEXT:
        raise ConfigError(f"{key} must be {_NO_TEXT[wanted]}, got {value!r}")
    if wanted.startswith(_LISTS):
        raise ConfigError(f"{key} takes a list, in brackets: {key}=[{value}]")
