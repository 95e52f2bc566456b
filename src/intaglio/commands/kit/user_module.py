"""A model of the user's own program: a `torch.nn.Module` named by its file, and tensors of the shapes it takes."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.errors import BadInput, require

if TYPE_CHECKING:
    from torch import Tensor, nn

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")
RUN_AS = "module_of_the_user"
"""Name that the user's file is imported under."""
LARGEST = 2**31
"""Most numbers of an input."""


def shape_of(words: str) -> tuple[tuple[int, ...], str]:
    """Shape and type of an input from words such as `8x3x32x32` or `8x77:int64`. Raises `ValueError` for others."""
    sides, _, dtype = words.partition(":")
    sized = re.fullmatch(r"[1-9]\d{0,9}(x[1-9]\d{0,9})*", sides) is not None
    require(
        sized and (dtype or "float32") in DTYPES,
        f"inputs are sides of 1 or more, such as 8x3x32x32, or 8x77:int64 (types: {', '.join(DTYPES)}): {words}",
    )
    shape, numbers = tuple(map(int, sides.split("x"))), 1
    for side in shape:
        numbers *= side
    require(numbers <= LARGEST, f"inputs must hold at most {LARGEST} numbers: {words}")
    return shape, dtype or "float32"


def tensor_of(words: str) -> "Tensor":
    """A tensor of zeros of such a shape and type."""
    import torch

    shape, dtype = shape_of(words)
    return torch.zeros(shape, dtype=getattr(torch, dtype))


def split_name(named: str) -> tuple[Path, str]:
    """File and name of `FILE.py:NAME`. Raises `ValueError` for anything else."""
    path, _, name = named.rpartition(":")
    require(path.endswith(".py") and name.isidentifier(), f"module must be FILE.py:NAME, such as net.py:Net: {named}")
    return Path(path), name


def user_module(named: str) -> "nn.Module":
    """The module that a user's own file holds under a name, or that a function or class of that name gives.

    The file is run as a program, with all that it does.

    Raises:
        BadInput: no such file, a file that fails, no such name, or nothing that is or gives a module.
    """
    from torch import nn

    path, name = split_name(named)
    with _beside(path):
        held = _run(path)
        if not hasattr(held, name):
            raise BadInput(f"{path} has nothing named {name}; name a module, or a function or class that gives one")
        found = getattr(held, name)
        if not isinstance(found, nn.Module) and callable(found):
            found = _called(found, named)
    if not isinstance(found, nn.Module):
        raise BadInput(f"{named} is of {type(found).__name__} and no torch.nn.Module; name a module, or what gives one")
    return found


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Within the block, the file's folder is first where imports are looked for, as when Python runs the file."""
    folder = str(path.absolute().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.modules.pop(RUN_AS, None)


def _run(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give the file of your module as FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(RUN_AS, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} cannot be run as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[RUN_AS] = module  # where dataclasses and the like look for their annotations
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's own program raises
        raise BadInput(f"{path} fails when it is run: {_words(error)}") from error
    return module


def _called(gives: Any, named: str) -> Any:
    try:
        wanted = [p.name for p in inspect.signature(gives).parameters.values() if _is_needed(p)]
    except (TypeError, ValueError):  # some callables have no signature
        wanted = []
    if wanted:
        raise BadInput(f"{named} wants {', '.join(wanted)}; name a function without arguments that gives the module")
    try:
        return gives()
    except (Exception, SystemExit) as error:  # whatever the user's own program raises
        raise BadInput(f"{named} fails when it is called: {_words(error)}") from error


def _is_needed(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not variadic


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
