"""Pictures of fixed seeds drawn as the model draws them, under an edit that evens values out, and under its control."""

from collections.abc import Sequence
from math import nan
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.explain.bias.family import BiasEditor, FoundEdit
from intaglio.explain.bias.result import PARTS, EvenedValues
from intaglio.explain.bias.value_judge import ValueJudge
from intaglio.metrics.similarity.measures import Similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash
from intaglio.sampling.guide import Guide
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.guides.site_edit_guide import SiteEditGuide
from intaglio.sampling.loop import sample_batches

NUMBERS = ("shares", "right")
KIND = "drawn"
"""Of the run's records, one a batch of pictures."""


def shown_seeds(seed: int, count: int) -> list[int]:
    """Seeds of pictures that are measured, which are not those of samples."""
    return [seed_32bit(seed, "shown", k) for k in range(count)]


def evened_pictures(
    model: LatentDiffusion,
    method: BiasEditor,
    found: FoundEdit,
    prompts: Sequence[str],
    seeds: Sequence[int],
    judge: ValueJudge,
    similarity: Similarity,
    *,
    run: Run = Run.none(),
) -> EvenedValues:
    """Values of pictures before the edit, after it, and under the control, from the same noise.

    Args:
        model: left as it was found.
        method: gives steps, guidance and batch.
        found: an edit with its control.
        prompts: one or more; picture k has the k-th, from the first on again.
        seeds: one a picture.
        judge: tells the values of pictures.
        similarity: measures how much of a picture is kept.
        run: progress, records and pictures; a killed call goes on after the last batch.

    Raises:
        BadInput: for no pictures, and for a site that the model has not.
    """
    if not seeds or not prompts:
        raise BadInput("there is no picture to draw; give one prompt and one picture at least")
    texts = [prompts[k % len(prompts)] for k in range(len(seeds))]
    guides: dict[str, Guide] = {
        "before": ClassifierFree(method.guidance),
        "after": SiteEditGuide(method.guidance, found.edit),
        "by_chance": SiteEditGuide(method.guidance, found.control),
    }
    key = _key(model, method, found, texts, seeds, judge, similarity)
    cuts = [range(first, min(first + method.batch, len(seeds))) for first in range(0, len(seeds), method.batch)]
    known = {name: one for name, one in run.recorded(KIND).items() if one.get("key") == key}
    with run.progress(len(cuts), KIND, len(known)) as progress:
        for number, cut in enumerate(cuts):
            if str(number) not in known:
                asked = [texts[k] for k in cut], [seeds[k] for k in cut]
                pixels = {part: drawn_pictures(model, method, *asked, guide) for part, guide in guides.items()}
                for part, drawn in pixels.items():
                    for k, one in zip(cut, drawn, strict=True):
                        run.save_image(f"{part}-{k}", one)
                known[str(number)] = {"key": key, **measured(pixels, asked[0], judge, similarity)}
                run.record(KIND, str(number), known[str(number)])
                progress.advance()
    ordered = [known[str(number)] for number in range(len(cuts))]
    shares, right = ([[row for one in ordered for row in one[name][part]] for part in PARTS] for name in NUMBERS)
    kept = [[row for one in ordered for row in one["kept"][part]] for part in PARTS[1:]]
    about = (method.name, method.reading, method.by_chance, judge.attribute, judge.values)
    walk = (method.site, method.steps, method.guidance, tuple(texts), tuple(seeds))
    notes = (found.carriers, found.counts, found.told, found.left, (found.size, found.control_size))
    numbers = torch.tensor(shares), found.edit.towards(seeds), torch.tensor(kept)
    return EvenedValues(*about, *walk, *notes, *numbers, torch.tensor(right, dtype=torch.float32))


def _key(
    model: LatentDiffusion,
    method: BiasEditor,
    found: FoundEdit,
    texts: Sequence[str],
    seeds: Sequence[int],
    judge: ValueJudge,
    similarity: Similarity,
) -> str:
    """Of all that records depend on."""
    changes = [sorted((name, tensor_hash(one)) for name, one in edit.parts()[0].items()) for edit in found.both]
    about = [model.fingerprint, repr(method), texts, list(seeds), judge.attribute, judge.values, similarity.hash]
    return digest([*about, changes])


def drawn_pictures(
    model: LatentDiffusion, method: BiasEditor, texts: Sequence[str], seeds: Sequence[int], guide: Guide
) -> Float[Tensor, "n 3 h w"]:
    """Pictures of one batch, drawn as the method draws them."""
    options: dict[str, Any] = {"sampler": "ddim", "steps": method.steps, "guidance_scale": method.guidance}
    (pixels,) = sample_batches(model, texts, seeds, guide=guide, negative="", batch=len(seeds), **options)
    return pixels


def measured(
    pixels: dict[str, Float[Tensor, "n 3 h w"]], texts: Sequence[str], judge: ValueJudge, similarity: Similarity
) -> dict[str, Any]:
    """Numbers of a batch by name and part: shares, whether it is right, and similarity with before."""
    found: dict[str, Any] = {"shares": {}, "kept": {}, "right": {}}
    for part, drawn in pixels.items():
        found["shares"][part] = judge.shares(drawn).tolist()
        found["right"][part] = [_right(drawn[k : k + 1], text, judge) for k, text in enumerate(texts)]
        if part != "before":
            found["kept"][part] = similarity(drawn, pixels["before"]).tolist()
    return found


def _right(pixels: Float[Tensor, "1 3 h w"], text: str, judge: ValueJudge) -> float:
    """1 where a picture is called what its prompt asks for, 0 where not, NaN where that is unknown."""
    seen = judge.subjects.get(text)
    return nan if seen is None else float(seen(pixels)[0])
