"""`Shadows`: models tuned as the suspect was, each on pictures that are known, which the suspect is compared with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor

from intaglio.audit.membership.pictures import AuditPictures
from intaglio.audit.membership.shadow_runs import ShadowRun
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_suspect
from intaglio.runs.plain_json import digest


@dataclass(frozen=True, eq=False)
class Shadow:
    """One model, with what it was tuned on."""

    name: str
    fingerprint: str
    """That of the model."""
    members: frozenset[str]
    """Content hashes of the pictures that it was tuned on, at the resolution that it is asked at."""
    load: Callable[[], LatentDiffusion]
    """Gives the model, so that models of full weights need not be in memory together."""

    @classmethod
    def of(cls, model: LatentDiffusion, trained_on: ImageSet) -> "Shadow":
        """A model in memory."""
        return cls(model.name, model.fingerprint, frozenset(trained_on.hashes), partial(_itself, model))


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models, ordered by fingerprint, so that the order in which they are given means nothing."""

    every: tuple[Shadow, ...]
    _checked: set[tuple[str, str]] = field(default_factory=set)
    """Fingerprints of the suspects and bases that they were found to go with."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", tuple(sorted(self.every, key=lambda one: one.fingerprint)))

    @classmethod
    def of(cls, models: Sequence[LatentDiffusion], trained_on: Sequence[ImageSet]) -> "Shadows":
        """Models in memory, with the set that each was tuned on."""
        return cls(tuple(Shadow.of(*pair) for pair in zip(models, trained_on, strict=True)))

    @classmethod
    def read(cls, runs: Sequence[ShadowRun], base: LatentDiffusion, device: torch.device | str = "cpu") -> "Shadows":
        """The models of fine-tunes of `base`, each read once for its fingerprint, and again when it is asked.

        One that shares the weights of the base stays in memory.

        Raises `BadInput` for a model that does not fit the base.
        """
        found = []
        for run in runs:
            load = partial(_loaded, run, base, device)
            model = load()
            kept = partial(_itself, model) if isinstance(model, Adapted) else load
            found.append(Shadow(run.folder.name, model.fingerprint, run.members, kept))
        return cls(tuple(found))

    def __len__(self) -> int:
        return len(self.every)

    def __iter__(self) -> Iterator[Shadow]:
        return iter(self.every)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the models and what each was tuned on."""
        return digest([[one.fingerprint, sorted(one.members)] for one in self.every])

    def kept(self, images: ImageSet) -> Bool[Tensor, "s n"]:
        """Whether each shadow was tuned on each of the pictures."""
        return torch.tensor([[content in one.members for content in images.hashes] for one in self.every])

    def check_models(self, suspect: LatentDiffusion, base: LatentDiffusion | None) -> None:
        """Raises `BadInput` for a shadow that is the suspect, the base or another shadow, or of another kind."""
        pair = suspect.fingerprint, "" if base is None else base.fingerprint
        if pair in self._checked:
            return
        reference, seen = suspect if base is None else base, dict[str, str]()
        for shadow in self.every:
            if shadow.fingerprint in seen:
                raise BadInput(
                    f"the shadows {seen[shadow.fingerprint]} and {shadow.name} are one model; leave one of them out"
                )
            seen[shadow.fingerprint] = shadow.name
            model = shadow.load()
            if model.family is not reference.family or (unlike := model.differences(reference)):
                why = "another kind of model" if model.family is not reference.family else "; ".join(unlike)
                raise BadInput(
                    f"the shadow {shadow.name} does not fit {reference.name}: {why}; tune shadows from the base of the "
                    "suspect, by the suspect's own recipe"
                )
            if model.same_weights(suspect):
                raise BadInput(
                    f"the shadow {shadow.name} is the suspect itself; leave it out, as what it was tuned on is the "
                    "question"
                )
            if base is not None and model.same_weights(base):
                raise BadInput(f"the shadow {shadow.name} has the weights of the base; leave it out")
        self._checked.add(pair)

    def check_pool(self, method: str, pictures: AuditPictures, *, drawn_controls: bool) -> tuple[str, ...]:
        """Checks that questioned pictures and controls were alike to the shadows; returns warnings.

        Raises `BadInput` where no control is among what the shadows were tuned on, and `drawn_controls` asks for it.
        """
        drawn = self.kept(pictures.images).any(0)
        asked, controls = (bool(drawn[pictures.of_role(role)].any()) for role in ("questioned", "controls"))
        if drawn_controls and not controls:
            raise BadInput(
                f"{method} learns from pictures that some shadows were tuned on and others not, and no control is one; "
                "tune shadows on halves of the questioned pictures and the controls together"
            )
        if asked != controls:
            which = "questioned pictures are, and no control is," if asked else "controls are, and no questioned is,"
            return (
                f"some {which} among what the shadows were tuned on, so that the two are not compared alike and the "
                "false-positive rate may be higher than asked; tune shadows on halves of both together",
            )
        return ()


def _itself(model: LatentDiffusion) -> LatentDiffusion:
    return model


def _loaded(run: ShadowRun, base: LatentDiffusion, device: torch.device | str) -> LatentDiffusion:
    return load_suspect(run.weights, base, device=device)
