"""This package's own ways to a causal graph, as the bench asks them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def sicl(frame: "pandas.DataFrame", kinds: Mapping[str, str], model: str) -> Any:
    """The `Discovery` of SiCL with one of the networks of the package; reading its weights is part of the call."""
    from intaglio.causal.sicl import SiCL

    return SiCL(model=model)(frame, kinds=kinds)
