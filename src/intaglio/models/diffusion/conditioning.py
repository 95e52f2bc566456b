"""Conditioning of a denoiser: text embeddings, and the picture's size where the model takes one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
    """The tokens that the denoiser sees; None: all of them."""

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> "Conditioning":
        """Rows by index; an index that occurs again repeats its row."""
        pick = index if isinstance(index, slice | Tensor) else torch.tensor(list(index), dtype=torch.long)
        return self._each(lambda rows: rows[pick.to(rows.device) if isinstance(pick, Tensor) else pick])

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """The rows of all parts, in order. The parts must come from models of one kind."""
        columns = {name: [getattr(part, name) for part in parts] for name in ("pooled", "size", "mask")}
        joined = {
            name: torch.cat(present) if (present := [rows for rows in column if rows is not None]) else None
            for name, column in columns.items()
        }
        return Conditioning(torch.cat([part.hidden for part in parts]), **joined, guidance=_scales(parts))

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
        return Conditioning(
            change(self.hidden),
            None if self.pooled is None else change(self.pooled),
            None if self.size is None else change(self.size),
            None if self.guidance is None else change(self.guidance),
            None if self.mask is None else change(self.mask),
        )


def _scales(parts: Sequence[Conditioning]) -> Float[Tensor, "n"] | None:
    """The guidance scales of all parts, 1 for those without; None where none has any."""
    if all(part.guidance is None for part in parts):
        return None
    columns = [part.hidden.new_ones(len(part)) if part.guidance is None else part.guidance for part in parts]
    return torch.cat(columns)
