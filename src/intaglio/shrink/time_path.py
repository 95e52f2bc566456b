"""`TimePath`: the features that residual blocks are given of the time, a function of the timestep alone."""

from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.layers import weight_layers
from intaglio.shrink.unit_rows import UnitRows
from intaglio.shrink.units import DenoiserUnit

NAME, EMBEDDING, PROJECTION = "time_path", "time_embedding", "time_emb_proj"
"""The unit's name, and the denoiser's of its embedding and of each block's projection."""
FURTHER = ("addition_embed_type", "class_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")
"""Settings of a denoiser that adds something else to the embedding of the time."""


class TimePath(nn.Module):
    """h_i(t) = E_i·silu(MLP(φ(t))) of all residual blocks i of a denoiser, side by side; the layers are its own."""

    def __init__(self, denoiser: Any):
        super().__init__()
        self._times, self._act = [denoiser.time_proj], denoiser.time_embed_act or nn.Identity()
        self.embedding = denoiser.time_embedding
        blocks = [module for module in denoiser.modules() if getattr(module, PROJECTION, None) is not None]
        self.projections = nn.ModuleList(block.time_emb_proj for block in blocks)
        self._acts = [nn.Identity() if block.skip_time_act else block.nonlinearity for block in blocks]

    def forward(self, t: Real[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """The features at these timesteps."""
        embedded = self._act(self.embedding(self._times[0](t).to(next(self.embedding.parameters()).dtype)))
        pairs = zip(self._acts, self.projections, strict=True)
        return torch.cat([projection(act(embedded)) for act, projection in pairs], 1)


def time_unit(model: LatentDiffusion) -> DenoiserUnit:
    """The whole time path of a denoiser as one unit."""
    path = TimePath(model.denoiser)
    layers = {id(layer.module): layer for layer in weight_layers(model)}
    own = {f"{name}.weight": layers[id(module)] for name, module in path.named_modules() if id(module) in layers}
    return DenoiserUnit(NAME, path, own)


def without_time(unit: DenoiserUnit) -> DenoiserUnit:
    """The unit without its projection of the embedding of the time."""
    return DenoiserUnit(unit.path, unit.module, {k: v for k, v in unit.layers.items() if k != f"{PROJECTION}.weight"})


def reads_more_than_time(model: LatentDiffusion) -> str | None:
    """The setting by which the embedding of the time depends on more than the time; None where it does not."""
    config: Any = model.denoiser.config
    return next((name for name in FURTHER if config.get(name) is not None), None)


@torch.no_grad()
def time_rows(model: LatentDiffusion, t: Real[Tensor, "m"]) -> UnitRows:
    """Rows of the time path: timesteps, and the features of the full model."""
    t = t.to(model.device)
    return UnitRows((t,), {}, TimePath(model.denoiser)(t))


def grid_times(count: int, steps: int) -> tuple[Int[Tensor, "g"], Int[Tensor, "g"]]:
    """So many times evenly spread over 0..steps-1, ends and all, and as many that lie midway between two, or at 0."""
    places = torch.linspace(0, steps - 1, count, dtype=torch.float64)
    midway = (places - (steps - 1) / (2 * max(1, count - 1))).clamp(min=0)
    return places.round().long(), midway.round().long()
