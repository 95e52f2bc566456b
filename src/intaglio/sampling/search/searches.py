"""Searches by the names of a command line."""

from collections.abc import Mapping

from intaglio.sampling.search.noise_search import NoiseSearch
from intaglio.sampling.search.random_search import RandomSearch
from intaglio.sampling.search.zero_order import ZeroOrderSearch

SEARCHES: Mapping[str, type[NoiseSearch]] = {found.name: found for found in (RandomSearch, ZeroOrderSearch)}
"""By the names of `SearchName`."""
