"""Flags of a search of the initial noise, and of what such a search leaves in a picture's settings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.idle_flags import idle_flags
from intaglio.commands.kit.png_settings import SearchRecord
from intaglio.commands.kit.recorded_method import without_folder
from intaglio.sampling.search_names import SearchName

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.search.best_noise import BestNoise
    from intaglio.sampling.search.noise_search import FoundNoise

NEIGHBOURHOOD = ("search_neighbours", "search_cosine")


@dataclass(frozen=True, kw_only=True)
class SearchInputs:
    """A command that may search the noise that pictures begin with."""

    search: SearchName | None = None
    """Search the noise that a picture begins with: whole pictures are drawn, and the one that a verifier scores highest
    is kept. random draws independent noises, zero-order neighbours of the best so far."""
    budget: int | None = None
    """With --search: calls of the denoiser for each picture, the verifier's included."""
    search_verifier: str = ""
    """With --search: what scores pictures; jpeg, colour:NAME, ink, like:FOLDER, denoiser, attributes, attributes:0,
    attributes:1 or scene."""
    search_neighbours: int = 4
    """With --search zero-order: neighbours of a round, 1 or more."""
    search_cosine: float = 0.95
    """With --search zero-order: cosine of a neighbour with the best so far, above -1 and below 1."""

    def check_search(self) -> None:
        """Raises `ValueError` for flags of a search that do not go together."""
        if self.search is None:
            if given := idle_flags(self, ("budget", "search_verifier", *NEIGHBOURHOOD)):
                raise ValueError(f"{' and '.join(given)} need --search; give random or zero-order")
            return
        if self.budget is None or not self.search_verifier:
            raise ValueError("--search needs --budget, calls for each picture, and --search-verifier, what scores them")
        if self.budget < 1:
            raise ValueError(f"--budget must be 1 or more, not {self.budget}")
        if self.search != "zero-order" and (given := idle_flags(self, NEIGHBOURHOOD)):
            raise ValueError(f"{' and '.join(given)} belong to --search zero-order")
        if self.search_neighbours < 1:
            raise ValueError(f"--search-neighbours must be 1 or more, not {self.search_neighbours}")
        if not -1 < self.search_cosine < 1:
            raise ValueError(f"--search-cosine must lie between -1 and 1, not {self.search_cosine}")

    def best_noise(self, model: "LatentDiffusion", prompts: Sequence[str]) -> "BestNoise | None":
        """The search, where there is one. Raises `BadInput` for a verifier that there is not."""
        from intaglio.sampling.search.best_noise import BestNoise
        from intaglio.sampling.search.searches import SEARCHES
        from intaglio.sampling.verifier_names import verifier_of

        if self.search is None or self.budget is None:
            return None
        search = SEARCHES[self.search](**self._search_settings)
        return BestNoise(search, verifier_of(self.search_verifier, model, prompts), self.budget)

    @property
    def _search_settings(self) -> dict[str, Any]:
        if self.search != "zero-order":
            return {}
        return {"neighbours": self.search_neighbours, "cosine": self.search_cosine}

    def search_key(self, best: "BestNoise | None") -> Mapping[str, Any] | None:
        """All of the search that the pictures depend on."""
        if best is None:
            return None
        return {"name": self.search, **self._search_settings, "budget": self.budget, "verifier": best.verifier.hash}

    def search_record(self, best: "BestNoise", found: "FoundNoise") -> SearchRecord:
        """The entry of a search in a picture's settings."""
        return SearchRecord(
            name=best.search.name,
            settings=asdict(best.search),
            path=found.path,
            verifier=without_folder(self.search_verifier),
            verifier_hash=best.verifier.hash,
            score=found.score if found.score > -float("inf") else None,
            budget=best.budget,
        )


def told_scores(scores: Sequence[tuple[float, float]], verifier: str, candidates: int) -> str:
    """A line on what searches found, from the score of each picture's own noise and that of the chosen one."""
    own, chosen = (sum(column) / len(scores) for column in zip(*scores, strict=True))
    return f"{verifier} scores the best of {candidates} candidates {chosen:.4g} on average, the first {own:.4g}"
