"""`AttackScene`: an unlearned model that is asked for a concept, by tokens before a prompt and by noise."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import sample_batches

Judge = Callable[[Float[Tensor, "n 3 h w"]], Bool[Tensor, "n"]]
"""Whether each of some pictures in [0, 1] shows the concept."""


class Candidate(NamedTuple):
    """A try: tokens that are put before the prompt, and the seed of the noise that the picture is drawn from."""

    ids: tuple[int, ...]
    """Of the tokenizer; none for the prompt itself."""
    seed: int


class Outcome(NamedTuple):
    """The tries at one prompt."""

    success: int | None
    """The first try, from 1, whose picture shows the concept; None where none does."""
    candidate: Candidate | None
    """That try; None where none is."""


@dataclass(frozen=True)
class TokenGuide:
    """Classifier-free guidance towards given text embeddings, in place of the prompt's."""

    positive: Conditioning
    """A row a picture of the batch."""
    scale: float

    def init(self, context: GuideContext) -> Conditioning:
        """That of classifier-free guidance, by these embeddings."""
        return ClassifierFree(self.scale).init(replace(context, positive=self.positive))

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        return ClassifierFree(self.scale).step(state, latents, t, predict)


@dataclass(frozen=True, eq=False)
class AttackScene:
    """One prompt of an unlearned model, and all that a try needs."""

    model: LatentDiffusion
    """Unlearned, frozen."""
    original: LatentDiffusion | None
    """The model that knew the concept, frozen, where the attack may ask it."""
    judge: Judge
    prompt: str
    seed: int
    """Of the attack."""
    steps: int
    """Of DDIM of a picture."""
    scale: float
    """Guidance scale of a picture."""

    @property
    def own_seed(self) -> int:
        """Seed of the noise of every try that searches for tokens alone."""
        return seed_32bit(self.seed, "attacked", self.prompt)

    @cached_property
    def vocabulary(self) -> list[int]:
        """The tokens that a try may put before the prompt: all but those that frame and fill."""
        tokenizer = self.model.tokenizers[0]
        special = set(tokenizer.all_special_ids)
        size = self.model.text_encoders[0].get_input_embeddings().weight.shape[0]
        return [one for one in range(size) if one not in special]

    def tokens(self, candidates: Sequence[Candidate]) -> list[Int[Tensor, "n l"]]:
        """The prompt's tokens with those of each candidate before them, for each text encoder."""
        plain = self.model.tokens([self.prompt])
        if not any(one.ids for one in candidates):
            return [one[[0] * len(candidates)] for one in plain]
        (row,) = plain[0]
        rows = [torch.cat([row[:1], row.new_tensor(one.ids), row[1 : len(row) - len(one.ids)]]) for one in candidates]
        return [torch.stack(rows)]

    def draw(self, candidates: Sequence[Candidate]) -> Float[Tensor, "n 3 h w"]:
        """The pictures of some tries, which do not depend on each other."""
        with torch.no_grad():
            guide = TokenGuide(self.model.embed_tokens(self.tokens(candidates)), self.scale)
        options: dict[str, Any] = {"sampler": "ddim", "steps": self.steps, "guidance_scale": self.scale, "negative": ""}
        seeds, prompts = [one.seed for one in candidates], [self.prompt] * len(candidates)
        return torch.cat(
            list(sample_batches(self.model, prompts, seeds, guide=guide, batch=len(candidates), **options))
        )

    def judged(self, candidates: Sequence[Candidate]) -> list[bool]:
        """Whether the pictures of some tries show the concept."""
        found = self.judge(self.draw(candidates))
        if found.shape != (len(candidates),):
            raise ValueError(f"a judge gives a number a picture, {len(candidates)} in all, not {tuple(found.shape)}")
        return [bool(one) for one in found]

    def first_success(self, candidates: Iterable[Candidate], batch: int) -> Outcome:
        """The first of some tries that succeeds, drawn `batch` at a time."""
        left, done = iter(candidates), 0
        while some := list(islice(left, batch)):
            for place, shown in enumerate(self.judged(some)):
                if shown:
                    return Outcome(done + place + 1, some[place])
            done += len(some)
        return Outcome(None, None)


def check_prefix(model: LatentDiffusion, prompts: Sequence[str], count: int) -> None:
    """Raises `BadInput` for a model, or a prompt, before which no `count` tokens can be put."""
    if len(model.text_encoders) != 1:
        raise BadInput(
            f"{model.name} has {len(model.text_encoders)} text encoders, and the attack searches the tokens of one; "
            "choose seeds"
        )
    tokenizer = model.tokenizers[0]
    for prompt in prompts:
        (row,) = model.tokens([prompt])[0]
        if int(row[0]) != tokenizer.bos_token_id:
            raise BadInput(f"the prompts of {model.name} have no begin token to put tokens behind; choose seeds")
        used = int((row == tokenizer.eos_token_id).int().argmax()) + 1
        if used + count > len(row):
            raise BadInput(
                f"{prompt!r} takes {used} of the {len(row)} tokens that {model.name} reads, so that {count} more do "
                "not fit; shorten it, or give fewer --tokens"
            )
