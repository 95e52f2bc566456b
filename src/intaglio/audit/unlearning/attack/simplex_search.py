"""A search over tokens on the probability simplex: sampled one-hot forward, gradients straight through, projected."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SimplexState:
    """Rows on the simplex with the moments of AdamW."""

    rows: Float[Tensor, "k v"]
    """Probabilities of v tokens at each of k places."""
    first: Float[Tensor, "k v"]
    second: Float[Tensor, "k v"]
    updates: int

    @property
    def best(self) -> Int[Tensor, "k"]:
        """The most probable token of each place; of equal ones the first."""
        return self.rows.argmax(1)


def uniform_state(places: int, tokens: int) -> SimplexState:
    """All tokens as probable, no update made."""
    still = torch.zeros(places, tokens)
    return SimplexState(torch.full((places, tokens), 1 / tokens), still, still.clone(), 0)


def on_simplex(rows: Float[Tensor, "k v"]) -> Float[Tensor, "k v"]:
    """The nearest point of the probability simplex to each row.

    With u the row sorted from the largest on, it is max(row - theta, 0), where theta = (u_1 + ... + u_j - 1) / j at the
    last j with u_j above it.
    """
    falling = rows.sort(1, descending=True).values
    theta = (falling.cumsum(1) - 1) / torch.arange(1, rows.shape[1] + 1).to(rows)
    last = (falling > theta).sum(1, keepdim=True) - 1
    return (rows - theta.gather(1, last)).clamp(min=0)


def searched(
    state: SimplexState,
    loss_of: Callable[[Float[Tensor, "k v"], int], Float[Tensor, ""]],
    *,
    updates: int,
    learning_rate: float,
    decay: float,
    source: Callable[[int], torch.Generator],
) -> SimplexState:
    """The state after some updates.

    At each, a token of every place is sampled from its row, the loss of these one-hot rows is taken, and its gradient
    by them, clipped to -1..1, is the rows' own; AdamW makes the step, and the rows are projected.

    Args:
        state: before.
        loss_of: from one-hot rows, and the number of the update, to a loss; differentiable in the rows.
        updates: to make.
        learning_rate: of AdamW.
        decay: its weight decay.
        source: a generator for each update, by its number from the first of all.
    """
    rows = state.rows.clone().requires_grad_()
    optimiser = torch.optim.AdamW([rows], lr=learning_rate, weight_decay=decay)
    if state.updates:
        step = torch.tensor(float(state.updates))
        optimiser.state[rows] = {"step": step, "exp_avg": state.first.clone(), "exp_avg_sq": state.second.clone()}
    for number in range(state.updates, state.updates + updates):
        drawn = torch.multinomial(rows.detach(), 1, generator=source(number))[:, 0]
        hot = torch.nn.functional.one_hot(drawn, rows.shape[1]).to(rows).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss_of(hot, number), hot)
        rows.grad = gradient.clamp(-1, 1)
        optimiser.step()
        with torch.no_grad():
            rows.copy_(on_simplex(rows))
    held = optimiser.state[rows]
    moments = (held["exp_avg"], held["exp_avg_sq"]) if held else (state.first, state.second)
    return SimplexState(rows.detach(), *moments, state.updates + updates)
