"""`intaglio audit components METHOD`: how much each component of a drawing adds to its likeness with given pictures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, short_number
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.components.drawing_components import DrawingComponent
    from intaglio.audit.components.family import ComponentAudit
    from intaglio.audit.components.result import ComponentShares
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Similarity
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
KINDS = ("lora", "model", "words", "guidance")
"""Kinds of components, as --component writes them."""
SCALE = 5.0
"""Guidance scale, where it is no component and none is given."""


class Given(NamedTuple):
    """A component as it was given."""

    kind: str
    value: str


@dataclass(frozen=True, kw_only=True)
class AuditComponents(DryRun, InRun, ReadsPictures, ModelAndLoRA, Generic[M]):
    """Tell how much each component of a drawing adds to its likeness with given pictures.

    Components are a LoRA, a fine-tuned model, words of the prompt, or guidance. Pictures are drawn with sets of them
    switched on and the others off, from the same prompts and seeds, and compared with the target pictures as a set. A
    --lora beside --model is a part of every drawing. The same command again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The target pictures, 2 or more, whose likeness is to be accounted for: a folder or a file."""
    component: tuple[str, ...] = ()
    """Components, two or more, as NAME=KIND:VALUE: lora:FILE, model:FOLDER of a fine-tune of --model, words:TEXT that
    follows every prompt, such as "words:, twemoji style", or guidance:SCALE, without which there is none."""
    prompt: tuple[str, ...] = ()
    """Prompts without the words that are components; picture k is drawn from the k-th, from the first on again."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    steps: int = 30
    """Steps of DDIM, from 1."""
    guidance: float | None = None
    """Guidance scale of all pictures, 1 for none, where it is no component; none takes 5."""
    similarity: str = "embedded"
    """Encoder: embedded, or the path of a local encoder. A TorchScript file is a program, and is run only where all it
    can do is compute."""
    resolution: int | None = None
    """Pixels of a side to which target pictures are read; none takes the model's."""
    shown: int = 4
    """Pictures that the report shows of no component, of each alone and of all, 0 or more."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")
        check_resolution(self.resolution)
        if self.shown < 0:
            raise ValueError(f"shown must be at least 0, not {self.shown}")

    def check_early(self) -> None:
        """Raises `BadInput` for components that cannot be read, for files that are not there, and for no prompt."""
        self._asked  # noqa: B018 - reads the prompts
        given = self._given
        for kind in ("model", "guidance"):
            if len(names := [name for name, one in given.items() if one.kind == kind]) > 1:
                raise BadInput(f"{names[0]} and {names[1]} are both a {kind}, and a drawing has one; give one of them")
        if self.guidance is not None and any(one.kind == "guidance" for one in given.values()):
            raise BadInput("guidance is a component, so --guidance would have no effect; leave one of the two out")
        for name, one in given.items():
            if one.kind in ("lora", "model") and not Path(one.value).exists():
                raise BadInput(f"{one.value} does not exist; check the path of --component {name}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.components.audit import encoder_of
        from intaglio.audit.components.cost import components_plan
        from intaglio.audit.components.result import ComponentShares
        from intaglio.metrics.similarity.measures import load_similarity

        check_count("--shown", self.shown)
        check_count("--steps", self.steps)
        model = self.noted_model(self.device)
        parts = self._components(model)
        encoder = encoder_of(load_similarity(self.similarity, self.device))
        target = self.load_pictures(self.images, self.resolution or model.resolution)
        plan = components_plan(self._method, model, len(parts), self.steps, max(self._scales))
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, parts, target, encoder) as run:
            if run.status != "done":
                for warning in target.warnings:
                    run.warn(warning)
                self.begin(run, plan)
                self._audit(model, parts, target, encoder, run)
        folder = Path(run.folder or ".")
        _report(cast(ComponentShares, ComponentShares.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "ComponentAudit":
        return cast("ComponentAudit", self.method)

    @cached_property
    def _asked(self) -> list[str]:
        given = list(self.prompt) if self.prompts is None else read_prompts(self.prompts)
        if not given:
            raise BadInput("there is no prompt to draw; give --prompt, or --prompts FILE with one on each line")
        return given

    @cached_property
    def _given(self) -> dict[str, Given]:
        """The components by name. Raises `BadInput` for words that are none, and for too few or too many."""
        found: dict[str, Given] = {}
        for word in self.component:
            name, equals, rest = word.partition("=")
            kind, colon, value = rest.partition(":")
            if not (name.strip() and equals and colon and value.strip()) or kind not in KINDS:
                raise BadInput(
                    f"--component takes NAME=KIND:VALUE, KIND one of {', '.join(KINDS)}, not {word!r}; write for "
                    "example style=lora:style.safetensors"
                )
            if kind == "guidance" and not _is_scale(value):
                raise BadInput(f"--component {name} takes a guidance scale above 1, not {value!r}")
            if name in found:
                raise BadInput(f"two components are called {name}; give each a name of its own")
            found[name] = Given(kind, value)
        if not 2 <= len(found) <= 16:
            raise BadInput(
                f"credit is shared among 2 to 16 components, not {len(found)}; give each by --component NAME=KIND:VALUE"
            )
        return found

    @property
    def _scales(self) -> list[float]:
        """Scales of guidance that pictures are drawn by: without the component, and with it."""
        own = [float(one.value) for one in self._given.values() if one.kind == "guidance"]
        return [1.0, *own] if own else [SCALE if self.guidance is None else self.guidance]

    def _components(self, model: "LatentDiffusion") -> "dict[str, DrawingComponent]":
        """The components themselves. Raises `BadInput` for one that does not fit the model."""
        from intaglio.audit.components.drawing_components import Adapter, AddedWords, GuidanceScale, TunedWeights
        from intaglio.denoising.model_pair import check_pair
        from intaglio.models.diffusion.adapted import Adapted
        from intaglio.models.diffusion.loading import load_suspect
        from intaglio.models.lora.lora import LoRA

        found: dict[str, DrawingComponent] = {}
        for name, one in self._given.items():
            if one.kind == "lora":
                lora = LoRA.read(Path(one.value))
                Adapted(model, lora, allow_unmatched=self.skip_unmatched)  # refuses one that does not fit
                found[name] = Adapter(lora, self.skip_unmatched)
            elif one.kind == "model":
                tuned = load_suspect(Path(one.value), model, device=self.device)
                check_pair(tuned, model)
                found[name] = TunedWeights(tuned)
            else:
                found[name] = AddedWords(one.value) if one.kind == "words" else GuidanceScale(float(one.value))
        return found

    def _open(
        self,
        model: "LatentDiffusion",
        parts: "Mapping[str, DrawingComponent]",
        target: "ImageSet",
        encoder: "Similarity",
    ) -> "Run":
        from intaglio.audit.components.drawing_components import Drawing, with_components

        neutral = Drawing(model, ("",), 1.0)
        known = {
            "model": described(self.model, model.fingerprint),
            "images": described(self.images, target.fingerprint),
            "encoder": described(self.similarity, encoder.hash),
        }
        for name, one in self._given.items():
            if one.kind in ("lora", "model"):
                changed = with_components(neutral, [parts[name]], 1).model
                known[f"component {name}"] = described(one.value, changed.fingerprint)
        own = {name: getattr(self, name) for name in ("steps", "shown")}
        plain = [
            [name, one.kind, *([one.value] if one.kind in ("words", "guidance") else [])]
            for name, one in self._given.items()
        ]
        own |= {"component": plain, "scales": self._scales, "resolution": target.pixels.shape[-1]}
        settings = {**asdict(cast(Any, self.method)), "prompts": self._asked, **own}
        return self.open_run("audit", f"components-{self._method.name}", settings, known, seed=settings["seed"])

    def _audit(
        self,
        model: "LatentDiffusion",
        parts: "Mapping[str, DrawingComponent]",
        target: "ImageSet",
        encoder: "Similarity",
        run: "Run",
    ) -> None:
        from intaglio.audit.components.audit import audit_components, forget_states
        from intaglio.audit.components.drawing_components import Drawing
        from intaglio.audit.components.result import FILE, TABLE

        drawing = Drawing(model, tuple(self._asked), self._scales[0])
        options: dict[str, Any] = {"steps": self.steps, "shown": self.shown, "run": run}
        found = audit_components(self._method, drawing, parts, target, encoder, **options)
        found.save(Path(run.folder or "."))
        run.finish(found.figures(), (FILE, TABLE, *(("images",) if found.pictures else ())))
        forget_states(run, found)


def _is_scale(text: str) -> bool:
    try:
        return 1 < float(text) < float("inf")
    except ValueError:
        return False


def _report(found: "ComponentShares", folder: Path) -> None:
    """Print the components with their shares, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            row["component"],
            short_number(row["effect"]),
            f"{short_number(row['effect_low'])} to {short_number(row['effect_high'])}",
            "-" if row["share"] is None else f"{row['share']:.0%}",
            "-" if row["share"] is None else f"{row['share_low']:.0%} to {row['share_high']:.0%}",
        )
        for row in found.rows()
    ]
    say(aligned([("component", "effect", "95%", "share", "95%"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
