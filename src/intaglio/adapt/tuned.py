"""The result of a fine-tune: the tuned model, its adapter, and what both were made from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float64
from torch import Tensor

from intaglio.adapt.card import card
from intaglio.adapt.corruption import stages
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.guarantee import Guarantee
from intaglio.adapt.outcome import finding
from intaglio.adapt.settings import Training
from intaglio.adapt.training import Trained
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png, to_uint8
from intaglio.images.notebook import result_html
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import FILE_NAME, LoRA

if TYPE_CHECKING:
    import pandas

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: full weights, and the card."""


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A tuned model, which samples as any other; saved with a card of its provenance."""

    model: LatentDiffusion
    """With the tuned weights; for a LoRA the base's, with the adapter merged in."""
    adapter: LoRA | None
    """The trained adapter; None where the base's own weights were tuned."""
    trained: Trained
    """The losses of every step, and the judgements made meanwhile."""
    settings: Training
    """The method that was called, with its settings."""
    data: TrainingSet
    base: str
    """Name of the model that was tuned."""
    base_fingerprint: str
    """Sha256 over that model's weights."""
    method: str
    """The method's name, such as `dreambooth`."""
    reading: str
    """How the result came about, as a headline."""
    samples: ImageSet | None = None
    """Pictures drawn from the tuned model; None where none were asked for."""
    packed: str | None = None
    """How the base's linear layers were packed while it was tuned; None where they were as they are stored."""
    before: ImageSet | None = None
    """The base's pictures from the same noise as `samples`; None where none were drawn."""
    guarantee: Guarantee | None = None
    """The privacy of each training picture; None where none is promised."""

    @property
    def change(self) -> float | None:
        """Root mean square difference of samples and the base's own, in 8 bits; None where none were drawn."""
        if self.samples is None or self.before is None:
            return None
        apart = to_uint8(self.samples.pixels.cpu()).float() - to_uint8(self.before.pixels.cpu()).float()
        return float(apart.square().mean().sqrt()) / 255

    @property
    def losses(self) -> Float64[Tensor, " steps"]:
        """The loss of every step, weighted class pictures included; NaN for a step that was left out."""
        return self.trained.losses

    def figures(self) -> dict[str, Any]:
        """Plain values for a run's summary; where pictures were judged, also how the exported step looked."""
        found = {
            "reading": self.reading,
            "prompt": self.data.trigger,
            "prompts": len(set(self.data.prompts)),
            "pictures": len(self.data.images),
            "steps": len(self.losses),
            "loss_last_tenth": float(self.trained.last_losses.nanmean()),
            "finding": finding(
                self.settings, self.trained.curve, self.change, self.trained.kept, private=self.guarantee is not None
            ),
            "sample_change": self.change,
            **({} if self.guarantee is None else self.guarantee.figures()),
        }
        curve = self.trained.curve
        if not curve:
            return found
        kept = self.trained.kept or curve[-1].step
        exported = next(judged for judged in curve if judged.step == kept)
        return found | {
            "kept_step": kept,
            "fidelity": exported.fidelity,
            "base_fidelity": curve[0].fidelity,
            "quality": exported.quality,
            "corruption": [asdict(stage) for stage in stages(curve)],
        }

    def _repr_html_(self) -> str:
        """Figures and the samples, each after the base's from the same noise, for notebooks."""
        pairs = []
        for index, drawn in enumerate(() if self.samples is None else self.samples.pixels):
            if self.before is not None:
                pairs.append((f"seed {index}, base", self.before.pixels[index]))
            pairs.append((f"seed {index}, tuned", drawn))
        return result_html(f"{self.reading} ({self.method})", self.figures(), pictures=pairs)

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
        packed = "" if self.packed is None else f", its linear layers in {self.packed} while it was tuned"
        text = card(
            name,
            f"{self.reading}: a {'model' if self.adapter is None else 'LoRA adapter'}, in `{weights.name}`.",
            tags=("text-to-image", self.method),
            base=f"{self.base} (fingerprint `{self.base_fingerprint}`){packed}",
            data=self.data,
            settings=self.settings,
            trained=self.trained,
            pictures=links,
            layers=[] if self.adapter is None else [(part, path) for part, path, _ in self.adapter.pairs()],
            guarantee=self.guarantee,
        )
        atomic_write(folder / CARD, text)
        return weights

    def to_frame(self) -> "pandas.DataFrame":
        """One row a step: `step` counted from 1, `loss`, `lr`."""
        import pandas

        steps = range(1, len(self.losses) + 1)
        rates = [self.settings.rate(step - 1) for step in steps]
        return pandas.DataFrame({"step": steps, "loss": self.losses.tolist(), "lr": rates})
