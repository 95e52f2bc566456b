"""This package's own ways to a causal graph, as the bench asks them."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def sicl(frame: "pandas.DataFrame", kinds: Mapping[str, str], model: str) -> Any:
    """The `Discovery` of SiCL with one of the networks of the package, which stays loaded from call to call."""
    return _loaded(model)(frame, kinds=kinds)


@cache
def _loaded(model: str) -> Any:
    from intaglio.causal.sicl import SiCL  # pyright: ignore[reportMissingImports]

    return SiCL(model=model)
