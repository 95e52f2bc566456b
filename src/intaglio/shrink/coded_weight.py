"""`CodedWeight`: a layer's weight in a training, as sums of codebook entries, of which few change in a step."""

from typing import Any

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intaglio.models.packing.codebook_entries import CodebookEntries, entries_sum
from intaglio.shrink.codebooks import nearest_codes

DECAY, TINY = 0.95, 1e-8
"""Of the mean of squared gradients, and what is added to its root."""


class CodedWeight:
    """While it is on a layer, the layer computes with the sums of entries times the scale of each row.

    Books and scales are parameters, used as they are stored, in half precision; `recode` changes codes. What it keeps
    from step to step are the codes, the weight that it aims at, and the mean of squared gradients.
    """

    def __init__(self, layer: Any, books: nn.Parameter, codes: UInt8[Tensor, "m o k"], scales: Float32[Tensor, "o"]):
        """Registers it on a linear or convolutional layer; the books may be those of other layers, too."""
        self._layer, device = layer, layer.weight.device
        self._entries = _Entries(codes.to(device).clone(), books, nn.Parameter(scales.to(device)))
        parametrize.register_parametrization(layer, "weight", self._entries)
        self._aim = self._used()
        self._squares = torch.zeros_like(self._aim)

    @property
    def scales(self) -> nn.Parameter:
        """[o]."""
        return self._entries.scales

    @property
    def kept(self) -> dict[str, Tensor]:
        """Codes, aim and mean of squares, changed in place: a run that goes on must have them too."""
        return {"codes": self._entries.codes, "aim": self._aim, "squares": self._squares}

    @torch.no_grad()
    def recode(self, rate: float, share: float) -> int:
        """Moves the aim along the gradient, and gives the groups that are furthest from it new codes.

        The aim A moves by `rate`·|A|/|u|·u, with u the gradient over the root of the mean of its squares, of decay
        0.95; the bias of that mean is a factor of u, which falls out. Of all groups, `share` are searched again, those
        with the largest |A - ŵ|.

        Args:
            rate: of the aim's norm that it moves by.
            share: of the groups, at least one of which is searched.

        Returns the count of groups with another code.
        """
        entries, gradient = self._entries, self._entries.taken()
        self._squares.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
        along = gradient / (self._squares.sqrt() + TINY)
        self._aim -= rate * self._aim.norm() / along.norm().clamp(min=TINY) * along
        (books, rows, groups), width = entries.codes.shape, entries.books.shape[2]
        apart = (self._aim - self._used()).view(rows * groups, width).square().sum(1)
        chosen = apart.topk(max(1, round(share * len(apart)))).indices
        scales = entries.scales.half().float()[chosen // groups]
        wanted = self._aim.view(-1, width)[chosen] / torch.where(scales == 0, 1.0, scales)[:, None]
        codes = entries.codes.view(books, -1)
        before = codes[:, chosen]
        found = nearest_codes(wanted, entries.books.half().float(), before)
        codes[:, chosen] = found
        return int((found != before).any(0).sum())

    @torch.no_grad()
    def term(self, name: str) -> CodebookEntries:
        """The weight in use to the bit, as a term whose books have this name."""
        entries = self._entries
        books, scales = (one.detach().half().cpu() for one in (entries.books, entries.scales))
        return CodebookEntries(entries.codes.cpu(), books, name, scales)

    def remove(self) -> None:
        """The layer's weight is the whole one again."""
        parametrize.remove_parametrizations(self._layer, "weight", leave_parametrized=False)

    @torch.no_grad()
    def _used(self) -> Float32[Tensor, "o n"]:
        return self._layer.weight.flatten(1).clone()


class _Entries(nn.Module):
    """The parametrisation; it sums the gradients of the weight in use."""

    def __init__(self, codes: Tensor, books: nn.Parameter, scales: nn.Parameter):
        super().__init__()
        self.codes, self.books, self.scales = codes, books, scales
        self._gradient: Tensor | None = None

    def forward(self, whole: Tensor) -> Tensor:
        """The weight in use."""
        used = entries_sum(self.codes, _halved(self.books), _halved(self.scales))
        if used.requires_grad:
            used.register_hook(self._add)
        return used.view(whole.shape)

    def taken(self) -> Float[Tensor, "o n"]:
        """The sum of the gradients since the last call; zeros where there were none."""
        found, self._gradient = self._gradient, None
        if found is None:
            return self.books.new_zeros(self.codes.shape[1], self.codes.shape[2] * self.books.shape[2])
        return found

    def _add(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach() if self._gradient is None else self._gradient + gradient.detach()


def _halved(values: Tensor) -> Tensor:
    """The values rounded to half precision, with the gradient of those that are not."""
    return values + (values.half().float() - values).detach()
