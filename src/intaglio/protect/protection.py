"""Protection of a folder: pictures by size, in groups, each given back as soon as it is done."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.budget import LEVELS
from intaglio.protect.cost import ProtectionPlan, advice, make_plan
from intaglio.protect.descent import ChangeState, Group, ProtectionWork
from intaglio.protect.family import Protector
from intaglio.protect.model_views import centred
from intaglio.protect.originals import NOTES, Original
from intaglio.protect.result import SHOWN, ProtectedPicture, ProtectionResult
from intaglio.protect.surrogate import Surrogate
from intaglio.runs.picture_groups import PictureResult, drop_groups, group_states
from intaglio.runs.run import Run

Masks = Mapping[str, UInt8[ndarray, "h w"]]
"""By a picture's name: 128 and more where it may change, less where it must stay; upright and of its size."""
NO_MASKS: Masks = {}
MOST_PIXELS = 1 << 24
"""Pixels of all pictures that are worked on together, at most (200 MB in float32); a larger one is worked on alone."""
MOST_SHOWN, SHOWN_SIDE = 24, 512
"""Pictures that are kept for the report, the first by name, and their longest side in pixels."""


def protect(
    method: Protector,
    model: LatentDiffusion,
    originals: Sequence[Original],
    folder: Path,
    *,
    prompt: str = "",
    target: Float[Tensor, "1 3 h w"] | None = None,
    masks: Masks = NO_MASKS,
    run: Run = Run.none(),
) -> ProtectionResult:
    """Change pictures within the method's budget, and give them back in a folder.

    Args:
        method: with its settings.
        model: stands for the one that an imitator has; it is left as it was found.
        originals: the pictures.
        folder: where they are given back, each as soon as it is done.
        prompt: what an imitator would call them.
        target: for a method with `uses_target`, a picture in [0, 1] at the model's resolution; None: none.
        masks: what may change, by name; a picture without one may change everywhere.
        run: progress and states; a killed call goes on where it was.

    Raises:
        BadInput: a model that lacks what the method needs, no pictures, or a mask that does not fit.
        IntaglioError: a gradient that is not finite.
    """
    check_needs(method, model)
    if not originals:
        raise BadInput("there are no pictures to protect; name a folder with at least one")
    by_name = {one.name: one for one in originals}
    places = {one.name: place for place, one in enumerate(originals)}
    may_change = {name: _share(one, masks.get(name)) for name, one in by_name.items()}
    by_size = _by_size(originals)
    reached: dict[tuple[str, ...], ChangeState] = {}
    results: dict[str, PictureResult] = {}
    shown: dict[str, dict[str, str]] = {}

    def keep(name: str, levels: UInt8[Tensor, "3 h w"]) -> None:
        original = by_name[name]
        original.save(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()), folder)
        if places[name] < MOST_SHOWN:
            shown[name] = _small_pictures(run, f"{places[name]:04d}", original, levels, method.budget)

    for surrogate, since, stop in _rounds(method, model, prompt, by_size, reached, run):
        work = ProtectionWork(method, surrogate, target, by_name, may_change, keep, reached)
        for size, images in by_size.items():
            key = _work_key(method, model, prompt, target, [may_change[name] for name in images.names])
            how = {"batch": group_size(method, images), "label": f"{method.name} {size}"}
            with advice(method):
                for _, group, state in group_states(run, size, key, images, work, steps=stop, since=since, **how):
                    if stop < method.steps:
                        reached[group.images.names] = state
                    else:
                        results |= _finished(run, size, work, group, state)
    pictures = tuple(_protected_picture(one, results[one.name], shown.get(one.name, {})) for one in originals)
    return ProtectionResult(
        method.name, method.objective, method.budget, model.name, folder, pictures, method.transformations
    )


def _rounds(
    method: Protector,
    model: LatentDiffusion,
    prompt: str,
    by_size: Mapping[str, ImageSet],
    reached: Mapping[tuple[str, ...], ChangeState],
    run: Run,
) -> Iterator[tuple[Surrogate, int, int]]:
    """The surrogate of each round, held frozen; the steps done when the round begins, and when it ends.

    The caller puts the state of each group into `reached` at the end of a round, from which the pictures of the next
    lesson are made; it is empty in the first round.
    """
    learning = method.surrogates(model, _seen(by_size, {}, model.resolution), prompt, run)
    learned, since = next(learning), 0
    for stop in method.stops():
        if reached:
            learned = learning.send(_seen(by_size, reached, model.resolution))
        with Surrogate.of(
            learned,
            prompt,
            micro_batch=method.micro_batch,
            precision=method.precision,
            checkpointing=method.checkpointing,
        ) as surrogate:
            yield surrogate, since, stop
        since = stop


def _seen(by_size: Mapping[str, ImageSet], reached: Mapping[tuple[str, ...], ChangeState], side: int) -> ImageSet:
    """All pictures, changed as far as they are, as a trainer sees them: squares, sorted by name."""
    change = {name: state.change[row] for names, state in reached.items() for row, name in enumerate(names)}
    squares = {}
    for images in by_size.values():
        for name, pixels in zip(images.names, images.pixels, strict=True):
            squares[name] = centred(pixels + change[name] if name in change else pixels, side)
    names = sorted(squares)
    return ImageSet.from_pixels(torch.cat([squares[name] for name in names]), names)


def _finished(run: Run, size: str, work: ProtectionWork, group: Group, state: ChangeState) -> dict[str, PictureResult]:
    """The results of a group by name, recorded."""
    found = dict(zip(group.images.names, work.finish(group, state), strict=True))
    for name, result in found.items():
        run.record(size, name, result.record())
    return found


def group_size(method: Protector, images: ImageSet) -> int:
    """Pictures of a size worked on together: fewer than the method's batch where they are large."""
    height, width = images.pixels.shape[-2:]
    return max(1, min(method.batch, MOST_PIXELS // (height * width)))


def planned(
    method: Protector, model: LatentDiffusion, originals: Sequence[Original], *, prompt: str = ""
) -> ProtectionPlan:
    """The cost of `protect`, measured on one micro-batch of views."""
    check_needs(method, model)
    groups = [
        4 * images.pixels[0].numel() * min(len(images), group_size(method, images))
        for images in _by_size(originals).values()
    ]
    return make_plan(method, model, originals, prompt, max(groups, default=0))


def forget(method: Protector, originals: Sequence[Original], run: Run) -> None:
    """Drops the states of a call; to be called once its result is safe."""
    method.forget(run)
    for size, images in _by_size(originals).items():
        drop_groups(run, size, len(images), group_size(method, images))


def content_hash(originals: Sequence[Original]) -> str:
    """sha256 over names, pixels and transparency of pictures."""
    digest = hashlib.sha256()
    for one in originals:
        digest.update(repr((one.name, one.pixels.shape, one.grey)).encode() + one.pixels.tobytes())
        digest.update(b"" if one.alpha is None else one.alpha.tobytes())
    return digest.hexdigest()


def _by_size(originals: Sequence[Original]) -> dict[str, ImageSet]:
    """Pictures of one size together, by a word for the size."""
    parts: dict[str, list[Original]] = {}
    for one in originals:
        height, width = one.pixels.shape[:2]
        parts.setdefault(f"{width}x{height}", []).append(one)
    return {kind: _images(part) for kind, part in sorted(parts.items())}


def _images(originals: Sequence[Original]) -> ImageSet:
    pixels = np.stack([one.pixels for one in originals]).transpose(0, 3, 1, 2)
    return ImageSet.from_pixels(torch.from_numpy(pixels.copy()).float() / 255, [one.name for one in originals])


def _share(original: Original, mask: UInt8[ndarray, "h w"] | None) -> Float[Tensor, "1 h w"]:
    """The share of the budget that a mask and transparency leave each pixel: 0 or 1."""
    share = np.ones(original.pixels.shape[:2], np.float32)
    if original.alpha is not None:
        share *= original.alpha > 0
    if mask is not None:
        if mask.shape != share.shape:
            raise BadInput(f"the mask of {original.name} has another size than the picture; give one of the same size")
        if not (mask >= 128).any():
            raise BadInput(f"the mask of {original.name} is black everywhere, so nothing may change; leave it out")
        share *= mask >= 128
    return torch.from_numpy(share)[None]


def _work_key(
    method: Protector, model: LatentDiffusion, prompt: str, target: Tensor | None, shares: Sequence[Tensor]
) -> str:
    """sha256 over all that the change depends on but the pictures themselves; micro-batches leave it as it is."""
    settings = sorted(
        (name, value) for name, value in asdict(method).items() if name not in ("micro_batch", "checkpointing")
    )
    tensors = [t.numpy().tobytes() for t in (*shares, *([] if target is None else [target]))]
    text = repr((method.name, settings, model.fingerprint, prompt)).encode()
    return hashlib.sha256(b"\0".join([text, *tensors])).hexdigest()


def _small_pictures(
    run: Run, stem: str, original: Original, levels: UInt8[Tensor, "3 h w"], budget: float
) -> dict[str, str]:
    """Saves small pictures of the original, of the protected one, and of their difference, magnified around grey."""
    clean = torch.from_numpy(original.pixels.transpose(2, 0, 1).copy())
    difference = 0.5 + (levels.float() - clean) / (2 * max(budget, 1))
    pictures = (clean / LEVELS, levels / LEVELS, difference.clamp(0, 1))
    named = zip(SHOWN, (_small(one) for one in pictures), strict=True)
    return {kind: run.save_image(f"{stem}-{kind}", pixels, {"picture": original.name}) for kind, pixels in named}


def _small(pixels: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 a b"]:
    scale = SHOWN_SIDE / max(pixels.shape[1:])
    if scale >= 1:
        return pixels
    return functional.interpolate(pixels[None], scale_factor=scale, mode="bicubic", antialias=True)[0].clamp(0, 1)


def _protected_picture(original: Original, found: PictureResult, images: Mapping[str, str]) -> ProtectedPicture:
    numbers = dict(found.signals)
    largest = int(numbers.pop("largest_difference"))
    notes = tuple(NOTES[note] for note in sorted(original.notes))
    return ProtectedPicture(original.name, original.saved_name, notes, largest, images=images, **numbers)
