"""`intaglio extract METHOD`: extraction of training pictures from a fine-tune, with false-discovery rates."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import said_idle, said_idle_like
from intaglio.commands.kit.inputs import ReadsPictures, SuspectAndBase, described, short_number
from intaglio.errors import BadInput
from intaglio.extract.confidence import check_confidence
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.extract.family import Extractor
    from intaglio.extract.inputs import ExtractionInputs
    from intaglio.extract.result import ExtractionResult, ReturnedPicture
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Embedding
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
USUAL_PICTURES = 10
"""Training pictures that are sought where nobody says how many there were."""
MOST_WORKERS = 1024
"""Largest number of processes."""


@dataclass(frozen=True, kw_only=True)
class Extract(DryRun, OnCluster, SuspectAndBase, ReadsPictures, Generic[M]):
    """Draw the pictures that a suspect was most probably fine-tuned on, each with a false-discovery rate.

    For models that you may examine: your own before you publish it, or one whose owner permits it. The same command
    again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("training", "held_out")
    method: tyro.conf.OmitArgPrefixes[M]
    authority: str
    """Why you may examine this model, such as "my own model" or "engaged by its owner"; kept in the report."""
    prompt: tuple[str, ...] = ()
    """Prompt of the fine-tune; several share the pictures among them. None takes the prompt in the suspect's card or
    file, or else none is used."""
    training: Path | None = None
    """Folder of the suspect's training pictures, where you have them: the report then shows the nearest beside each
    returned picture, and the coverage of the set."""
    held_out: Path | None = None
    """Folder of pictures of the same kind outside the training set, at least as many: the null of matches."""
    control: bool = True
    """Also draw from the base alone, the null of the false-discovery rates; doubles the time."""
    fdr: float = 0.1
    """False-discovery rate asked for, in (0, 1): the largest expected share of chance finds among those reported."""
    similarity: str = "embedded"
    """Similarity of two pictures: embedded, or the path of a local encoder. A TorchScript file is a program, and is run
    only where all it can do is compute."""
    workers: int | None = None
    """Processes that draw pictures; none takes one for each core on the CPU, else one, and all of a --cluster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fdr < 1:
            raise ValueError(f"fdr must lie between 0 and 1, not {self.fdr}")
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise ValueError(f"workers must be at least 1 and at most {MOST_WORKERS}, not {self.workers}")
        if self.workers == 1 and self.cluster is not None:
            raise ValueError("workers 1 is this very process; leave it out, or leave out cluster")
        if not self.authority.strip():
            raise ValueError('authority must say why you may examine this model, such as "my own model"')

    def check_early(self) -> None:
        """Raises `BadInput` for a rate that so many generations cannot show, and for held-out pictures on their own."""
        if self.control and (generations := getattr(self.method, "generations", None)) is not None:
            check_confidence(generations, self.fdr)
        if self.held_out is not None and self.training is None:
            raise BadInput("--held-out stands beside --training, to say what a match by chance is; give both")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        inputs, warnings = self._inputs()
        training, held_out = self._known_pictures(inputs.base)
        with self.spread():
            return self._planned(inputs, training, held_out, warnings)

    def _planned(
        self, inputs: "ExtractionInputs", training: "ImageSet | None", held_out: "ImageSet | None", warnings: list[str]
    ) -> int:
        """The cost, then the work; returns the exit code."""
        from intaglio.extract.cost import make_plan
        from intaglio.extract.extraction import forget
        from intaglio.extract.result import ExtractionResult

        plan = make_plan(self._method, inputs, controlled=self.control, workers=self._workers())
        energy = self._energy(inputs)
        if self.ends_with(plan, energy):
            return 0
        with self._open(inputs, training, held_out) as run:
            if run.status != "done":
                self.begin(run, plan, energy)
                about = dict.fromkeys((*inputs.suspect.notes, *inputs.base.notes))
                idle = (*self._idle(), *said_idle_like(self.like, inputs.base))
                for warning in (*idle, *warnings, *_about_pictures(training, held_out), *about):
                    run.warn(warning)
                self.say_spread(run)
                self._extract(inputs, training, held_out, run, {} if energy is None else energy.summary)
            forget(self._method, run)
        folder = Path(run.folder or ".")
        _report(cast(ExtractionResult, ExtractionResult.load(folder)), folder)
        return 0

    def _idle(self) -> list[str]:
        """Warnings of flags that this way of working does not use."""
        return [] if self.control else said_idle(self, ("fdr",), "without --control there are no false-discovery rates")

    def _inputs(self) -> "tuple[ExtractionInputs, list[str]]":
        """The models, prompts and encoder, and warnings."""
        from intaglio.denoising.model_pair import check_pair
        from intaglio.extract.inputs import ExtractionInputs

        similarity = self._encoder()
        suspect, base = self.load_models()
        check_pair(suspect, base)
        prompts, warnings = self._prompts(suspect, base)
        if (sought := getattr(self._method, "pictures", None)) == USUAL_PICTURES:
            warnings = [*warnings, f"{sought} training pictures are sought; --pictures says how many there were"]
        return ExtractionInputs(suspect, base, prompts, similarity), warnings

    def _encoder(self) -> "Embedding":
        from intaglio.metrics.similarity.measures import Embedding, load_similarity

        similarity = load_similarity(self.similarity, self.device)
        if not isinstance(similarity, Embedding):
            raise BadInput(f"--similarity {self.similarity} has no descriptors to group by; give an encoder")
        return similarity

    def _prompts(self, suspect: "LatentDiffusion", base: "LatentDiffusion") -> tuple[tuple[str, ...], list[str]]:
        """The prompts, and a warning with their source."""
        from intaglio.extract.prompts import suggested_prompt

        if self.prompt:
            return self.prompt, []
        if (found := suggested_prompt(self.suspect, suspect, base)) is not None:
            return (found[0],), [f"no --prompt was given: {found[0]!r} is taken from {found[1]}"]
        return (), ["no --prompt was given and none was found: the pictures are drawn without one, which finds less"]

    def _known_pictures(self, base: "LatentDiffusion") -> "tuple[ImageSet | None, ImageSet | None]":
        """The training set and the held-out pictures, where they were given."""
        from intaglio.extract.evaluation import check_held_out

        training, held_out = (
            None if path is None else self.load_pictures(path, base.resolution)
            for path in (self.training, self.held_out)
        )
        if training is not None and held_out is not None:
            check_held_out(training, held_out)
        return training, held_out

    def _workers(self) -> int:
        from intaglio.runs.fan_out import workers_for

        return self.workers or workers_for(self.device)

    def _open(self, inputs: "ExtractionInputs", training: "ImageSet | None", held_out: "ImageSet | None") -> "Run":
        known = self.model_inputs(inputs.suspect, inputs.base)
        known["autoencoder"] = described(self.suspect, inputs.suspect.part_fingerprint("autoencoder"))
        known["similarity"] = described(self.similarity, inputs.similarity.hash)
        for name, path, part in (("training", self.training, training), ("held_out", self.held_out, held_out)):
            if part is not None:
                known[name] = described(path, part.fingerprint)
        own = {"prompt": list(inputs.prompts), "authority": self.authority, "control": self.control, "fdr": self.fdr}
        settings = {**asdict(self._method), **own}
        return self.open_run("extract", self._method.name, settings, known, seed=self._method.seed)

    def _energy(self, inputs: "ExtractionInputs") -> "EnergyLine | None":
        """The estimate of all pictures that may be drawn; the search may end before them."""
        from intaglio.commands.kit.energy_lines import energy_line
        from intaglio.commands.kit.extract_energy import extraction_work

        work = partial(extraction_work, self._method, inputs, controlled=self.control)
        return energy_line(self.device, work, at_most=True)

    def _extract(
        self,
        inputs: "ExtractionInputs",
        training: "ImageSet | None",
        held_out: "ImageSet | None",
        run: "Run",
        energy: "Mapping[str, Any]",
    ) -> None:
        from intaglio.extract.audit import run_extraction

        found = run_extraction(
            self._method,
            inputs,
            controlled=self.control,
            training=training,
            held_out=held_out,
            fdr=self.fdr,
            run=run,
            workers=self._workers(),
        )
        for warning in found.warnings:
            run.warn(warning)
        found.save(Path(run.folder or "."))
        run.finish({**found.figures(), **energy}, ("extraction.json", "finds.csv", "images/finds"))

    @property
    def _method(self) -> "Extractor":
        return cast("Extractor", self.method)


def _report(found: "ExtractionResult", folder: Path) -> None:
    """Print what was found, and write the report."""
    from intaglio.report import write_report

    if found.finds:
        heads = ("picture", "alike", "cohesion", "q", "nearest", "similarity")
        rows = [_row(find) for find in found.finds]
        say(aligned([heads[: len(rows[0])], *rows]))
        say()
    say(found.statement)
    if (known := found.coverage) is not None:
        say(
            f"{known.extracted} returned pictures cover the {known.training} training pictures with a mean similarity "
            f"of {known.average_similarity:.3f}."
        )
    say(str(write_report(folder)))


def _row(find: "ReturnedPicture") -> tuple[object, ...]:
    row = (find.image, find.size, short_number(find.cohesion), short_number(find.q_value))
    return row if find.match is None else (*row, find.match.nearest, short_number(find.match.similarity))


def _about_pictures(training: "ImageSet | None", held_out: "ImageSet | None") -> list[str]:
    found = [warning for part in (training, held_out) if part is not None for warning in part.warnings]
    if training is not None and (pairs := training.duplicates()):
        listed = ", ".join(f"{one} and {two}" for one, two in pairs[:5])
        found.append(f"training pictures that look the same fall into one group, so seek fewer --pictures: {listed}")
    return found
