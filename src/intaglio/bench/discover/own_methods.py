"""This package's own ways to a causal graph, as the bench asks them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas


def sicl(
    frame: "pandas.DataFrame", kinds: Mapping[str, Any], model: str, threshold: float | Literal["f1"] = 0.5
) -> Any:
    """The `Discovery` of SiCL with one of the networks of the package; reading its weights is part of the call."""
    from intaglio.causal.methods.sicl.method import SiCL

    return SiCL(model=model, threshold=threshold)(frame, kinds=kinds)
