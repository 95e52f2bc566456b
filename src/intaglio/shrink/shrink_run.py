"""A shrinking as a run: what names it, its price beside the plain way of equal size, and pictures before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.high_frequencies import high_frequency_energy
from intaglio.metrics.quality import psnr, ssim
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.gguf_file import NAME as GGUF
from intaglio.models.packing.gguf_file import check_gguf
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import own_method, settled
from intaglio.sampling.loop import sample
from intaglio.shrink.calibration_states import HELD, STATE, CalibrationStates, drawn_states, picture_states
from intaglio.shrink.call_seconds import call_seconds
from intaglio.shrink.family import Shrinker
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.price import prediction_error
from intaglio.shrink.shrunk import CARD, MODEL, PACKED, Shrunk

Layout = Literal["intaglio", "diffusers", "gguf"]
FEW = 8
"""Rows below which an interval over them is hardly one."""
CALLS = 8
"""Calls of each network by which the time of one is measured, where modules are others."""


@dataclass(frozen=True)
class ShrinkRequest:
    """Calibration rows and pictures of a shrinking: all that it is fitted, judged and shown by."""

    prompts: tuple[str, ...]
    """Of the model's own walks, and of the pictures that are drawn; one or more where either is wanted."""
    rows: int
    """Calibration rows; 0 for none, which leaves a method that needs none unjudged."""
    samples: int
    """Pictures of equal seeds that are drawn before and after, 0 or more."""
    layout: Layout = "intaglio"
    images: ImageSet | None = None
    """Pictures that calibration rows are made of; None: of the model's own walks."""
    base: LatentDiffusion | None = None
    """The base of a fine-tune whose change alone is stored; None for other methods."""

    @property
    def settings(self) -> dict[str, Any]:
        """Those that name a run."""
        return {"rows": self.rows, "samples": self.samples, "layout": self.layout}

    @property
    def hashes(self) -> dict[str, str]:
        """Sha256 of each input that names a run, by its role."""
        of_images = {} if self.images is None else {"calibration": digest(list(self.images.hashes))}
        of_base = {} if self.base is None else {"base": self.base.fingerprint}
        return {"prompts": digest(list(self.prompts)), **of_images, **of_base}

    def calibration(self, model: LatentDiffusion, shrinker: Shrinker, run: Run) -> CalibrationStates | None:
        """The rows that a method learns from and is judged by; None where none are wanted."""
        if not self.rows:
            return None
        about: dict[str, Any] = {"seed": shrinker.seed, "times": shrinker.calibration_times}
        if self.images is not None:
            return picture_states(model, self.images, self.rows, **about)
        return drawn_states(model, self.prompts, self.rows, **about, run=run)


def shrink(shrinker: Shrinker, model: LatentDiffusion, request: ShrinkRequest, run: Run) -> None:
    """Makes the model smaller, stores it with its price and pictures, and finishes the run.

    Errors are those of the method; `BadInput` also for a layout that cannot hold its result.
    """
    check_layout(shrinker, request.layout)
    rows = request.calibration(model, shrinker, run)
    found = shrinker(model, rows, base=request.base, run=run)
    for warning in found.warnings:
        run.warn(warning)
    if rows is not None and len(rows.held) < FEW:
        run.warn(
            f"{len(rows.held)} rows are held back to judge by, too few to trust the interval of the error; give more "
            f"--rows, {HELD * FEW} or more"
        )
    price = {} if rows is None else _price(shrinker, model, found, rows.held, run)
    if shrinker.structural and "call_ms" not in found.facts:
        seconds = call_seconds({"before": model, "after": found.model}, 1, CALLS)
        price = {**price, "call_ms": {name: 1000 * one for name, one in seconds.items()}}
    pictures = _pictures(model, found.model, request, shrinker.seed, run)
    folder = run.folder or Path()
    weights = found.save(folder, request.layout)
    files = [weights / GGUF] if request.layout == "gguf" else []
    files += [weights / "unet" / name for name in (PACKED, "diffusion_pytorch_model.safetensors")]
    before = shrinker.planned(model, 0).before
    summary = {
        "model": weights.relative_to(folder).as_posix(),
        **found.figures(),
        "bytes_at_16_bits": before,
        "layout": request.layout,
        "file_bytes": next((file.stat().st_size for file in files if file.is_file()), 0),
        "calibration": None if rows is None else rows.source,
        **price,
        "pictures": pictures,
        "layers_packed": [asdict(layer) for layer in found.layers],
    }
    run.finish(summary, (MODEL, CARD))
    run.drop_state(STATE)
    for state in found.states:
        run.drop_state(state)


def check_layout(shrinker: Shrinker, layout: Layout) -> None:
    """Raises `BadInput` for a layout that cannot hold the method's result; asks nothing of a model."""
    if shrinker.structural and layout != "intaglio":
        raise BadInput(
            f"{shrinker.name} changes modules, with which other software reads no U-Net; use layout intaglio"
        )
    if layout == "gguf":
        check_gguf(shrinker.settings.get("bits"), shrinker.settings.get("group"))


def equal_ruler(shrinker: Shrinker, model: LatentDiffusion, size: int) -> RoundToNearest | None:
    """Round-to-nearest of the most bits that takes no more bytes; None where even 2 bits take more."""
    for bits in range(8, 1, -1):
        ruler = RoundToNearest(bits=bits, parts=shrinker.parts, keep=shrinker.keep)
        if ruler.planned(model, 0).after <= size:
            return ruler
    return None


def _price(
    shrinker: Shrinker, model: LatentDiffusion, found: Shrunk, held: CalibrationStates, run: Run
) -> Mapping[str, Any]:
    """The error of predictions on rows that were held back, beside that of round-to-nearest in no more bytes."""
    error = prediction_error(model, found.model, held)
    figures: dict[str, Any] = {"error": error.figures(), "ruler": None}
    compared = not (shrinker.on_base or shrinker.structural or isinstance(shrinker, RoundToNearest))
    ruler = equal_ruler(shrinker, model, found.bytes) if compared else None
    if ruler is None:
        return figures
    rounded = ruler(model)
    plain = prediction_error(model, rounded.model, held)
    figures["ruler"] = {"bits": ruler.bits, "bytes": rounded.bytes, "error": plain.whole}
    if plain.whole < error.whole:
        run.warn(
            f"plain rounding to {ruler.bits} bits takes no more bytes and is nearer to {model.name} "
            f"({plain.whole:.3g} against {error.whole:.3g}): use rtn --bits {ruler.bits}"
        )
    return figures


def _pictures(
    model: LatentDiffusion, small: LatentDiffusion, request: ShrinkRequest, seed: int, run: Run
) -> dict[str, Any] | None:
    """Draws pictures of equal seeds by both models, as `before/00` and `after/00`; how alike they are."""
    if not request.samples:
        return None
    prompts = [request.prompts[k % len(request.prompts)] for k in range(request.samples)]
    seeds = [seed_32bit(seed, "shrunk", k) for k in range(request.samples)]
    drawn = []
    for name, one in (("before", model), ("after", small)):
        options = settled(one, None, None, None).options
        pixels = sample(one, prompts, seeds, method=own_method(one), **options, batch=4, run=run).pixels
        for place, picture in enumerate(pixels):
            run.save_image(f"{name}/{place:02d}", picture, {"prompt": prompts[place], "seed": str(seeds[place])})
        drawn.append(pixels)
    before, after = (float(high_frequency_energy(pixels).mean()) for pixels in drawn)
    return {
        "psnr": _mean(psnr(*drawn).tolist()),
        "ssim": _mean(ssim(*drawn).tolist()),
        "high_frequencies": after / before if before else None,
        "count": request.samples,
        "prompts": prompts,
    }


def _mean(values: Sequence[float]) -> float | None:
    """The mean; None where pictures are equal, whose PSNR is infinite."""
    mean = sum(values) / len(values)
    return mean if mean < float("inf") else None
