"""`EmbeddedRows`: calibration rows of which any can be taken, their prompts embedded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.calibration_states import CalibrationBatch, CalibrationStates


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """Calibration rows as a model is asked them."""

    model: LatentDiffusion
    """Embeds the prompts, and is on the device of what is taken."""
    rows: CalibrationStates

    def take(self, places: Sequence[int]) -> CalibrationBatch:
        """These rows."""
        rows, device = self.rows, self.model.device
        given = self._embedded[rows.places[places].tolist()]
        if self.model.sampling.guidance == "input":
            given = given.under(rows.scale)
        return CalibrationBatch(rows.latents[places].to(device), rows.t[places].to(device), given)

    @cached_property
    @torch.no_grad()
    def _embedded(self) -> Conditioning:
        return self.model.embed(list(self.rows.texts))
