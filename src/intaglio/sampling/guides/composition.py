"""Classifier-free guidance of latents that are moved, early on, to where attention keeps entities apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.sampling.attention_maps import mean_map, recorded_maps
from intaglio.sampling.composition.attention_losses import composition_loss
from intaglio.sampling.composition.entities import ComposedTokens, composed_tokens
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True)
class CompositionState:
    """State of a walk under this guidance."""

    context: GuideContext
    guided: Conditioning
    """Of classifier-free guidance."""
    tokens: tuple[ComposedTokens, ...]
    """n prompts'"""
    node: int = 0
    """Nodes of the grid that were visited."""


@dataclass(frozen=True)
class CompositionGuidance:
    """The guide behind `intaglio sample compose`, where the formulas stand."""

    rate: float
    share: float
    limit: float
    side: int
    nouns: tuple[str, ...] = ()
    faulty: tuple[tuple[int, ...], ...] = ()
    """For each picture the entities of a first, further move; none for no such move."""

    def init(self, context: GuideContext) -> CompositionState:
        """Finds the prompts' entities."""
        tokenizer = context.model.tokenizers[0]
        tokens = tuple(composed_tokens(tokenizer, prompt, self.nouns) for prompt in context.prompts)
        return CompositionState(context, ClassifierFree(context.scale).init(context), tokens)

    def step(
        self, state: CompositionState, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[CompositionState, Float[Tensor, "n *shape"]]:
        """Classifier-free guidance."""
        return state, ClassifierFree(state.context.scale).step(state.guided, latents, t, predict)[1]

    def move(
        self, state: CompositionState, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[CompositionState, Float[Tensor, "n c h w"]]:
        """Down the gradient of the losses, at the first `share` of the nodes; pictures without entities stay."""
        count, moved = len(state.context.timesteps), latents.float()
        if state.node == 0 and self.faulty:
            read = [range(len(tokens.entities)) for tokens in state.tokens]
            faulty = [[k for k in words if k in there] for words, there in zip(self.faulty, read, strict=True)]
            rows = [row for row, words in enumerate(faulty) if words]
            moved = self._moved(state, moved, t, predict, rows, self.rate, faulty)
        if state.node < moves_of(self.share, count):
            rows = [k for k, tokens in enumerate(state.tokens) if tokens.has_loss]
            rate = self.rate * (1 - state.node / (2 * max(count - 1, 1))) ** 0.5
            moved = self._moved(state, moved, t, predict, rows, rate)
        return replace(state, node=state.node + 1), moved

    def _moved(
        self,
        state: CompositionState,
        latents: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        predict: Predict,
        rows: Sequence[int],
        rate: float,
        faulty: Sequence[Sequence[int]] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """The latents with some rows moved, each by its own gradient and no farther than `limit` of its length."""
        if not rows:
            return latents
        picked = list(rows)
        with torch.enable_grad():
            x = latents[picked].detach().requires_grad_(True)
            with recorded_maps(state.context.model.denoiser) as maps:
                predict(x, t[picked], state.context.positive[picked])
            shares = map_of_side(maps, self.side)
            losses = [
                composition_loss(
                    shares[k, 1 : 1 + state.tokens[row].count],
                    state.tokens[row],
                    None if faulty is None else faulty[row],
                )
                for k, row in enumerate(picked)
            ]
            (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), x)
        state.context.calls.backward += len(picked)
        moved = latents.clone()
        moved[picked] = x.detach() - limited(rate * gradient, x.detach(), self.limit)
        return moved


def moves_of(share: float, count: int) -> int:
    """Nodes at which latents are moved, of `count`."""
    return round(share * count)


def map_of_side(maps: Sequence[Tensor], side: int) -> Float[Tensor, "n tokens h w"]:
    """The mean of the finest maps of at most side x side places; of the coarsest where all are finer."""
    sizes = {one.shape[1] for one in maps}
    size = max((one for one in sizes if one <= side**2), default=min(sizes))
    return mean_map([one for one in maps if one.shape[1] == size], round(size**0.5))


def limited(
    step: Float[Tensor, "n *shape"], latents: Float[Tensor, "n *shape"], limit: float
) -> Float[Tensor, "n *shape"]:
    """The steps, each shortened to at most `limit` times the length of its row of latents."""
    long, most = step.flatten(1).norm(dim=1), limit * latents.flatten(1).norm(dim=1)
    factor = torch.where(long > most, most / long.clamp(min=torch.finfo(long.dtype).tiny), torch.ones_like(long))
    return factor.view(-1, *[1] * (step.dim() - 1)) * step
