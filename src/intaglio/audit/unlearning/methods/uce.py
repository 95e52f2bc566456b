"""uce: keys and values of the cross-attention rewritten in closed form, so that a prompt is read as another."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import Unlearner
from intaglio.audit.unlearning.result import Unlearned
from intaglio.audit.unlearning.unet_modules import chosen_weights
from intaglio.errors import IntaglioError, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.calls import Calls
from intaglio.sampling.concept_filter import end_of
from intaglio.sampling.trained.captioned_latents import CaptionedLatents

STATE = "edited"


class TextStates(NamedTuple):
    """Text states in the rows of matrices, float64."""

    edited: Float[Tensor, "m d"]
    """c: of the concept."""
    guides: Float[Tensor, "m d"]
    """g: of the anchors, which each stands for."""
    kept: Float[Tensor, "k d"]
    """p."""


@dataclass(frozen=True, eq=False)
class _Edited(StepState):
    """The new weights so far, one after the other."""

    numbers: Float[Tensor, "p"]


@dataclass(frozen=True, kw_only=True)
class UnifiedConceptEditing(Unlearner):
    """UCE: keys and values of the cross-attention, solved for so that a concept is read as its anchor.

    Each key and value matrix W [o, d] of the cross-attention becomes the W' that minimises

        a sum over c |W' c - W g|^2 + b sum over p |W' p - W p|^2 + lambda |W' - W|^2,

    W' = (lambda W + a sum (W g) c^T + b sum (W p) p^T) (lambda I + a sum c c^T + b sum p p^T)^-1,

    with c [d] a text state of the concept, g that of its anchor, p those of what is kept; it takes no picture and no
    step of training. The text encoders read from left to right, so that a word changes the states after it too: the
    edit of a last token alone does not reach a prompt in which other words follow.

    Source: arXiv 2308.14761. `subject` and `all` are this package's own.
    """

    reading: ClassVar[str] = "by rewriting how the cross-attention reads the concept's words, without training"
    states: ClassVar[tuple[str, ...]] = (STATE,)

    tokens: Literal["last", "subject", "all"] = "last"
    """Text states that are edited: of the last token of each prompt, as published; of the tokens that no anchor and no
    kept prompt has, each led to the anchor's last such token; or of every place after the begin token, to the end of
    the padding, each led to the anchor's same place."""
    regularisation: float = 0.5
    """lambda, above 0: weight of the squared change of the matrices."""
    erase_scale: float = 1.0
    """a, above 0: weight of the concept's states."""
    keep_scale: float = 1.0
    """b, 0 or more: weight of the kept states."""

    def __post_init__(self) -> None:
        require(self.tokens in ("last", "subject", "all"), f"tokens must be last, subject or all, not {self.tokens!r}")
        for name in ("regularisation", "erase_scale"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"{name} must be above 0, and finite, not {value}")
        require(0 <= self.keep_scale < math.inf, f"keep_scale must be 0 or more, and finite, not {self.keep_scale}")

    def planned(self, concept: Concept, *, forget: int, retain: int) -> Calls:
        """None: the denoiser is not called."""
        return Calls()

    @torch.no_grad()
    def __call__(
        self,
        model: LatentDiffusion,
        concept: Concept,
        *,
        forget: CaptionedLatents | None = None,
        retain: CaptionedLatents | None = None,
        run: Run = Run.none(),
    ) -> Unlearned:
        """The edited model, a matrix at a time; see the family."""
        changed = self.begun(model, concept, forget, retain)
        with model.frozen():
            states = self._states(model, concept)
        weights = list(chosen_weights(changed.denoiser, "x-strict").values())
        weights = [weight for weight in weights if weight.ndim == 2]

        def edit(state: _Edited) -> _Edited:
            weight = weights[state.step]
            found = self.solved(weight.double(), states).float().flatten().cpu()
            return replace(state, step=state.step + 1, numbers=torch.cat([state.numbers, found]))

        match = {"matrices": len(weights)}
        with run.progress(len(weights), "matrices edited", stored_steps(run, STATE, match)) as progress:
            begun = _Edited(0, torch.zeros(0))
            done = in_steps(
                run, STATE, match, begun, edit, steps=len(weights), noted=lambda before, after: progress.advance()
            )
        if not bool(done.numbers.isfinite().all()):
            raise IntaglioError(f"an edited matrix of {model.name} is not finite; give a larger --regularisation")
        moved = [0.0, 0.0]
        for weight, numbers in zip(weights, done.numbers.split([one.numel() for one in weights]), strict=True):
            new = numbers.view(weight.shape).to(weight)
            moved[0] += float((new - weight).double().square().sum())
            moved[1] += float(weight.double().square().sum())
            weight.copy_(new)
        facts = {"matrices": len(weights), "relative_change": math.sqrt(moved[0] / moved[1])}
        return self.found(model, changed, concept, facts)

    def solved(self, weight: Float[Tensor, "o d"], states: TextStates) -> Float[Tensor, "o d"]:
        """W' of one matrix; see the class."""
        edited, guides, kept = (one.to(weight) for one in states)
        a, b, eye = self.erase_scale, self.keep_scale, torch.eye(weight.shape[1]).to(weight)
        wanted = self.regularisation * weight + a * (weight @ guides.T) @ edited + b * (weight @ kept.T) @ kept
        gram = self.regularisation * eye + a * edited.T @ edited + b * kept.T @ kept
        return torch.linalg.solve(gram, wanted.T).T

    def _states(self, model: LatentDiffusion, concept: Concept) -> TextStates:
        anchors = [anchor for _, anchor in concept.pairs]
        edited, guides, kept = (
            [_Read.of(model, one) for one in texts] for texts in (concept.prompts, anchors, concept.keep)
        )
        beside = {token for one in (*guides, *kept) for token in one.words}
        asked = {token for one in edited for token in one.words}
        pairs = []
        for one, guide in zip(edited, guides, strict=True):
            if self.tokens == "all":
                pairs += [(one.rows[k], guide.rows[k]) for k in range(1, len(one.rows))]
            elif self.tokens == "subject":
                place = guide.own(asked)[-1]
                pairs += [(one.rows[k], guide.rows[place]) for k in one.own(beside)]
            else:
                pairs.append((one.rows[one.last], guide.rows[guide.last]))
        stay = [row for one in kept for row in one.rows[self._kept_places(one)]]
        none = pairs[0][0].new_zeros(0, len(pairs[0][0]))
        concept_rows, guide_rows = (torch.stack([pair[side] for pair in pairs]) for side in (0, 1))
        return TextStates(concept_rows, guide_rows, torch.stack(stay) if stay else none)

    def _kept_places(self, one: "_Read") -> slice:
        """Places of a kept prompt that are held: its last token, its tokens with their end, or all after the begin."""
        if self.tokens == "all":
            return slice(1, None)
        return slice(one.last, one.last + 1) if self.tokens == "last" else slice(1, one.last + 2)


class _Read(NamedTuple):
    """A prompt as a text encoder reads it."""

    rows: Float[Tensor, "l d"]
    """Its text states, float64."""
    words: tuple[int, ...]
    """Its tokens between begin and end."""

    @classmethod
    def of(cls, model: LatentDiffusion, prompt: str) -> "_Read":
        tokens = model.tokens([prompt])
        end = end_of(model, 0, tokens[0])[0]
        return cls(model.embed_tokens(tokens).hidden[0].double().cpu(), tuple(tokens[0][0, 1:end].tolist()))

    @property
    def last(self) -> int:
        """Place of the last token before the end; of the empty prompt that of the begin token."""
        return len(self.words)

    def own(self, others: set[int]) -> list[int]:
        """Places of the tokens that others have not; that of the last where there are none."""
        return [k for k, token in enumerate(self.words, 1) if token not in others] or [self.last]
