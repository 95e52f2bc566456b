"""OFT: a weight is rotated in blocks instead of added to (Qiu et al. 2023, arXiv:2306.07280).

PEFT rotates the inputs: `W' = W R^T`, from the upper triangles `oft_R` of skew matrices Q. As its configuration says,
R is `(I - Q)(I + Q)^-1`, or the first terms of the series of `(I + Q)(I - Q)^-1`, the transpose of the other: in PEFT
the two turn in opposite directions. COFT first bounds the norm of each Q.
LyCORIS (diag-oft) rotates the outputs: `W' = R^T W`, `R = (I + Q)(I - Q)^-1`, `Q = B - B^T` of its `oft_blocks`, whose
common norm is at most alpha times the number of outputs where alpha is above zero; `rescale` then scales each output.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.models.lora.adapter_layers import ForwardHook, Hooked
from intaglio.models.lora.dense_layers import dense_hook


@dataclass(frozen=True)
class RotationSettings:
    """The fields of PEFT's `OFTConfig` that say how the rotation is made."""

    series: bool
    """Whether R is the beginning of the Neumann series of Cayley's transform."""
    terms: int
    """Terms of the series, at least 1."""
    bound: float | None
    """Largest norm of each Q times the root of the number of blocks (COFT); None for no bound."""
    shared: bool
    """Whether one block turns all stretches of inputs."""
    version: str
    """That of PEFT."""


@dataclass(frozen=True, eq=False)
class RotationLayer:
    """A weight whose inputs or outputs are rotated in blocks of one size. At a strength s: `W + s (W' - W)`."""

    blocks: Tensor
    """The rotations R, [blocks, size, size]."""
    of_inputs: bool
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    """The tensors of the file that the rotation was made of, by their slots, such as `oft_R`; empty for some rows of
    another layer, which no file gives."""
    settings: RotationSettings | None = None
    rescale: Tensor | None = None
    """Factors of the outputs after the rotation, [out]."""

    @property
    def kind(self) -> str:
        return "OFT"

    @property
    def peft_type(self) -> str:
        return "OFT"

    @property
    def size(self) -> int:
        """Rows of a block."""
        return self.blocks.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(outputs, inputs) of the weights that it fits; 0 where any number does."""
        turned = 0 if self._shared else self.blocks.shape[0] * self.size
        return (0, turned) if self.of_inputs else (turned, 0)

    @property
    def _shared(self) -> bool:
        return self.settings is not None and self.settings.shared

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.stored.values(), self.blocks)

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} of {'inputs' if self.of_inputs else 'outputs'}"
        yield self.blocks
        if self.rescale is not None:
            yield self.rescale

    def changes_nothing(self) -> bool:
        unscaled = self.rescale is None or bool((self.rescale == 1).all())
        return unscaled and bool((self.blocks == torch.eye(self.size).to(self.blocks)).all())

    def misfit(self, model_shape: tuple[int, ...]) -> str | None:
        if self.of_inputs and math.prod(model_shape[2:]) != 1:
            return "PEFT's OFT of a kernel acts otherwise than its merged weight, and is not supported"
        turned, words = model_shape[1 if self.of_inputs else 0], "inputs" if self.of_inputs else "outputs"
        fits = turned % self.size == 0 if self._shared else turned == self.blocks.shape[0] * self.size
        if not fits:
            return f"turns {self.blocks.shape[0]} x {self.size} {words}, the model's weight has {turned}"
        if self.rescale is not None and self.rescale.numel() != model_shape[0]:
            return f"its rescale has {self.rescale.numel()} values, the model's weight {model_shape[0]} outputs"
        return None

    def refusal(self, strength: float) -> str | None:
        """The reason that it cannot act at a strength; None where it can."""
        if self.of_inputs and strength not in (0, 1):
            return f"an OFT of PEFT acts at strength 1 alone, as in PEFT, not at {strength:g}; leave the strength out"
        return None

    def change(self, weight: Tensor, strength: float) -> Tensor:
        """The tensor that is added to the weight; raises `BadInput` for a strength at which it does not act."""
        if (why := self.refusal(strength)) is not None:
            raise BadInput(why)
        own = weight.float()
        blocks = self.blocks.to(own.device, torch.float32)
        if self.of_inputs:
            stretches = own.reshape(own.shape[0], -1, self.size)
            turned = torch.einsum("orc,rkc->ork", stretches, blocks.expand(stretches.shape[1], -1, -1))
        else:
            turned = torch.einsum("knm,kni->kmi", blocks, own.reshape(blocks.shape[0], self.size, -1))
        turned = turned.reshape(own.shape)
        if self.rescale is not None:
            turned = turned * self.rescale.to(own.device, torch.float32).reshape(-1, *(1 for _ in own.shape[1:]))
        return strength * (turned - own)

    def hook(self, module: Hooked, strength: float) -> ForwardHook:
        return dense_hook(self, module, strength)

    def rows(self, spans: Sequence[tuple[int, int]]) -> "RotationLayer":
        """The change of some rows of the weight; raises `ValueError` where a block turns rows of several parts."""
        if self.of_inputs:
            return self
        if any(end % self.size for span in spans for end in span):
            raise ValueError(f"its blocks of {self.size} outputs turn rows of several of the model's modules (an OFT)")
        blocks = torch.cat([self.blocks[first // self.size : last // self.size] for first, last in spans])
        scales = None if self.rescale is None else torch.cat([self.rescale[first:last] for first, last in spans])
        return RotationLayer(blocks, False, rescale=scales)


def read_rotation(slots: Mapping[str, Tensor], settings: RotationSettings | None) -> RotationLayer | str:
    """The rotation that tensors make together, or why they make none."""
    if "oft_R" in slots:
        return _of_inputs(slots, settings)
    if "oft_blocks" not in slots:
        return "its oft_blocks are missing (an OFT)"
    raw, scales = slots["oft_blocks"], slots.get("rescale")
    if raw.ndim == 4:
        return "BOFT (a product of rotations) is not supported"
    if raw.ndim != 3 or raw.shape[1] != raw.shape[2] or 0 in raw.shape:
        return f"its oft_blocks {tuple(raw.shape)} are no square blocks (an OFT)"
    skew = raw.float() - raw.float().mT
    if (bound := float(slots["alpha"].item()) * raw.shape[0] * raw.shape[1] if "alpha" in slots else 0.0) > 0:
        skew = skew * min(1.0, bound / (float(skew.norm()) + 1e-8))
    one = torch.eye(raw.shape[1])
    blocks = torch.linalg.solve(one - skew, one + skew)
    return RotationLayer(blocks, False, dict(slots), rescale=None if scales is None else scales.flatten())


def _of_inputs(slots: Mapping[str, Tensor], settings: RotationSettings | None) -> RotationLayer | str:
    if extra := sorted(slots.keys() - {"oft_R"}):
        return f"its {extra[0]} beside oft_R is not supported (an OFT)"
    if settings is None:
        return "the configuration of its OFT is missing; put adapter_config.json beside the file, or give the folder"
    raw = slots["oft_R"]
    size = (1 + math.isqrt(1 + 8 * raw.shape[-1])) // 2
    if raw.ndim != 2 or 0 in raw.shape or size * (size - 1) // 2 != raw.shape[1]:
        return f"its oft_R {tuple(raw.shape)} holds no upper triangles (an OFT)"
    if settings.shared and raw.shape[0] != 1:
        return f"its oft_R has {raw.shape[0]} blocks, where its configuration says one (an OFT)"
    above = torch.zeros(raw.shape[0], size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    above[:, rows, columns] = raw.float()
    skew = above - above.mT
    if settings.bound is not None:
        norms = skew.flatten(1).norm(dim=1)[:, None, None]
        most = settings.bound / math.sqrt(raw.shape[0])
        skew = torch.where(norms <= most, skew, skew * most / norms.clamp_min(torch.finfo(torch.float32).tiny))
    blocks = _series(skew, settings.terms) if settings.series else _cayley(skew)
    return RotationLayer(blocks, True, {"oft_R": raw}, settings)


def _cayley(skew: Tensor) -> Tensor:
    one = torch.eye(skew.shape[-1])
    return torch.linalg.solve(one + skew, one - skew)


def _series(skew: Tensor, terms: int) -> Tensor:
    """`I + 2 Q + 2 Q^2 + ... + 2 Q^(n - 2) + Q^(n - 1)` of n terms, from 4 on, as PEFT has it.

    There the last power stands once, where Cayley's series has it twice. One term is I, two are `I + 2 Q`, and three
    are taken as four. Raises `ValueError` for fewer than one.
    """
    require(terms >= 1, f"the series of a rotation has at least 1 term, not {terms}")
    one = torch.eye(skew.shape[-1]).expand_as(skew)
    if terms < 3:
        return one + 2 * skew if terms == 2 else one.clone()
    found, power = one + 2 * skew, skew
    for _ in range(2, max(terms, 4) - 1):
        power = power @ skew
        found = found + 2 * power
    return found + power @ skew
