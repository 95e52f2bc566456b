"""`intaglio explain directions METHOD`: directions of a denoiser's activations, and pictures led along them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, short_number
from intaglio.commands.kit.network_inputs import class_place
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.directions.family import DirectionFinder, DirectionJudge, Scores
    from intaglio.explain.directions.result import Directions, LedPictures
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainDirections(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Find directions of a denoiser's activations, and show pictures of fixed seeds led along each.

    A direction is a shift of what a module gives at every step, such as the bottleneck. Every table and page has a
    random direction as long as the first one beside those that were found. With --target, a classifier tells how far
    its score of a class moves. The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts that are drawn; picture k has the k-th, from the first on again. The empty one draws without a prompt."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    pictures: int = 4
    """Pictures that are led, at least 1; none of them is among the samples that directions are found in."""
    strengths: tuple[float, ...] = (-4.0, -2.0, 2.0, 4.0)
    """Strengths of a direction, one or more; 0 is always shown."""
    target: str | None = None
    """Class whose score is followed, by its name; none follows no class."""
    head: str = ""
    """Head of the classifier that --target is a class of, such as kind or artist; none takes its first."""
    network: Path | None = None
    """The classifier: a .safetensors file that Intaglio wrote, a folder of transformers with an image classifier, or a
    TorchScript file; none takes the embedded one of kinds and artists of emoji."""
    similarity: str = "embedded"
    """Encoder that tells how much of a picture is kept: embedded, ssim, or the path of a local encoder. A TorchScript
    file is a program, and is run only where all it can do is compute."""
    found: Path | None = None
    """A finished run of this method, or its directions.safetensors, whose directions lead the pictures in place of new
    ones, at the site, the steps and the guidance that they were found at."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")
        if not any(self.strengths) or not all(abs(one) < float("inf") for one in self.strengths):
            raise ValueError("strengths must be finite numbers, one of them beside 0 at least")

    def check_early(self) -> None:
        """Raises `BadInput` for no prompt, and for files that are not there."""
        self._asked()
        for flag, path in (("--network", self.network), ("--found", self.found)):
            if path is not None and not path.exists():
                raise BadInput(f"{path} does not exist; check the path of {flag}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.directions.cost import directions_plan
        from intaglio.explain.directions.result import LedPictures

        check_count("--pictures", self.pictures)
        asked, found = self._asked(), self._found()
        model = self.noted_model(self.device)
        judge = self._judge(model)
        if found is None:
            self._method.check(model, asked, judge)
        directions = (self._method.planned_directions if found is None else found.count) + 1
        options: dict[str, Any] = {"found": found is not None}
        plan = directions_plan(self._method, model, self.pictures, self.strengths, directions, **options)
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, asked, found) as run:
            if run.status != "done":
                self.begin(run, plan)
                self._lead(model, asked, judge, found, run)
        folder = Path(run.folder or ".")
        _report(cast(LedPictures, LedPictures.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "DirectionFinder":
        return cast("DirectionFinder", self.method)

    def _asked(self) -> list[str]:
        given = list(self.prompt) if self.prompts is None else read_prompts(self.prompts)
        if not given:
            raise BadInput("there is no prompt to draw; give --prompt, or --prompts FILE with one on each line")
        return given

    def _found(self) -> "Directions | None":
        """Directions of an earlier run. Raises `BadInput` for none, and for those of another method or other steps."""
        from intaglio.explain.directions.result import Directions

        if self.found is None:
            return None
        found, method = Directions.load(self.found), self._method
        if found is None:
            raise BadInput(f"{self.found} has no directions; give a finished run of explain directions")
        if found.method != method.name:
            raise BadInput(f"{self.found} has directions by {found.method}, not {method.name}; name that method")
        if found.steps != method.steps:
            raise BadInput(f"{self.found} has directions for {found.steps} steps; give --steps {found.steps}")
        return found

    def _judge(self, model: "LatentDiffusion") -> "DirectionJudge | None":
        """The classifier's scores. Raises `BadInput` for a class that it has not."""
        from intaglio.explain.directions.family import DirectionJudge

        classes = self._method.asked_classes
        if self.target is None and not classes:
            return None
        target = f"{self.head}:{self.target}" if self.head else str(self.target)
        known = {} if self.target is None else {target: self._scores(self.head, self.target, model)}
        for one in classes:
            head, _, name = one.rpartition(":")
            known[one] = self._scores(head, name, model)
        return DirectionJudge("" if self.target is None else target, known)

    def _scores(self, head: str, name: str, model: "LatentDiffusion") -> "Scores":
        """Log-odds of one class."""
        import torch

        from intaglio.models import testbed
        from intaglio.models.image_classification import load_scored

        path = self.network or testbed.classifier_path()
        scored = load_scored(path, head, side=model.resolution, device=self.device)
        place = class_place(name, scored)

        def scores(pixels: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return scored.score(pixels, place).cpu()

        return scores

    def _open(self, model: "LatentDiffusion", asked: list[str], found: "Directions | None") -> "Run":
        from intaglio.explain.directions.result import FILE
        from intaglio.files import file_hash
        from intaglio.metrics.similarity.measures import load_similarity
        from intaglio.models import testbed
        from intaglio.models.image_classification import network_hash

        encoder = load_similarity(self.similarity, self.device)
        known = {"model": described(self.model, model.fingerprint), "encoder": described(self.similarity, encoder.hash)}
        if self.target is not None or self._method.asked_classes:
            path = self.network or testbed.classifier_path()
            known["network"] = described(path, network_hash(path))
        if self.found is not None and found is not None:
            path = self.found / FILE if self.found.is_dir() else self.found
            known["found"] = described(self.found, file_hash(path))
        own = {name: getattr(self, name) for name in ("pictures", "strengths", "target", "head")}
        settings = {**asdict(cast(Any, self.method)), "prompts": asked, **own}
        return self.open_run("explain", f"directions-{self._method.name}", settings, known, seed=settings["seed"])

    def _lead(
        self,
        model: "LatentDiffusion",
        asked: list[str],
        judge: "DirectionJudge | None",
        found: "Directions | None",
        run: "Run",
    ) -> None:
        """Find the directions, lead pictures along them, and store all."""
        from intaglio.explain.directions.leading import direction_edits, forget_led, lead_pictures, shown_seeds
        from intaglio.explain.directions.result import FILE, LED, TABLE
        from intaglio.metrics.similarity.measures import load_similarity

        method = self._method
        seeds = shown_seeds(method.seed, self.pictures)
        if found is not None and found.seeds:
            seeds = list(found.seeds)
        if found is not None and found.model != model.fingerprint:
            run.warn("the directions were found in another model, and may mean nothing in this one")
        directions = method(model, asked, seeds=seeds, judge=judge, run=run) if found is None else found
        options: dict[str, Any] = {"strengths": self.strengths, "batch": method.batch, "seed": method.seed}
        options["similarity"] = load_similarity(self.similarity, self.device)
        followed = judge if self.target is not None else None
        led = lead_pictures(model, directions, asked, seeds, judge=followed, **options, run=run)
        for warning in led.warnings:
            run.warn(warning)
        led.save(Path(run.folder or "."))
        edits = {f"edit-{k + 1}.safetensors": one for k, one in enumerate(direction_edits(model, directions))}
        for name, edit in edits.items():
            edit.save(Path(run.folder or ".") / name)
        run.finish(led.figures(), (FILE, LED, TABLE, "images", *edits))
        method.forget(run, self.pictures)
        forget_led(run)


def _report(found: "LedPictures", folder: Path) -> None:
    """Print a line a direction, and write the report."""
    from intaglio.report import write_report

    heads = ["direction", *([found.directions.number] if found.directions.number else []), "similarity kept"]
    heads += [f"change of {found.target}", "95%", "rank correlation"] if found.target else []
    rows = []
    for row in found.rows():
        cells = [row["direction"], *([short_number(row["number"])] if found.directions.number else [])]
        cells.append(f"{row['similarity']:.2f}")
        if found.target:
            cells += [f"{row['change']:.2f}", f"{row['change_low']:.2f} to {row['change_high']:.2f}"]
            cells.append(f"{row['spearman']:.2f}")
        rows.append(tuple(cells))
    say(aligned([tuple(heads), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
