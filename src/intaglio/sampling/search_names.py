"""Names of the searches of the initial noise, free of torch so that command lines can list them."""

from typing import Literal

SearchName = Literal["random", "zero-order"]
"""The keys of `intaglio.sampling.search.searches.SEARCHES`."""
