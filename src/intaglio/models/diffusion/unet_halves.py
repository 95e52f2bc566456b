"""The two halves of a U-Net: an encoder that is run once, and a decoder that takes its outputs at several timesteps."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from intaglio.errors import BadInput

FORWARD = "forward"
"""Name of a module's own function, which an instance may have in place of its class's."""


class SharedEncoder:
    """The encoder of a U-Net (first convolution, down blocks, middle block), run once for several decoder passes.

    Within `shared()`, a call of the U-Net on k times `rows` rows runs the encoder on the first `rows` of them alone,
    under their timesteps and conditioning, and the up blocks and the output on all: block k of the rows has its own
    timesteps, and copies of the encoder's outputs. Later calls take the same outputs again, and look at no latents.
    Everything else is the U-Net's own forward pass, so that with one block it is that, bit for bit. Gradients go
    through.
    """

    def __init__(self, denoiser: nn.Module, rows: int):
        """`denoiser`: a U-Net in diffusers' layout; `rows`: those that are encoded, 1 or more."""
        if rows < 1:
            raise ValueError(f"rows must be 1 or more, not {rows}")
        self.rows = rows
        self._denoiser = denoiser
        self._kept: dict[str, Any] = {}

    @contextmanager
    def shared(self) -> Iterator[None]:
        """While the block runs, calls of the U-Net share the encoder; it is left as it was found, also on error."""
        blocks = encoder_blocks(self._denoiser)
        before = {name: vars(block).get(FORWARD) for name, block in blocks.items()}
        try:
            for name, block in blocks.items():
                setattr(block, FORWARD, self._sharing(name, block.forward))
            yield
        finally:
            for name, block in blocks.items():
                vars(block).pop(FORWARD, None)
                if before[name] is not None:
                    setattr(block, FORWARD, before[name])

    def _sharing(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A block's forward pass on the first rows, done once, and its outputs for all of them."""

        def passed(*given: Any, **named: Any) -> Any:
            count = len(given[0] if given else named["hidden_states"])
            if count % self.rows:
                raise ValueError(f"{count} rows are no multiple of the {self.rows} that are encoded")
            if name not in self._kept:
                first = _each((given, named), lambda rows: rows[: self.rows] if len(rows) == count else rows)
                self._kept[name] = forward(*first[0], **first[1])
            # `repeat` copies: what a decoder pass does to its features in place must not reach the next one.
            return _each(self._kept[name], lambda rows: rows.repeat(count // self.rows, *[1] * (rows.ndim - 1)))

        return passed


def encoder_blocks(denoiser: nn.Module) -> dict[str, nn.Module]:
    """The modules of a U-Net's encoder by name, in the order of the forward pass; a middle block need not be there."""
    unet: Any = denoiser
    found = {"in": unet.conv_in, **{f"down {k}": block for k, block in enumerate(unet.down_blocks)}}
    return found if unet.mid_block is None else {**found, "mid": unet.mid_block}


def refuse_no_halves(model: Any, method: str) -> None:
    """Raises `BadInput` for a model whose denoiser is no U-Net, which has no encoder to share."""
    denoiser = getattr(model, "denoiser", None)
    if not all(hasattr(denoiser, part) for part in ("conv_in", "down_blocks", "mid_block", "up_blocks")):
        raise BadInput(f"{method} shares the encoder of a U-Net, and {model.name} has none; choose another method")


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tuples and mappings, with every tensor in them changed."""
    if isinstance(value, Tensor):
        return change(value) if value.ndim else value
    if isinstance(value, Mapping):
        return {key: _each(one, change) for key, one in value.items()}
    return tuple(_each(one, change) for one in value) if isinstance(value, tuple) else value
