"""A model whose decoder marks its pictures, with pictures that the mark was read from: made, stored and described."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import intaglio
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png, to_uint8
from intaglio.metrics.quality import psnr
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.family import WeightMark
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.result import MarkedPicture, MarkedPictures
from intaglio.runs.run import Run

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: the model, and its card."""
KIND = "marked"
"""Kind of the records of pictures that the mark was read from."""
HELD_BACK = 5
"""One picture of so many is held back, to read the mark from."""
AT_ONCE = 16
"""Pictures that are encoded together."""


@dataclass(frozen=True, eq=False)
class MarkedModel:
    """A model of which the decoder alone differs, and what is read from pictures that the decoder was not tuned on."""

    model: LatentDiffusion
    marks: MarkedPictures
    """Of pictures that were held back: encoded, and decoded with the mark; `psnr` is to the decoding without it."""
    settings: Mapping[str, Any]
    """Of the mark."""
    original: str
    """Name of the model that was given."""
    fingerprint: str
    """Sha256 over its weights and settings."""
    mark: WeightMark
    """That reads the pictures: as it was given, or with what it learnt once for the model."""

    def save(self, folder: Path) -> Path:
        """Writes the model, in diffusers' layout, the marks and the card; returns the model's folder."""
        self.model.save(Path(folder) / MODEL)
        self.marks.save(folder)
        atomic_write(Path(folder) / CARD, self.card().encode())
        return Path(folder) / MODEL

    def _repr_html_(self) -> str:
        """That of the marks, for notebooks."""
        return self.marks._repr_html_()

    def card(self) -> str:
        """Markdown with the front matter that model hubs read; it gives the key's hash, and nothing of the key."""
        marks = self.marks
        head = ["---", "tags:", "- text-to-image", "- watermark", f"- {marks.method}", "---", ""]
        head += [f"# {self.model.name}", ""]
        facts = [f"- Made from: {self.original} (fingerprint `{self.fingerprint}`); the decoder alone differs"]
        facts += [f"- The mark lies in {marks.reading}; key `{marks.key[:16]}`, user {marks.user}"]
        facts += ["- Licence: inherits the original's", f"- {marks.statement}"]
        facts += ["- Another decoder, such as the original's, draws without the mark"]
        table = ["", "## Settings", "", f"`{marks.method}` of intaglio {intaglio.__version__}", ""]
        table += ["| setting | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in self.settings.items())]
        return "\n".join([*head, *facts, *table, ""])


def mark_model(
    mark: WeightMark,
    model: LatentDiffusion,
    images: ImageSet,
    folder: Path,
    key: MarkKey,
    *,
    user: int = 0,
    seed: int = 0,
    run: Run = Run.none(),
) -> MarkedModel:
    """A model whose decoder marks its pictures, and the mark as it is read from pictures that were held back.

    Args:
        mark: with its settings.
        model: left as it was found.
        images: two or more, of the model's resolution, such as it draws; one in five, from the fifth on, or the last of
            fewer, is held back to be read.
        folder: where the held-back pictures are written as PNG, encoded and decoded with the mark; and beside them
            what a mark learns once, where it was not given.
        key: the secret.
        user: whose mark it is, from 0.
        seed: of batches.
        run: progress, states and records; a killed call goes on.

    Raises:
        BadInput: for a model that lacks what the mark needs, and for fewer pictures than two; before any work.
    """
    check_needs(mark, model)
    check_enough(len(images))
    mark.check_shape(images.pixels.shape[1:], model.name)
    aside = held_back(len(images))
    learned = [place for place in range(len(images)) if place not in aside]
    before = model.fingerprint
    with torch.no_grad(), model.frozen():
        latents = encoded(model, images.pixels)
    settings = {name: value.name if isinstance(value, Path) else value for name, value in asdict(mark).items()}
    mark = mark.ready(model, latents[learned], folder, seed=seed, run=run)
    changed = mark.apply(model, latents[learned], key, user, seed=seed, run=run)
    names = {place: f"{place:04d}.png" for place in aside}
    stored = {name: MarkedPicture(**row) for name, row in run.recorded(KIND).items()}
    rows = {name: row for name, row in stored.items() if (folder / name).is_file()}
    left = [place for place in aside if names[place] not in rows]
    with run.progress(len(aside), mark.name, len(aside) - len(left)) as progress, torch.no_grad():
        for place in left:
            plain, marked = (_levels(one.decode(latents[[place]])) for one in (model, changed))
            save_png(marked[0], folder / names[place])
            found = mark.agreement(mark.read(marked), mark.meant(key, [user], ()), key)
            bits = None if found.bits is None else float(found.bits)
            ratio = float(psnr(marked, plain)) if bool((marked != plain).any()) else None
            rows[names[place]] = MarkedPicture(images.names[place], names[place], float(found.p), bits, ratio)
            run.record(KIND, names[place], asdict(rows[names[place]]))
            progress.advance()
    pictures = tuple(rows[name] for name in names.values())
    marks = MarkedPictures(mark.name, mark.reading, mark.null, key.hash, user, folder, pictures)
    return MarkedModel(changed, marks, settings, model.name, before, mark)


def check_enough(count: int) -> None:
    """Raises `BadInput` for fewer pictures than two."""
    if count < 2:
        raise BadInput(
            f"{count or 'no'} {'picture is' if count == 1 else 'pictures are'} too few to tune a decoder on and to "
            "read the mark from; give two, better a hundred"
        )


def held_back(count: int) -> list[int]:
    """Places of the pictures that the mark is read from."""
    return list(range(HELD_BACK - 1, count, HELD_BACK)) or [count - 1]


def encoded(model: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hl wl"]:
    """Latents on the CPU, some pictures at once."""
    return torch.cat([model.encode(some).cpu() for some in pixels.split(AT_ONCE)])


def _levels(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Pixels as 8-bit files have them."""
    return to_uint8(pixels).float().cpu() / 255
