"""Checks that models can be merged: one architecture, one vocabulary, one sampling, and weights that are near."""

from collections.abc import Sequence
from itertools import zip_longest

from intaglio.denoising.model_pair import same_autoencoder
from intaglio.errors import BadInput
from intaglio.models.diffusion.fingerprints import TEXT_SETTINGS
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.merging.weight_places import relative_distance, weights_of

FAR = 0.7
"""Relative distance from which two models count as of two bases: half of that of unrelated ones."""
NAMED = 3
"""Keys that a sentence names."""


def check_one_base(models: Sequence[LatentDiffusion], base: LatentDiffusion | None) -> None:
    """Raises `BadInput` for models of two architectures, vocabularies, samplings or bases, naming what differs.

    All are compared with the base, or with the first where there is none.
    """
    reference = models[0] if base is None else base
    for one in models if base is not None else models[1:]:
        if unlike := [*reference.differences(one), *_text_differences(reference, one)]:
            raise BadInput(
                f"{reference.name} and {one.name} cannot be merged: {'; '.join(unlike)}; give fine-tunes of one base"
            )
        if reference.sampling != one.sampling:
            raise BadInput(
                f"{reference.name} draws in {reference.sampling.words}, {one.name} in {one.sampling.words}; "
                "merge students of one distillation, or their teachers"
            )
        if unlike := _shape_differences(reference, one):
            raise BadInput(
                f"{reference.name} and {one.name} cannot be merged, since the shapes of weights differ: "
                f"{_listed(unlike)}; a text encoder with added tokens is merged after they are taken out"
            )
        _refuse_far(reference, one)


def notes_of(models: Sequence[LatentDiffusion], base: LatentDiffusion | None) -> tuple[str, ...]:
    """Sentences for the user: on models of the same weights, and on autoencoders that are not the first model's."""
    found, first = [], models[0]
    for k, one in enumerate(models):
        if (twin := next((other for other in models[:k] if other.same_weights(one)), None)) is not None:
            found.append(f"{twin.name} and {one.name} have the same weights, which so count more than once")
    for one in (*models[1:], *(() if base is None else (base,))):
        if not same_autoencoder(first, one):
            found.append(
                f"{one.name} has another autoencoder than {first.name}; the merged model gets that of {first.name}"
            )
    return tuple(found)


def _text_differences(one: LatentDiffusion, two: LatentDiffusion) -> list[str]:
    """Settings of text encoders and sizes of vocabularies that differ; the smaller vocabulary is part of the larger."""
    found = []
    for number, (a, b) in enumerate(zip_longest(one.text_encoders, two.text_encoders)):
        suffix = f"_{number + 1}" if number else ""
        if a is None or b is None:
            return [*found, f"text_encoder{suffix} is in one of them alone"]
        for name in TEXT_SETTINGS:
            first, second = (getattr(encoder.config, name, None) for encoder in (a, b))
            if first != second:
                found.append(f"text_encoder{suffix} {name} ({first} and {second})")
        sizes = [len(model.tokenizers[number].get_vocab()) for model in (one, two)]
        if sizes[0] != sizes[1]:
            found.append(f"tokens of tokenizer{suffix} ({sizes[0]} and {sizes[1]})")
    return found


def _shape_differences(one: LatentDiffusion, two: LatentDiffusion) -> list[str]:
    mine, theirs = ({str(p): tuple(w.shape) for p, w in weights_of(model).items()} for model in (one, two))
    keys = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    return [f"{key} {mine.get(key, 'missing')} and {theirs.get(key, 'missing')}" for key in keys]


def _listed(found: Sequence[str]) -> str:
    more = len(found) - NAMED
    return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _refuse_far(one: LatentDiffusion, two: LatentDiffusion) -> None:
    distance, farthest = relative_distance(one, two)
    if distance >= FAR:
        raise BadInput(
            f"{one.name} and {two.name} do not come from one base: their denoisers are {distance:.2f} of their own "
            f"length apart, where unrelated ones are 1.4, most in {farthest}; give fine-tunes of one base"
        )
