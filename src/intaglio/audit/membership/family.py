"""Membership audits: the contract of a method, its result, and the checks made before any work."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls
from intaglio.audit.membership.shadow_runs import NEEDS_SHADOWS, NO_USE_FOR_SHADOWS, check_shadow_count
from intaglio.audit.membership.shadows import Shadows
from intaglio.denoising.model_pair import check_pair, same_autoencoder
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.metrics.similarity.measures import Similarity
from intaglio.metrics.statistics.enough_controls import Sides
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan
from intaglio.verbs import FileName

NEEDS_BASE = "the suspect is compared with the model that it was fine-tuned from; pass --base, and not --alone"
OWN_SCORE = "score"
"""The name of a method's own score among the signals of a verdict."""


@dataclass(frozen=True, eq=False)
class Authentication:
    """One method's scores of pictures; only controls turn them into a verdict (`intaglio.audit.membership.verdict`)."""

    method: str
    """The method's name, such as `cgi-dm`."""
    names: tuple[str, ...]
    scores: Float[Tensor, "n"]
    """Higher always means "in the set", unless both sides count (`Authenticator.sides`); NaN where the picture failed,
    see `warnings`."""
    signals: dict[str, Float[Tensor, "n"]] = field(default_factory=dict)
    """Further numbers a picture, in the same orientation."""
    pictures: dict[str, Float[Tensor, "n 3 h w"]] = field(default_factory=dict)
    """Evidence in [0, 1], by kind; the method's `captions` say what each kind shows."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """Plain values for JSON; a list with one entry a picture is in the order of `names`."""
    warnings: tuple[str, ...] = ()

    def signal(self, name: str) -> Float[Tensor, "n"]:
        """The own score, or one of the signals, by name."""
        return self.scores if name == OWN_SCORE else self.signals[name]

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture: name, score, and every signal."""
        return [
            {"name": name, "score": float(self.scores[i]), **{key: float(s[i]) for key, s in self.signals.items()}}
            for i, name in enumerate(self.names)
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by name."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=["name", "score", *self.signals]).set_index("name")

    def save(self, folder: Path) -> None:
        """Writes `scores.csv`, `authentication.json` and `pictures/<kind>/<index>-<name>.png`, each atomically."""
        folder = Path(folder)
        atomic_write(folder / "scores.csv", rows_csv(self.rows(), ["name", "score", *self.signals]))
        for kind, pictures in self.pictures.items():
            for i, name in enumerate(self.names):
                save_png(pictures[i], folder / "pictures" / kind / f"{i:04d}-{file_stem(name)}.png", {"picture": name})
        record = {
            "method": self.method,
            "rows": self.rows(),
            "diagnostics": self.diagnostics,
            "warnings": list(self.warnings),
        }
        atomic_write(folder / "authentication.json", json.dumps(without_nan(record), indent=1) + "\n")


@dataclass(frozen=True, eq=False)
class AuditInputs:
    """The models of an audit and what both are given, checked."""

    suspect: LatentDiffusion
    """The fine-tuned model."""
    base: LatentDiffusion | None
    """The model it was fine-tuned from; None for a method that looks at the suspect alone."""
    prompt: str
    """The prompt that the fine-tune is thought to have used; both models get the same words."""
    similarity: Similarity | None = None
    """A measure of how alike two pictures are, for methods with `uses_similarity`."""
    own_captions: bool = False
    """Whether each picture's own caption is its prompt, in place of `prompt`."""
    shadows: Shadows | None = None
    """Models tuned as the suspect was, on pictures that are known; for methods with `needs_shadows`."""

    def prompts_of(self, images: ImageSet) -> list[str]:
        """The prompt of each picture, or one for all of them."""
        return [str(caption) for caption in images.captions] if self.own_captions else [self.prompt]

    @property
    def models(self) -> dict[str, LatentDiffusion]:
        """The models by role."""
        return {"suspect": self.suspect} | ({} if self.base is None else {"base": self.base})

    @property
    def reference(self) -> LatentDiffusion:
        """The model whose autoencoder, schedule and latents serve both: the base, where there is one."""
        return self.suspect if self.base is None else self.base

    def model_count(self, method: "Authenticator") -> int:
        """The number of models that a method asks: the suspect with its base, or with the shadows."""
        if method.needs_shadows and self.shadows is not None:
            return 1 + len(self.shadows)
        return len(self.models)

    @property
    def pair(self) -> tuple[LatentDiffusion, LatentDiffusion]:
        """(suspect, base), for a method that needs the base. Raises `BadInput` without a base."""
        if self.base is None:
            raise BadInput(NEEDS_BASE)
        return self.suspect, self.base


@dataclass(frozen=True)
class Authenticator(ABC):
    """A membership audit: scores pictures by how likely they were in the set that turned `base` into `suspect`.

    A method is a frozen dataclass of settings. It is called with the models and pictures; the call checks them and
    hands them to the method's `audit`. Both models are left as they were found. What reports and benches must know of
    a method stands in its class variables.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """What the score says, as the end of a sentence for people who know no formula."""
    signals: ClassVar[tuple[str, ...]] = ()
    """The names of further numbers that it gives a picture."""
    sides: ClassVar[Sides] = "upper"
    """Whether a high score says "in the set", or, for a score whose sign is not stable, one to either side of the
    controls': then p = 2 min(p above, p below), and a rate takes twice as many controls. So for its signals."""
    loss_difference: ClassVar[str | None] = None
    """Which of its numbers, `score` or a signal, is the base's denoising loss less the suspect's of the untouched
    picture: from it a verdict tells swapped models and a fine-tune without a trace. None: none of them."""
    captions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The kinds of pictures it gives, each with the words below it in a report."""
    story: ClassVar[str] = ""
    """How a reader is to look at those pictures, in sentences."""
    limits: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What those pictures do not prove: sentences by heading."""
    judges: ClassVar[bool] = True
    """Whether a verdict rests on the method's own score unless told otherwise; False for a method whose pictures are
    the evidence and whose score is weaker than the standard one (`intaglio.audit.membership.audit.STANDARD`)."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    needs_base: ClassVar[bool] = True
    """Whether it compares the suspect with its base; False: it can look at the suspect alone."""
    uses_similarity: ClassVar[bool] = False
    """Whether it measures how alike two pictures are."""
    needs_shadows: ClassVar[bool] = False
    """Whether it compares the suspect with shadow models, tuned as the suspect was on pictures that are known."""
    fewest_shadows: ClassVar[int] = 4
    """Least number of them, for such a method."""
    usual_shadows: ClassVar[int] = 16
    """The number that it is usually given."""
    drawn_controls: ClassVar[bool] = False
    """Whether some controls must be among the pictures that shadows were tuned on."""
    own_captions: ClassVar[Literal["refused", "taken", "needed"]] = "refused"
    """Whether pictures may, or must, have their own captions for prompts in place of one prompt for all."""

    @property
    def cells(self) -> int:
        """Latent cells that the pictures' sides must be a multiple of."""
        return 1

    @property
    @abstractmethod
    def last_timestep(self) -> int:
        """The highest timestep that it asks a model about."""

    def __call__(
        self,
        suspect: LatentDiffusion,
        base: LatentDiffusion | None,
        images: ImageSet,
        *,
        prompt: str = "",
        similarity: Similarity | None = None,
        own_captions: bool = False,
        shadows: Shadows | None = None,
        run: Run = Run.none(),
    ) -> Authentication:
        """Scores every picture.

        Args:
            suspect: the fine-tuned model.
            base: the model it was fine-tuned from; None only for a method without `needs_base`.
            images: pictures at the models' resolution.
            prompt: the prompt that the fine-tune is thought to have used; both models get the same words.
            similarity: for methods with `uses_similarity`; None takes the method's own measure.
            own_captions: each picture's own caption is its prompt, in place of `prompt`; every picture needs one.
            shadows: for methods with `needs_shadows`; each is loaded when its turn comes, and left as it was found.
            run: progress, states and records go there; a killed call goes on where it was.

        Raises:
            BadInput: models that cannot be compared, are identical or lack what the method needs, pictures that do
                not fit them, or captions or shadows that the method has no use for, lacks, or cannot use.
        """
        check_captions(self, prompt, images if own_captions else None)
        check_shadows(self, shadows, images)
        warnings = check_inputs(self, suspect, base, images)
        if shadows is not None:
            shadows.check_models(suspect, base)
        found = self.audit(AuditInputs(suspect, base, prompt, similarity, own_captions, shadows), images, run)
        return replace(found, warnings=(*warnings, *found.warnings))

    @abstractmethod
    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """The method itself: scores of all pictures, from inputs that are checked."""

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """The most that an audit of so many pictures asks of denoisers; it may end earlier.

        Args:
            pictures: those of all roles, 1 or more.
            models: 2 with a base, 1 for the suspect alone; with shadows one more than they are.

        Returns:
            Empty where the method does not say; then there is no estimate of its energy.
        """
        return ()

    def check_known(self, shadows: Shadows, images: ImageSet) -> None:  # noqa: B027 - most methods take no shadows
        """Raises `BadInput` for shadows that were tuned on too many, or too few, of the pictures."""

    def forget(self, run: Run, pictures: int) -> None:  # noqa: B027 - a method without states forgets nothing
        """Drops the states that a call on so many pictures stored; to be called once its result is safe."""


def check_inputs(
    method: Authenticator, suspect: LatentDiffusion, base: LatentDiffusion | None, images: ImageSet
) -> tuple[str, ...]:
    """The checks that every call makes before any work; returns warnings.

    Raises `BadInput` for a model without what the method needs, for models that differ in anything but weights, for
    identical models, for an empty set of pictures, for sides that are no multiple of the autoencoder's factor times
    `method.cells`, and for a timestep that the schedule does not have.
    """
    check_needs(method, suspect, *([] if base is None else [base]))
    if base is None:
        if method.needs_base:
            raise BadInput(f"{method.name}: {NEEDS_BASE}")
        check_pictures(suspect, images, method.cells)
        check_timestep(suspect, method.last_timestep)
        return ()
    check_pair(suspect, base)
    check_pictures(base, images, method.cells)
    check_timestep(base, method.last_timestep)
    if not same_autoencoder(suspect, base):
        return (
            f"{suspect.name} has an autoencoder of its own; the one of {base.name} was used for both models, so that "
            "they see the same latents",
        )
    return ()


def check_captions(method: Authenticator, prompt: str, captioned: ImageSet | None) -> None:
    """Raises `BadInput` for prompts of a kind that the method cannot use.

    Args:
        method: whose prompts they are.
        prompt: of all pictures; "" beside captions.
        captioned: the pictures, where their own captions are their prompts.
    """
    if captioned is not None:
        if method.own_captions == "refused":
            raise BadInput(f"{method.name} takes one prompt for all pictures; leave --own-captions out")
        if prompt:
            raise BadInput("--own-captions takes the place of --prompt; leave one of the two out")
        named = zip(captioned.names, captioned.captions, strict=True)
        if without := [name for name, text in named if not (text or "").strip()]:
            more = f", and {len(without) - 1} more" if len(without) > 1 else ""
            raise BadInput(f"{without[0]} has no caption{more}; put a text file of its name beside each picture")
        different = len(set(captioned.captions))
        if method.own_captions == "needed" and 1 < len(captioned) > 2 * different:
            raise BadInput(
                f"{method.name} tells members by their own words, and of {len(captioned)} captions {different} differ; "
                "give captions that do, or take loss-gap"
            )
    elif method.own_captions == "needed":
        raise BadInput(
            f"{method.name} asks about each picture under its own caption and under other words; give --own-captions, "
            "and a text file of its name beside each picture"
        )


def check_shadows(method: Authenticator, shadows: Shadows | None, images: ImageSet) -> None:
    """Raises `BadInput` for shadows that the method lacks, has no use for, or cannot use for these pictures."""
    if not method.needs_shadows:
        if shadows is not None:
            raise BadInput(f"{method.name} {NO_USE_FOR_SHADOWS}")
        return
    if shadows is None:
        raise BadInput(f"{method.name} {NEEDS_SHADOWS}")
    check_shadow_count(method.name, len(shadows), method.fewest_shadows, method.usual_shadows)
    method.check_known(shadows, images)


def check_pictures(model: LatentDiffusion, images: ImageSet, cells: int) -> None:
    """Raises `BadInput` for no pictures, or for sides that the model's latents cannot divide."""
    if not len(images):
        raise BadInput("there are no pictures to score; name a folder with at least one")
    height, width = images.pixels.shape[-2:]
    step = model.factor * cells
    if height % step or width % step:
        raise BadInput(
            f"pictures of {width}x{height} pixels cannot be divided into squares of {cells} latents ({step} pixels); "
            f"use a resolution that is a multiple of {step}, or another size of squares"
        )


def check_timestep(model: LatentDiffusion, highest: int) -> None:
    """Raises `BadInput` for a timestep that the model's schedule does not have."""
    if highest >= model.schedule.count:
        raise BadInput(
            f"timestep {highest} is asked for, but {model.name} has timesteps 0 to {model.schedule.count - 1}; "
            "choose timesteps within them"
        )


def check_range(timesteps: tuple[int, int]) -> None:
    """Raises `ValueError` for a first and last timestep that do not rise from 0."""
    if not 0 <= timesteps[0] <= timesteps[1]:
        raise ValueError(f"timesteps must be two rising numbers from 0, not {timesteps}")


def check_least(method: object, least: Mapping[str, int]) -> None:
    """Raises `ValueError` for a setting below its least value."""
    for name, bound in least.items():
        if getattr(method, name) < bound:
            raise ValueError(f"{name} must be at least {bound}, not {getattr(method, name)}")


def file_stem(name: str) -> str:
    """A picture's name as part of a file name: letters, digits, dot and dash; at most 60 of them."""
    return re.sub(r"[^\w.-]+", "-", name.rsplit(".", 1)[0]).strip("-.")[:60] or "picture"
