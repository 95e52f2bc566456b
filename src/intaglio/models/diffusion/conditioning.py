"""What a denoiser is told besides the latents: the prompts' embeddings, and the picture's size where it asks for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Conditioning:
    """One row a prompt; float32. Opaque to methods, which only pick, repeat and join rows."""

    hidden: Float[Tensor, "n l d"]
    """a vector a token"""
    pooled: Float[Tensor, "n p"] | None = None
    """a vector a prompt, where the model takes one"""
    size: Float[Tensor, "n 6"] | None = None
    """pixels: original height and width, top and left of the crop, target height and width; where the model asks"""

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> "Conditioning":
        """Rows by place; a place may occur again, which repeats the row."""
        pick = index if isinstance(index, slice | Tensor) else torch.tensor(list(index), dtype=torch.long)
        return self._each(lambda rows: rows[pick.to(rows.device) if isinstance(pick, Tensor) else pick])

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """The rows of all parts, in order. The parts must come from models of one kind."""
        columns = {"pooled": [part.pooled for part in parts], "size": [part.size for part in parts]}
        joined = {
            name: torch.cat(present) if (present := [rows for rows in column if rows is not None]) else None
            for name, column in columns.items()
        }
        return Conditioning(torch.cat([part.hidden for part in parts]), **joined)

    def to(self, device: torch.device | str) -> "Conditioning":
        """The same rows on another device."""
        return self._each(lambda rows: rows.to(device))

    def detach(self) -> "Conditioning":
        """The same rows, cut from the text encoders' graph."""
        return self._each(lambda rows: rows.detach())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        return Conditioning(
            change(self.hidden),
            None if self.pooled is None else change(self.pooled),
            None if self.size is None else change(self.size),
        )
