"""Conditioning of a denoiser: text embeddings, and the picture's size where the model takes one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor, nn


@runtime_checkable
class GuidanceRule(Protocol):
    """A family's combination of the noise of two prompts, where it is otherwise than along a line."""

    def __call__(
        self,
        latents: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        negative: Float[Tensor, "n c h w"],
        positive: Float[Tensor, "n c h w"],
        scale: float,
    ) -> Float[Tensor, "n c h w"]: ...


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Inputs of a denoiser beside latents and timestep, a row each prompt; float32.

    Methods select, repeat and join rows, and never read their content.
    """

    hidden: Float[Tensor, "n l d"]
    """Text embeddings: a vector of d numbers for each of l tokens."""
    pooled: Float[Tensor, "n p"] | None = None
    """Pooled text embeddings (SDXL); None for models that take none."""
    size: Float[Tensor, "n 6"] | None = None
    """Original height and width, top and left of the crop, target height and width, in pixels (SDXL); or None."""
    guidance: Float[Tensor, "n"] | None = None
    """Guidance scales for a denoiser that takes one as an input, where None is 1, no guidance; others take none."""
    mask: Bool[Tensor, "n l"] | None = None
    """The tokens that the denoiser sees, for those that leave padding out; None: all of them."""
    rule: GuidanceRule | None = None
    """The rule of classifier-free guidance; None: `negative + scale * (positive - negative)`."""

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> "Conditioning":
        """Rows by index; an index that occurs again repeats its row."""
        pick = index if isinstance(index, slice | Tensor) else torch.tensor(list(index), dtype=torch.long)
        return self._each(lambda rows: rows[pick.to(rows.device) if isinstance(pick, Tensor) else pick])

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """The rows of all parts, in order. The parts must come from models of one kind.

        Where they differ in length, tokens of zeros follow the shorter ones, and are masked.
        """
        columns = {"pooled": [part.pooled for part in parts], "size": [part.size for part in parts]}
        joined = {
            name: torch.cat(present) if (present := [rows for rows in column if rows is not None]) else None
            for name, column in columns.items()
        }
        most = max(part.hidden.shape[1] for part in parts)
        hidden = [nn.functional.pad(part.hidden, (0, 0, 0, most - part.hidden.shape[1])) for part in parts]
        return Conditioning(
            torch.cat(hidden), **joined, guidance=_scales(parts), mask=_mask(parts, most), rule=parts[0].rule
        )

    def under(self, scale: float | Float[Tensor, "n"]) -> "Conditioning":
        """The same rows with guidance scales, one for all or one a row, for a denoiser that takes them."""
        scales = torch.as_tensor(scale, dtype=torch.float32, device=self.hidden.device).expand(len(self))
        return replace(self, guidance=scales)

    def to(self, device: torch.device | str) -> "Conditioning":
        """The same rows on another device."""
        return self._each(lambda rows: rows.to(device))

    def detach(self) -> "Conditioning":
        """The same rows, without gradients to the text encoders."""
        return self._each(lambda rows: rows.detach())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: change(rows) for name, rows in columns.items() if isinstance(rows, Tensor)})


def _scales(parts: Sequence[Conditioning]) -> Float[Tensor, "n"] | None:
    """The guidance scales of all parts, 1 for those without; None where none has any."""
    if all(part.guidance is None for part in parts):
        return None
    columns = [part.hidden.new_ones(len(part)) if part.guidance is None else part.guidance for part in parts]
    return torch.cat(columns)


def _mask(parts: Sequence[Conditioning], most: int) -> Bool[Tensor, "n l"] | None:
    """The masks of all parts, extended to one length; None where every token of all parts is attended to."""
    if all(part.mask is None and part.hidden.shape[1] == most for part in parts):
        return None
    masks = [
        torch.ones_like(part.hidden[..., 0], dtype=torch.bool) if part.mask is None else part.mask for part in parts
    ]
    return torch.cat([nn.functional.pad(mask, (0, most - mask.shape[1])) for mask in masks])
