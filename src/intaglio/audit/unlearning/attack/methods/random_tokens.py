"""random-tokens: random tokens before the prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate, Outcome, check_prefix
from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class RandomTokens(UnlearnAttack):
    """Random tokens: other tokens stand before the prompt at each try, by the same noise.

    They are drawn evenly from the vocabulary but for those that frame a prompt. It says how much of a search for tokens
    is due to the search, and how much to many tries.

    Source: the baseline of Zhang et al., arXiv 2310.11868.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "with random tokens before the prompt"

    tokens: int = 3
    """Tokens before the prompt, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tokens >= 1, f"tokens must be at least 1, not {self.tokens}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str], original: LatentDiffusion | None) -> None:
        """Raises `BadInput` for a model, or prompts, before which the tokens do not fit."""
        super().check(model, prompts, original)
        check_prefix(model, prompts, self.tokens)

    def attack(self, scene: AttackScene, run: Run) -> Outcome:
        """One draw of tokens after the other."""

        def candidates() -> Iterator[Candidate]:
            for number in range(self.tries):
                source = generator(self.seed, self.name, scene.prompt, number)
                places = torch.randint(len(scene.vocabulary), (self.tokens,), generator=source)
                yield Candidate(tuple(scene.vocabulary[place] for place in places.tolist()), scene.own_seed)

        return scene.first_success(candidates(), self.batch)
