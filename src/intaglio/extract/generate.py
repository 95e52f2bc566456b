"""Generation of an extraction's pictures: in rounds over processes, without failures, resumed exactly."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.settings import GenerationSettings
from intaglio.images.image_set import save_png, to_uint8
from intaglio.images.picture_file import open_picture
from intaglio.metrics.similarity.measures import Embedding, NoDescriptorError
from intaglio.models.worker_copies import SharedModels, shared_models
from intaglio.runs.fan_out import fan_out
from intaglio.runs.run import Run
from intaglio.sampling.guide import Guide
from intaglio.sampling.loop import sample_batches

ROUND_PICTURES = 50
"""Pictures between two looks at whether there are enough, rounded up to whole batches."""
BLANK_STD = 1e-3
"""Standard deviation of the pixels below which a picture is blank; several of those would be a tight group."""
FAILED, BLANK = "not finite", "blank"
"""Why a picture is left out of the groups."""


GuideOf = Callable[..., Guide]
"""`Extractor.guide`: from the base, and whether a prompt is known, to the guide."""


@dataclass(frozen=True)
class SeedBatch:
    """Pictures that are drawn at once: their seeds, each with its prompt."""

    seeds: tuple[int, ...]
    prompts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.seeds[0]:07d}"


@dataclass(frozen=True)
class GenerateBatch:
    """Draws a batch, in whatever process."""

    models: SharedModels
    settings: GenerationSettings
    guide: GuideOf
    prompted: bool

    def __call__(self, batch: SeedBatch) -> Float[Tensor, "n 3 h w"]:
        suspect, base = self.models.models()
        batches = sample_batches(
            suspect,
            batch.prompts,
            batch.seeds,
            sampler=self.settings.sampler,
            steps=self.settings.steps,
            guidance_scale=1.0,
            negative="",
            guide=self.guide(base, prompted=self.prompted),
            batch=len(batch.seeds),
            spare_failed=True,
        )
        return torch.cat(list(batches))


@dataclass(frozen=True, eq=False)
class BatchResult:
    """The descriptors of a batch's pictures, and which pictures are left out."""

    descriptors: Float[Tensor, "n d"]
    """Zero where a picture is left out."""
    left_out: tuple[str | None, ...]
    """The reason for each picture; None for one that is kept."""


@dataclass(frozen=True, eq=False)
class Generated:
    """The pictures that can be compared, in the order of their seeds."""

    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    descriptors: Float[ndarray, "n d"]
    """Of unit length."""
    excluded: dict[str, int]
    """How many pictures were left out, by reason."""

    @property
    def count(self) -> int:
        """Pictures drawn, those left out among them."""
        return len(self.seeds) + sum(self.excluded.values())


class PictureCache:
    """Drawn pictures as PNG files by seed, so that memory holds their descriptors alone."""

    def __init__(self, folder: Path):
        self._folder = folder

    def put(self, seed: int, pixels: Float[Tensor, "3 h w"]) -> None:
        """Store one picture."""
        save_png(pixels, self._path(seed))

    def get(self, seeds: Sequence[int]) -> Float[Tensor, "n 3 h w"]:
        """The pictures of these seeds, at least one, in [0, 1]."""
        rows = [self._read(seed) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 255

    def has(self, seed: int) -> bool:
        """Whether the picture of this seed is still there."""
        return self._path(seed).is_file()

    def _read(self, seed: int) -> np.ndarray:
        path = self._path(seed)
        try:
            with open_picture(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except Exception as error:  # parsers of damaged files fail in every way there is
            raise IntaglioError(
                f"{path} is no longer the picture that was drawn; delete the run's folder and draw anew"
            ) from error

    def _path(self, seed: int) -> Path:
        return self._folder / f"{seed:07d}.png"


@contextmanager
def picture_cache(run: Run, label: str) -> Iterator[PictureCache]:
    """A cache of drawn pictures: in the run's folder for good, or for the null run as long as the block."""
    if run.folder is not None:
        yield PictureCache(run.folder / "images" / label)
        return
    with TemporaryDirectory(prefix="intaglio-") as folder:
        yield PictureCache(Path(folder))


def generate(
    settings: GenerationSettings,
    guide: GuideOf,
    inputs: ExtractionInputs,
    pictures: PictureCache,
    *,
    count: int,
    enough: Callable[[Generated], bool] | None,
    label: str,
    key: str,
    run: Run,
    workers: int,
) -> Generated:
    """Draw `count` pictures, or as many as are `enough`, in rounds over processes.

    Args:
        settings: seeds, sampler, steps, pictures at once.
        guide: the method's.
        inputs: the models, the prompts, and the encoder that gives the descriptors.
        pictures: takes the pictures.
        count: pictures drawn at most.
        enough: asked after each round; none draws all.
        label: of the progress, and of the states that a killed run finds again.
        key: what the pictures depend on; a state stored under another one is drawn again.
        run: where states go.
        workers: processes; the pictures do not depend on their number.
    """
    batches, known = _batches(settings, inputs.prompts, count), dict[SeedBatch, BatchResult]()
    for batch in batches:
        stored = run.load_state(f"{label}-{batch.name}")
        if stored is not None and stored[1].get("key") == key:
            found = BatchResult(stored[0]["descriptors"], tuple(stored[1]["left_out"]))
            drawn = zip(batch.seeds, found.left_out, strict=True)
            if all(reason == FAILED or pictures.has(seed) for seed, reason in drawn):
                known[batch] = found
    done = sum(len(batch.seeds) for batch in known)
    a_round, models = batches_a_round(settings.batch), (inputs.suspect, inputs.base)
    with shared_models(models, workers, run.folder) as shared, run.progress(count, label, done) as progress:
        draw = GenerateBatch(shared, settings, guide, inputs.prompted)
        for first in range(0, len(batches), a_round):
            fresh = [batch for batch in batches[first : first + a_round] if batch not in known]
            for batch, pixels in fan_out(draw, fresh, workers):
                known[batch] = found = _kept(batch, pixels, inputs.similarity, pictures)
                meta = {"key": key, "left_out": list(found.left_out)}
                run.save_state(f"{label}-{batch.name}", {"descriptors": found.descriptors}, meta)
                progress.advance(len(batch.seeds))
            generated = _joined(batches[: first + a_round], known)
            if enough is not None and enough(generated):
                break
    return generated


def batches_a_round(batch: int) -> int:
    """Batches of so many pictures that are drawn between two looks at whether there are enough."""
    return -(-ROUND_PICTURES // batch)


def forget(run: Run, settings: GenerationSettings, label: str) -> None:
    """Drops the states of `generate`; to be called once its result is safe."""
    for batch in _batches(settings, [], settings.generations):
        run.drop_state(f"{label}-{batch.name}")


def _batches(settings: GenerationSettings, prompts: Sequence[str], count: int) -> list[SeedBatch]:
    seeds = [settings.seed + index for index in range(count)]
    texts = [prompts[index % len(prompts)] if prompts else "" for index in range(count)]
    cuts = range(0, count, settings.batch)
    return [SeedBatch(tuple(seeds[i : i + settings.batch]), tuple(texts[i : i + settings.batch])) for i in cuts]


def _kept(
    batch: SeedBatch, pixels: Float[Tensor, "n 3 h w"], similarity: Embedding, cache: PictureCache
) -> BatchResult:
    """Stores what can be stored, and compares what can be compared."""
    why = tuple(FAILED if not p.isfinite().all() else BLANK if float(p.std()) < BLANK_STD else None for p in pixels)
    # What is compared is what is stored, so that a resumed run compares the same.
    stored = to_uint8(pixels.nan_to_num(0.0)).float() / 255
    for seed, picture, reason in zip(batch.seeds, stored, why, strict=True):
        if reason != FAILED:
            cache.put(seed, picture)
    kept = torch.tensor([reason is None for reason in why])
    try:
        found = similarity.embed(stored[kept])
    except NoDescriptorError as error:
        seeds = [f"the picture of seed {seed}" for seed, reason in zip(batch.seeds, why, strict=True) if reason is None]
        raise NoDescriptorError(error.encoder, error.indices, seeds) from None
    descriptors = torch.zeros(len(stored), found.shape[1])
    descriptors[kept] = found
    return BatchResult(descriptors, why)


def _joined(batches: Sequence[SeedBatch], known: dict[SeedBatch, BatchResult]) -> Generated:
    seeds = [seed for batch in batches for seed in batch.seeds]
    prompts = [prompt for batch in batches for prompt in batch.prompts]
    why = [reason for batch in batches for reason in known[batch].left_out]
    good = [index for index, reason in enumerate(why) if reason is None]
    descriptors = torch.cat([known[batch].descriptors for batch in batches])[good].numpy()
    excluded = Counter(reason for reason in why if reason is not None)
    return Generated(
        tuple(seeds[i] for i in good), tuple(prompts[i] for i in good), descriptors, dict(sorted(excluded.items()))
    )
