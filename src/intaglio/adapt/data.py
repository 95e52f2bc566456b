"""Training sets: pictures with their prompts, and class pictures for prior preservation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import settled
from intaglio.sampling.loop import sample


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training pictures, and optionally class pictures for prior preservation (arXiv 2208.12242, section 3.3).

    A picture's own caption comes first, then `prompt` (for class pictures `class_prompt`), then the name after the
    number of a kohya folder such as `10_sks dog`.
    Raises `BadInput` where a picture is left without a prompt, or where a class prompt has no class pictures.
    """

    images: ImageSet
    prompt: str | None = None
    class_images: ImageSet | None = None
    class_prompt: str | None = None

    def __post_init__(self) -> None:
        if not len(self.images):
            raise BadInput("There are no pictures to train on; give a folder with at least one.")
        _prompts(self.images, self.prompt, "prompt")
        if self.class_images is None:
            if self.class_prompt is not None:
                raise BadInput("A class prompt needs class pictures: give --class-images FOLDER or --class-count N.")
            return
        if not len(self.class_images):
            raise BadInput("There are no class pictures; give a folder with at least one, or leave them out.")
        _prompts(self.class_images, self.class_prompt, "class-prompt")

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each picture."""
        return _prompts(self.images, self.prompt, "prompt")

    @property
    def class_prompts(self) -> tuple[str, ...]:
        """The prompt of each class picture; empty where there are none."""
        return () if self.class_images is None else _prompts(self.class_images, self.class_prompt, "class-prompt")

    @property
    def trigger(self) -> str:
        """The prompt of the subject: the instance prompt, or else the first picture's."""
        return self.prompt if self.prompt is not None else self.prompts[0]

    @property
    def distinct(self) -> int:
        """The number of different pictures."""
        return len(set(self.images.hashes))

    @property
    def warnings(self) -> list[str]:
        """Warnings before a fine-tune: of the files that were read, of a single picture, of duplicates."""
        found = [*self.images.warnings, *(self.class_images.warnings if self.class_images is not None else ())]
        if self.distinct == 1:
            found.append(
                "one training picture: corruption comes early and copying soon after; look at the curve, keep best"
            )
        if pairs := self.images.duplicates():
            listed = ", ".join(f"{one} and {two}" for one, two in pairs)
            found.append(f"pictures that look the same weigh double in training: {listed}")
        return found

    def half(self, seed: int) -> "TrainingSet":
        """A random half of the different pictures, rounded down, with all class pictures.

        It is a function of the seed and of the pictures' contents, whatever their order. Raises `BadInput` where there
        is no half of one picture.
        """
        different = sorted(set(self.images.hashes))
        if len(different) < 2:
            raise BadInput("there is no half of a single picture; give more of them, or leave --half out")
        order = torch.randperm(len(different), generator=generator(seed, "half of a training set"))
        chosen = {different[place] for place in order[: len(different) // 2].tolist()}
        kept = self.images[[i for i, content in enumerate(self.images.hashes) if content in chosen]]
        return replace(self, images=replace(kept, warnings=self.images.warnings))

    def head(self, count: int) -> "TrainingSet":
        """The first `count` pictures, and as many class pictures."""
        few = None if self.class_images is None else self.class_images[:count]
        return TrainingSet(self.images[:count], self.prompt, few, self.class_prompt)


def epoch_order(images: ImageSet) -> tuple[int, ...]:
    """The indices of one epoch: each picture as often as its folder's repeats say."""
    return tuple(index for index, times in enumerate(images.repeats) for _ in range(times))


def training_hash(images: ImageSet, prompts: Sequence[str]) -> str:
    """Sha256 over the pictures, prompts and repeats of a set, in order."""
    return hashlib.sha256(repr(list(zip(images.hashes, prompts, images.repeats, strict=True))).encode()).hexdigest()


def generate_class_images(
    model: LatentDiffusion, prompt: str, count: int, seed: int, *, run: Run | None = None, batch: int = 8
) -> ImageSet:
    """`count` class pictures drawn from the base, with the steps and guidance that are its own.

    Those already in the run's folder are read in place of being drawn.

    Each has its own seed and is rounded to 8 bits as its file is, so that a resumed run trains on the same numbers.
    """
    run = run or Run.none()
    names = [f"class/{index:04d}" for index in range(count)]
    seeds = [seed_32bit(seed, "class", index) for index in range(count)]
    pictures = {index: path for index, name in enumerate(names) if (path := _stored(run, name)) is not None}
    pixels = dict(zip(pictures, _read(list(pictures.values()), model.resolution), strict=True))
    own = settled(model, None, None, None)
    missing = [index for index in range(count) if index not in pixels]
    with run.progress(count, "class pictures", len(pixels)) as progress:
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            drawn = sample(model, [prompt] * len(part), [seeds[i] for i in part], batch=batch, **own.options).pixels
            for index, picture in zip(part, drawn, strict=True):
                run.save_image(names[index], picture, {"prompt": prompt, "seed": str(seeds[index])})
                pixels[index] = to_uint8(picture).float() / 255
            progress.advance(len(part))
    ordered = torch.stack([pixels[index] for index in range(count)])
    return ImageSet.from_pixels(ordered, names=names, captions=[prompt] * count)


def _stored(run: Run, name: str) -> Path | None:
    path = None if run.folder is None else run.folder / "images" / f"{name}.png"
    return path if path is not None and path.exists() else None


def _read(paths: Sequence[Path], resolution: int) -> list[torch.Tensor]:
    return [ImageSet.load([path], resolution).pixels[0] for path in paths]


def _prompts(images: ImageSet, fallback: str | None, flag: str) -> tuple[str, ...]:
    return picture_prompts(images.names, images.captions, fallback, flag)
