"""unlearn-diff-atk: tokens before the prompt, searched so that the model denoises a picture of the concept again."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate, Outcome, check_prefix
from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.audit.unlearning.attack.simplex_search import SimplexState, searched, uniform_state
from intaglio.errors import BadInput, IntaglioError, require
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.token_tables import token_tables
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps
from intaglio.sampling.calls import Calls
from intaglio.sampling.loop import latent_batches

NOT_YET = -1


@dataclass(frozen=True, eq=False)
class _Searched(StepState):
    """The search after some timesteps."""

    rows: Float[Tensor, "k v"]
    first: Float[Tensor, "k v"]
    second: Float[Tensor, "k v"]
    won: Int[Tensor, "k"]
    """Tokens of the try that succeeded; `NOT_YET` where none has."""
    at: Int[Tensor, ""]
    """That try, from 1."""


@dataclass(frozen=True, kw_only=True)
class UnlearnDiffAtk(UnlearnAttack):
    """UnlearnDiffAtk: tokens searched by the unlearned model's loss on a concept's picture.

    x0 is a picture that the original model draws for the prompt p. k tokens before p are relaxed to rows U [k, V] on
    the probability simplex, uniform at first. For one timestep t after the other, spread evenly over the schedule,

        | eps - e(x_t, text([U; p])) |^2,    e of the unlearned model,

    is lowered by `updates` steps of AdamW: a token a row is sampled from U, gradients pass straight through it, clipped
    to -1..1, and the rows are projected to the simplex. After each timestep the most probable tokens are a try, drawn
    from the noise of the unattacked picture and judged; no further classifier has a part in the search.

    Source: arXiv 2310.11868. The tokens that frame a prompt are left out of V.
    """

    reading: ClassVar[str] = "with tokens before the prompt that were searched by the denoising loss"
    needs_original: ClassVar[bool] = True

    tokens: int = 3
    """k: tokens before the prompt, at least 1."""
    updates: int = 40
    """Updates at each timestep, at least 1; there are as many timesteps as tries."""
    learning_rate: float = 0.01
    """Learning rate of AdamW, above 0."""
    decay: float = 0.1
    """Its weight decay, 0 or more."""
    tries: int = 50
    """Timesteps, and pictures that are drawn and judged at each prompt, at least 1; fewer where one succeeds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tokens", "updates"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(0 <= self.decay < math.inf, f"decay must be 0 or more, and finite, not {self.decay}")

    def planned(self) -> Calls:
        """One call and its gradient an update, and the picture of the original."""
        rows = self.tries * self.updates
        return Calls(forward=rows + 2 * self.steps, backward=rows)

    def check(self, model: LatentDiffusion, prompts: Sequence[str], original: LatentDiffusion | None) -> None:
        """Raises `BadInput` for a model, or prompts, before which the tokens do not fit, and for too many tries."""
        super().check(model, prompts, original)
        check_prefix(model, prompts, self.tokens)
        if self.tries > model.schedule.count:
            raise BadInput(f"{model.name} has {model.schedule.count} timesteps; give at most as many --tries")

    def attack(self, scene: AttackScene, run: Run) -> Outcome:
        """A search over the timesteps, kept after each."""
        state, seed = f"search-{digest(scene.prompt)[:16]}", scene.own_seed
        clean = self._target(scene)
        start = uniform_state(self.tokens, len(scene.vocabulary))
        nothing = torch.full((self.tokens,), NOT_YET)
        begun = _Searched(0, start.rows, start.first, start.second, nothing, torch.tensor(0))

        def step(before: _Searched) -> _Searched:
            if int(before.at):
                return replace(before, step=before.step + 1)
            known = SimplexState(before.rows, before.first, before.second, before.step * self.updates)
            after = self._lowered(scene, clean, known, before.step)
            ids = torch.tensor([scene.vocabulary[place] for place in after.best.tolist()])
            (shown,) = scene.judged([Candidate(tuple(ids.tolist()), seed)])
            won = {"won": ids, "at": torch.tensor(before.step + 1)} if shown else {}
            moved = {"rows": after.rows, "first": after.first, "second": after.second}
            return replace(before, step=before.step + 1, **moved, **won)

        options = {"steps": self.tries, "noted": lambda before, after: None}
        found = in_steps(run, state, {"tries": self.tries}, begun, step, **options)
        run.drop_state(state)
        if not int(found.at):
            return Outcome(None, None)
        return Outcome(int(found.at), Candidate(tuple(found.won.tolist()), seed))

    def _target(self, scene: AttackScene) -> Float[Tensor, "1 c h w"]:
        """x0: latents that the original draws for the prompt."""
        if scene.original is None:
            raise IntaglioError(f"{self.name} was called without the original model")
        options: dict[str, Any] = {"sampler": "ddim", "steps": self.steps, "guidance_scale": self.guidance}
        (latents,) = latent_batches(scene.original, [scene.prompt], [scene.own_seed], **options, negative="", batch=1)
        return latents.float().to(scene.model.device)

    def _lowered(
        self, scene: AttackScene, clean: Float[Tensor, "1 c h w"], state: SimplexState, stage: int
    ) -> SimplexState:
        """The rows after the updates of one timestep."""
        model = scene.model
        last = model.schedule.count - 1
        t = torch.tensor([round((stage + 0.5) * last / self.tries)], device=model.device)
        table = token_tables(model.text_encoders[0])[0].weight[scene.vocabulary].float()

        def loss_of(hot: Float[Tensor, "k v"], number: int) -> Float[Tensor, ""]:
            noise = torch.randn(clean.shape, generator=generator(self.seed, "attack noise", scene.prompt, number))
            noise = noise.to(clean)
            text = prefixed(scene, hot.to(table) @ table)
            return (model.predict(model.noised(clean, noise, t), t, text) - noise).square().mean()

        return searched(
            state,
            loss_of,
            updates=self.updates,
            learning_rate=self.learning_rate,
            decay=self.decay,
            source=lambda number: generator(self.seed, "attack tokens", scene.prompt, number),
        )


def prefixed(scene: AttackScene, vectors: Float[Tensor, "k d"]) -> Conditioning:
    """The prompt's conditioning with token embeddings before it, differentiable in these."""
    stand_in = Candidate(tuple(scene.vocabulary[:1]) * len(vectors), 0)
    with _put_in(scene.model, vectors):
        return scene.model.embed_tokens(scene.tokens([stand_in]))


@contextmanager
def _put_in(model: LatentDiffusion, vectors: Float[Tensor, "k d"]) -> Iterator[None]:
    """While the block runs, the embeddings of the tokens behind the begin token are these."""

    def put(module: Any, given: Any, found: Tensor) -> Tensor:
        own = vectors.to(found)[None].expand(len(found), -1, -1)
        return torch.cat([found[:, :1], own, found[:, 1 + len(vectors) :]], dim=1)

    hooks = [table.register_forward_hook(put) for table in token_tables(model.text_encoders[0])]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
