"""`Adapted`: a base and a LoRA beside it as one model, which shares the base's weights."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.models.diffusion.shared_networks import with_same_weights
from intaglio.models.lora.lora import LoRA


class Adapted(LatentDiffusion):
    """A model that computes as its base with a LoRA, and whose weights are the base's own.

    Only modules of the parts that it changes are made anew, and they hold the LoRA's hooks; so both models can be
    called in turn, and a block that gradient checkpointing runs again in the backward pass is still that of the model
    that was called. A move or another precision is that of both. What the weights become is in `merged` alone.
    """

    base: LatentDiffusion
    adapter: LoRA
    strength: float

    def __init__(self, base: LatentDiffusion, lora: LoRA, strength: float = 1.0, *, allow_unmatched: bool = False):
        """The LoRA acts with `strength * alpha / rank`; errors, and the warning, are those of `LoRA.attach`."""
        vars(self).update(vars(base))
        self._digests = {}
        self.base, self.adapter, self.strength = base, lora, strength
        changed = [base.parts[part] for part in lora.named_for(base).layers]
        self.denoiser, *encoders = (
            with_same_weights(network) if network in changed else network
            for network in (base.denoiser, *base.text_encoders)
        )
        self.text_encoders = tuple(encoders)
        lora.attach(self, strength, allow_unmatched=allow_unmatched)

    def part_fingerprint(self, name: str) -> str:
        """SHA-256 of one part's weights and of the adapter beside them; of the weights where that changes nothing."""
        own = super().part_fingerprint(name)
        named = self.adapter.named_for(self.base).items() if self.strength else ()
        layers = {path: layer for part, path, layer in named if part == name and not layer.changes_nothing()}
        if not layers:
            return own
        digest = hashlib.sha256(f"{own} {self.strength!r}".encode())
        for path, layer in sorted(layers.items()):
            digest.update(f"{path} ".encode())
            for one in layer.content():
                if isinstance(one, str):
                    digest.update(f"{one}\n".encode())
                else:
                    digest.update(f"{tuple(one.shape)} {one.dtype}\n".encode())
                    digest.update(_bytes(one))
        return digest.hexdigest()

    def merged(self) -> LatentDiffusion:
        """The same model with weights of its own, to which the change is added in float32.

        Raises `BadInput` where the base is packed.
        """
        model = self.base.copy().to(dtype=torch.float32)
        model.name, model.source, model.notes, model.unused = self.name, self.source, self.notes, self.unused
        # What is unmatched was refused, or allowed and warned of, when the adapter was attached.
        return self.adapter.merged_into(model, self.strength, allow_unmatched=True)

    def copy(self) -> LatentDiffusion:
        """The merged model; beside a packed base, one with modules and hooks of its own."""
        return super().copy() if isinstance(self.base, PackedBase) else self.merged()

    def save(self, folder: Path) -> None:
        """Writes the merged model, as `LatentDiffusion.save` does; raises `BadInput` where the base is packed too."""
        self.merged().save(folder)


def with_own_weights(model: LatentDiffusion) -> LatentDiffusion:
    """The model, merged where a LoRA acts beside it, for whoever reads what it changed in the weights."""
    return model.merged() if isinstance(model, Adapted) else model


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data
