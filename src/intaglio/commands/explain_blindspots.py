"""`intaglio explain blindspots METHOD`: concepts that a model draws too rarely or too often, beside real pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ReadsNetwork
from intaglio.errors import BadInput
from intaglio.explain.picture_columns import read_labels
from intaglio.printable import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.blindspots.audit import PairedDrawing
    from intaglio.explain.blindspots.family import BlindSpotFinder
    from intaglio.explain.blindspots.result import BlindSpots
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

M = TypeVar("M")
LABEL = "label"
"""Column of labels."""
MOST_ROWS = 12
"""Concepts of each kind in the printed table."""


@dataclass(frozen=True, kw_only=True)
class ExplainBlindSpots(ReadsNetwork, DryRun, InRun, ReadsPictures, ModelAndLoRA, Generic[M]):
    """Find the concepts that a model draws too rarely or too often, beside real pictures of the same prompts.

    The model draws one picture for the caption of each real one, or --generated gives pictures made elsewhere. Concepts
    are read from both by a network's layer, and their strengths compared pair by pair. Give some hundred pictures. The
    same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "generated")
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The real pictures: a folder, with captions in .txt files of the same name, or in metadata.jsonl."""
    generated: Path | None = None
    """Folder of generated pictures, each with the name of its real one up to the suffix; nothing is drawn then, and
    --model, where it is given, serves the control by its autoencoder alone."""
    prompt: str | None = None
    """Prompt of every picture without a caption of its own."""
    labels: Path | None = None
    """CSV file with columns picture and label, by which concepts are called; none takes the classes that the network
    calls the real pictures."""
    guidance: float | None = None
    """Guidance scale, 1 for none; none takes the model's own, or 5. Blind spots depend on it."""
    steps: int | None = None
    """Steps of DDIM, from 1; none takes 30, or those a distilled model was made for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")
        if self.generated is not None and (self.guidance, self.prompt, self.steps) != (None, None, None):
            raise ValueError(
                "--guidance, --prompt and --steps are of drawings, and --generated draws none; leave them out"
            )

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a picture without a prompt, or without a generated one."""
        real = listed["images"].entries
        check_apart([one.name for one in real])
        if "generated" in listed:
            generated_places([one.name for one in real], [one.name for one in listed["generated"].entries])
        else:
            picture_prompts([one.name for one in real], [one.caption for one in real], self.prompt, "prompt")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.blindspots.audit import audit_blindspots, forget_states
        from intaglio.explain.blindspots.cost import blindspots_plan
        from intaglio.explain.blindspots.result import FILE, TABLE, BlindSpots

        check_count("--steps", self.steps or 1)
        scored, network = self.read_network(self.device)
        scored.check_layers()
        model = self._model()
        side = self.side if model is None else model.resolution
        images = self.load_pictures(self.images, side)
        generated = None if self.generated is None else self.load_pictures(self.generated, side)
        drawing = self._drawing(model, images, generated)
        plan = blindspots_plan(
            self._method,
            scored,
            len(images),
            model=model,
            draws=generated is None,
            steps=drawing.steps,
            scale=drawing.scale,
        )
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        if model is not None:
            known["model"] = described(self.model, model.fingerprint)
        if generated is not None:
            known["generated"] = described(self.generated, generated.fingerprint)
        labels = None if self.labels is None else labels_of(self.labels, images.names)
        settings = {
            **asdict(cast(Any, self.method)),
            "prompts": list(drawing.prompts),
            "guidance": drawing.scale,
            "steps": drawing.steps,
            "labels": labels,
            "resolution": self.side,
        }
        with self.open_run("explain", f"blindspots-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                notes = () if model is None else model.notes
                more = () if generated is None else generated.warnings
                for warning in dict.fromkeys((*notes, *images.warnings, *more)):
                    run.warn(warning)
                found = audit_blindspots(self._method, scored, images, drawing, labels=labels, run=run)
                for warning in found.warnings:
                    run.warn(warning)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE, "images"))
                forget_states(self._method, run)
        _report(cast("BlindSpots", BlindSpots.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "BlindSpotFinder":
        return cast("BlindSpotFinder", self.method)

    def _model(self) -> "LatentDiffusion | None":
        """The model that draws, or of the control; None where pictures are given without it."""
        return None if self.generated is not None and self.model is None else self.noted_model(self.device)

    def _drawing(
        self, model: "LatentDiffusion | None", images: "ImageSet", generated: "ImageSet | None"
    ) -> "PairedDrawing":
        from intaglio.explain.blindspots.audit import PairedDrawing
        from intaglio.sampling.fixed_sampling import refuse_scale, settled

        if generated is not None:
            places = generated_places(images.names, generated.names)
            return PairedDrawing(model, (), None, None, generated.pixels[places])
        if model is None:
            raise BadInput("there is no model that could draw; give --model")
        steps, _, scale = settled(model, self.steps, None, self.guidance)
        refuse_scale(model, scale)
        prompts = picture_prompts(images.names, images.captions, self.prompt, "prompt")
        return PairedDrawing(model, prompts, scale, steps)


def labels_of(path: Path, names: Sequence[str]) -> list[str | None]:
    """The label of each picture, None where it has none. Raises `BadInput` for a table without such a column."""
    columns = read_labels(path, names)
    if LABEL not in columns:
        raise BadInput(f"{path} has no column {LABEL!r} beside picture; it has: {', '.join(columns)}")
    return [one or None for one in columns[LABEL]]


def check_apart(names: Sequence[str]) -> None:
    """Raises `BadInput` for two pictures whose names differ in their suffix alone, which drawings cannot."""
    known = dict[str, str]()
    for name in names:
        if (other := known.setdefault(str(Path(name).with_suffix("")), name)) != name:
            raise BadInput(f"{other} and {name} differ in their suffix alone; rename one of them")


def generated_places(real: Sequence[str], generated: Sequence[str]) -> list[int]:
    """The place of the generated picture of each real one, by names up to the suffix. Raises `BadInput` for none."""
    places = {str(Path(name).with_suffix("")): place for place, name in enumerate(generated)}
    found = [places.get(str(Path(name).with_suffix(""))) for name in real]
    if lacking := [name for name, place in zip(real, found, strict=True) if place is None]:
        more = f" and {len(lacking) - 1} more have" if len(lacking) > 1 else " has"
        raise BadInput(f"{lacking[0]}{more} no picture of the same name in --generated; name each as its real one")
    return [place for place in found if place is not None]


def _report(found: "BlindSpots", folder: Path) -> None:
    """Print the concepts that are named, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            str(one.number),
            one.verdict,
            f"{one.delta:.2f}",
            "{:.2f} ({:.2f} to {:.2f})".format(one.log_ratio, *one.interval),
            f"{one.q:.3f}",
            "-" if one.control is None else f"{one.control:.2f}",
            one.label or "-",
        )
        for verdict in ("suppressed", "exaggerated")
        for one in found.found(verdict)[:MOST_ROWS]
    ]
    if rows:
        say(aligned([("concept", "is", "delta", "log ratio", "q", "autoencoder", "label"), *rows]))
        say()
    say(found.statement)
    say(str(write_report(folder)))
