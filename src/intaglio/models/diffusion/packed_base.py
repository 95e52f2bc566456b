"""`PackedBase`: a model whose denoiser's linear layers are packed in memory, which an adapter is trained beside."""

import copy
from pathlib import Path
from typing import Literal

from torch import nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.shared_networks import with_frozen_weights
from intaglio.models.packing.block_codes import BlockKind, level_pairs
from intaglio.models.packing.packed_linear import PackedLinear

BasePrecision = Literal["stored", "nf4", "int8"]


class PackedBase(LatentDiffusion):
    """A latent-diffusion model whose denoiser has packed linear layers; all other weights are as they were."""

    kind: BlockKind
    """Of the codes."""
    stored_fingerprint: str
    """Fingerprint of the model that was packed."""

    @classmethod
    def of(cls, model: LatentDiffusion, kind: BlockKind) -> "PackedBase":
        """A model with packed layers, which shares all other weights with `model`; one that is packed so is given back.

        Raises `BadInput` for a model that is packed in another way, and for one without a layer that can be packed.
        """
        if isinstance(model, PackedBase):
            if model.kind == kind:
                return model
            raise BadInput(f"{model.name} is packed as {model.kind} already; read it as stored for {kind}")
        pairs = level_pairs().to(model.device) if kind == "nf4" else None
        packed = {one: PackedLinear(one, kind, pairs) for one in model.denoiser.modules() if _packable(one)}
        if not packed:
            raise BadInput(f"{model.name} has no linear layer that can be packed; take the stored precision")
        twin = object.__new__(cls)
        vars(twin).update(vars(copy.copy(model)))
        twin.denoiser, twin._digests = with_frozen_weights(model.denoiser, packed), {}
        twin.kind, twin.stored_fingerprint = kind, model.fingerprint
        return twin

    def save(self, folder: Path) -> None:
        """Raises `BadInput`: files have the model that was packed."""
        raise BadInput(f"{self.name} is packed as {self.kind} in memory alone; save the model that it was packed from")


def _packable(module: nn.Module) -> bool:
    """Whether a module is a plain linear layer, without hooks and without buffers of its own."""
    plain = type(module) is nn.Linear and not module._buffers
    return plain and not module._forward_hooks and not module._forward_pre_hooks
