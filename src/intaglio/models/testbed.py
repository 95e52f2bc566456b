"""The embedded testbed: a base model, sets of an artist that it never saw, an encoder, a classifier, two more."""

import io
import zipfile
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from intaglio.data_files import parse_json, read_json
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import PACKAGE, atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.bit_extractors import BitExtractor, load_bit_extractor
from intaglio.models.classifiers import PictureClassifier, load_classifier
from intaglio.models.picture_restorers import PictureRestorer, load_picture_restorer

FOLDER = PACKAGE / "testbed"
"""Folder of the installed testbed."""


@dataclass(frozen=True)
class FewShot:
    """One set of the held-out artist, 64x64 pixels. No two of its members and holdouts are near-duplicates."""

    members: ImageSet
    """10 pictures to fine-tune on."""
    holdouts: ImageSet
    """10 pictures of the same kind, the other half of the draw that gave the members."""
    near: ImageSet
    """10 unused pictures most similar to the members, near-duplicates such as the other gender included."""
    controls: ImageSet
    """40 further pictures by the artist, of the same kind as far as there are any, else of the same category."""
    other_hands: ImageSet
    """20 pictures of the members' and holdouts' subjects by other artists, from the base's training set."""


def base_path() -> Path:
    """Folder of the base model in diffusers' layout. Raises `IntaglioError` where it was not installed."""
    return _installed("emoji64/model_index.json").parent


def encoder_path() -> Path:
    """Path of the similarity encoder, a `.safetensors` file. Raises `IntaglioError` where it was not installed."""
    return _installed("encoder/encoder.safetensors")


def classifier_path() -> Path:
    """Path of the classifier of kinds and artists, a `.safetensors` file. Raises `IntaglioError` where it was not
    installed.
    """
    return _installed("classifier/classifier.safetensors")


def classifier() -> PictureClassifier:
    """The classifier of kinds and artists (`intaglio.models.classifiers`), in evaluation mode.

    Raises `IntaglioError` where it was not installed.
    """
    return load_classifier(classifier_path())


def noise_classifier_path(*, told: bool = True) -> Path:
    """Path of a classifier that was trained on noisy pictures, a `.safetensors` file.

    `told`: the one that is told the noise level; else its peer of the same stages, which takes no level. Raises
    `IntaglioError` where it was not installed.
    """
    return _installed(f"classifier/noise-{'told' if told else 'plain'}.safetensors")


def noise_classifier(*, told: bool = True) -> PictureClassifier:
    """A classifier of kinds and artists that was trained on noisy pictures, in evaluation mode.

    `told` and errors as of `noise_classifier_path`.
    """
    return load_classifier(noise_classifier_path(told=told), levels=told)


def held_out_pictures() -> tuple[ImageSet, tuple[dict[str, str], ...]]:
    """The shipped pictures of subjects that no embedded classifier has seen, with names of classes by head.

    Pictures of all four artists, in the order of their names; a head is missing where the class is not known.
    """
    labels = read_json(_installed("classifier/held_out.json"))
    parts = [part for one in _document()["sets"].values() for part in one.values()]
    lines = {line["hash"]: line for part in (*parts, _document()["controls_wide"]) for line in part}
    images = _read([line for content, line in lines.items() if content in labels])
    return images, tuple(labels[content] for content in images.hashes)


def extractor_path() -> Path:
    """Path of the extractor of bits, a `.safetensors` file. Raises `IntaglioError` where it was not installed."""
    return _installed("extractor/extractor.safetensors")


def extractor() -> BitExtractor:
    """The extractor of bits (`intaglio.models.bit_extractors`), in evaluation mode, 32 logits a picture.

    Raises `IntaglioError` where it was not installed.
    """
    return load_bit_extractor(extractor_path())


def destroyer_path() -> Path:
    """Path of the destroyer of payloads, a `.safetensors` file. Raises `IntaglioError` where it was not installed."""
    return _installed("destroyer/destroyer.safetensors")


def destroyer() -> PictureRestorer:
    """The destroyer of payloads (`intaglio.models.picture_restorers`), in evaluation mode, by which `ddsp` cleans.

    Raises `IntaglioError` where it was not installed.
    """
    return load_picture_restorer(destroyer_path())


def style_statistics_path() -> Path:
    """Path of the style statistics of the decoded real pictures. Raises `IntaglioError` where it was not installed."""
    return _installed("encoder/style_statistics.safetensors")


def retrained_path() -> Path:
    """Path of the losses of models trained again, an `.npz`. Raises `IntaglioError` where it was not installed."""
    return _installed("influence/retrained.npz")


def sets() -> tuple[str, ...]:
    """Names of the few-shot sets, in the order of the file that lists them."""
    return tuple(_document()["sets"])


def few_shot(name: str) -> FewShot:
    """The few-shot set of a name in `sets()`. Raises `BadInput` for another name."""
    table = _document()["sets"]
    if name not in table:
        raise BadInput(f"there is no few-shot set called {name!r}; choose one of: {', '.join(table)}")
    return FewShot(**{part.name: _read(table[name][part.name]) for part in fields(FewShot)})


def controls_wide(beside: str | None = None) -> ImageSet:
    """Some 200 pictures of the held-out artist that are in no set's members, holdouts or near.

    Enough of them to resolve a false-positive rate of 1%. Some are among the `controls` of a set: `beside` names the
    set whose controls are left out, so that the two can be joined.
    """
    taken = () if beside is None else few_shot(beside).controls.hashes
    images = _read(_document()["controls_wide"])
    return images[[i for i, content in enumerate(images.hashes) if content not in taken]]


def real_pictures() -> ImageSet:
    """340 pictures of the base's own training set, each of another subject, with captions `NAME, ARTIST style`."""
    drawn = [few_shot(name).other_hands for name in sets()]
    first: dict[str, tuple[int, int]] = {}
    for k, images in enumerate(drawn):
        for place, content in enumerate(images.hashes):
            first.setdefault(content, (k, place))
    pixels = torch.stack([drawn[k].pixels[place] for k, place in first.values()])
    names = [drawn[k].names[place] for k, place in first.values()]
    captions = [(drawn[k].captions or ())[place] for k, place in first.values()]
    return ImageSet.from_pixels(pixels, names, captions)


def materialise(name: str, folder: Path, *, captions: bool = True) -> Path:
    """Writes one set as plain folders of PNG files: `members/`, `holdouts/`, `near/`, `controls/`, `other_hands/`.

    With `captions`, each picture has its caption beside it as `.txt`. Also takes the name `controls-wide`, which
    is written flat. Returns `folder`.
    """
    if name == "controls-wide":
        _write(controls_wide(), folder, captions)
        return folder
    parts = few_shot(name)
    for part in fields(FewShot):
        _write(getattr(parts, part.name), folder / part.name, captions)
    return folder


def _write(images: ImageSet, folder: Path, captions: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture, name, caption in zip(images.pixels, images.names, images.captions, strict=True):
        save_png(picture, folder / name)
        if captions and caption is not None:
            atomic_write((folder / name).with_suffix(".txt"), f"{caption}\n".encode())


def _installed(relative: str) -> Path:
    path = FOLDER / relative
    if not path.is_file():
        raise IntaglioError(
            f"the testbed's {path} is missing: Intaglio was installed without its data; install the full wheel, or "
            "from a complete checkout"
        )
    return path


@cache
def _document() -> dict[str, Any]:
    with zipfile.ZipFile(_installed("sets/pictures.zip")) as archive:
        return parse_json(archive.read("sets.json"), "sets.json")


def _read(lines: list[dict[str, str]]) -> ImageSet:
    """The listed pictures, in the order of a folder's names."""
    lines = sorted(lines, key=lambda line: f"{line['name']}.png")
    with zipfile.ZipFile(_installed("sets/pictures.zip")) as archive:
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(line["file"]))).convert("RGB")) for line in lines]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    images = ImageSet.from_pixels(
        pixels, [f"{line['name']}.png" for line in lines], [line["caption"] for line in lines]
    )
    changed = [line["name"] for line, found in zip(lines, images.hashes, strict=True) if line["hash"] != found]
    if changed:
        raise IntaglioError(f"pictures of the testbed differ from their listed hashes ({changed[0]}); install it again")
    return images
