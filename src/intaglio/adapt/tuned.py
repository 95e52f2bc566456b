"""What fine-tuning gives: a model, what was learned beside it, and where both come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from jaxtyping import Float64
from torch import Tensor

from intaglio.adapt.card import card
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.settings import Training, Watch
from intaglio.adapt.training import Trained
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import FILE_NAME, LoRA
from intaglio.runs.run import Run

if TYPE_CHECKING:
    import pandas

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: full weights, and the card."""


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A tuned model, which samples as any other; saved with a card that says where it comes from."""

    model: LatentDiffusion
    """With the tuned weights; for a LoRA the base's, with the adapter merged in."""
    adapter: LoRA | None
    """What was learned beside the base's weights; None where these themselves were tuned."""
    trained: Trained
    """The losses of every step, and what was seen on the way."""
    settings: Training
    data: TrainingSet
    base: str
    """Name of the model that was tuned."""
    base_fingerprint: str
    samples: ImageSet | None = None
    """Pictures drawn from the tuned model; None where none were asked for."""

    @property
    def losses(self) -> Float64[Tensor, " steps"]:
        """Of every step; class pictures included, with their weight."""
        return self.trained.losses

    def save(self, folder: Path, *, layout: Literal["diffusers", "kohya"] = "diffusers", name: str = "lora") -> Path:
        """Write weights and card into `folder`, each atomically; returns the path of the weights.

        Full weights become a diffusers folder `model/`; an adapter `pytorch_lora_weights.safetensors`, or in kohya's
        layout `NAME.safetensors`, as its users call an adapter by the name of its file.
        """
        folder = Path(folder)
        if self.adapter is None:
            weights = folder / MODEL
            self.model.save(weights)
        else:
            weights = folder / (FILE_NAME if layout == "diffusers" else f"{name}.safetensors")
            self.adapter.write(weights, layout, {"intaglio.base": self.base_fingerprint})
        pictures = () if self.samples is None else self.samples.pixels
        links = [f"samples/{index:02d}.png" for index in range(len(pictures))]
        for link, pixels in zip(links, pictures, strict=True):
            save_png(pixels, folder / link)
        atomic_write(folder / CARD, card(self, name=name, weights=weights.name, pictures=links))
        return weights

    def to_frame(self) -> "pandas.DataFrame":
        """One row a step: `step` counted from 1, `loss`, `lr`."""
        import pandas

        steps = range(1, len(self.losses) + 1)
        rates = [self.settings.rate(step - 1) for step in steps]
        return pandas.DataFrame({"step": steps, "loss": self.losses.tolist(), "lr": rates})


class FineTuner(Protocol):
    """A way of tuning a model to pictures: settings in a frozen dataclass, one call, the model passed in untouched."""

    def __call__(self, model: LatentDiffusion, data: TrainingSet, *, run: Run, watch: Watch) -> FineTuned:
        """Tune a copy of `model`; a killed run goes on where its last saved state was."""
        ...
