"""`intaglio explain bias METHOD`: how unevenly a model draws values that prompts leave open, and an edit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.commands.kit.network_inputs import class_place
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.bias.family import BiasEditor
    from intaglio.explain.bias.result import EvenedValues
    from intaglio.explain.bias.value_judge import Seen, ValueJudge
    from intaglio.metrics.similarity.measures import Similarity
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.models.scored_network import ScoredNetwork
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainBias(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Find where a denoiser carries an attribute that prompts leave open, and even its values out by an edit.

    The values are classes of a head of a classifier, such as the artists of emoji. Pictures of fixed seeds are drawn as
    the model draws them, under the edit, which leads each to a value drawn for its seed, and under a control by chance.
    The bias is the distance of the mean predicted distribution from the uniform one. The edit is stored with the run,
    and `intaglio sample --edit RUN` draws with it. The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts that leave the attribute open; picture k has the k-th, from the first on again."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    pictures: int = 64
    """Pictures that are measured, at least 1; none of them is among the samples that the edit is found in."""
    head: str = ""
    """Head of the classifier that tells the attribute, such as artist; none takes its first."""
    values: tuple[str, ...] = ()
    """Values of the attribute that shall be even, two or more classes of the head; none takes all."""
    subjects: tuple[str, ...] = ()
    """Classes that pictures should be called in spite of the edit, as HEAD:CLASS of the classifier, such as
    "kind:Food & Drink": one for all prompts, or one for each; none is not asked."""
    network: Path | None = None
    """The classifier: a .safetensors file that Intaglio wrote, a folder of transformers with an image classifier, or a
    TorchScript file; none takes the embedded one of kinds and artists of emoji."""
    similarity: str = "embedded"
    """Encoder that tells how much of a picture is kept: embedded, ssim, or the path of a local encoder. A TorchScript
    file is a program, and is run only where all it can do is compute."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")
        if len(self.values) == 1 or len(set(self.values)) < len(self.values):
            raise ValueError("values must be two different classes or more")

    def check_early(self) -> None:
        """Raises `BadInput` for no prompt, for subjects that fit no prompts, and for a network that is not there."""
        asked, count = self._asked(), len(self.subjects)
        if count > 1 and count != len(asked):
            raise BadInput(f"there are {count} --subjects and {len(asked)} prompts; give one for all, or one for each")
        if self.network is not None and not self.network.exists():
            raise BadInput(f"{self.network} does not exist; check the path of --network")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.bias.cost import bias_plan
        from intaglio.explain.bias.result import EvenedValues
        from intaglio.metrics.similarity.measures import load_similarity

        check_count("--pictures", self.pictures)
        asked, method = self._asked(), self._method
        model = self.noted_model(self.device)
        judge = self._judge(model, asked)
        method.check(model, asked, judge)
        plan = bias_plan(method, model, self.pictures)
        if self.dry_run and self.ends_with(plan):
            return 0
        similarity = load_similarity(self.similarity, self.device)
        with self._open(model, asked, judge, similarity) as run:
            if run.status != "done":
                self.begin(run, plan)
                self._even_out(model, asked, judge, similarity, run)
        folder = Path(run.folder or ".")
        _report(cast(EvenedValues, EvenedValues.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "BiasEditor":
        return cast("BiasEditor", self.method)

    def _asked(self) -> list[str]:
        given = list(self.prompt) if self.prompts is None else read_prompts(self.prompts)
        if not given:
            raise BadInput("there is no prompt to draw; give --prompt, or --prompts FILE with one on each line")
        return given

    def _judge(self, model: "LatentDiffusion", asked: list[str]) -> "ValueJudge":
        """The classifier's probabilities. Raises `BadInput` for a class that it has not."""
        import torch

        from intaglio.explain.bias.value_judge import ValueJudge

        scored = self._scored(self.head, model)
        values = self.values or scored.classes
        places = [class_place(one, scored, "--values") for one in values]

        def shares(pixels: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return scored.logits(pixels).softmax(1)[:, places].cpu()

        return ValueJudge(scored.head, tuple(values), shares, self._subjects(model, asked))

    def _subjects(self, model: "LatentDiffusion", asked: list[str]) -> "Mapping[str, Seen]":
        """Whether pictures are called what their prompt asks for, by prompt."""
        import torch

        def seen(name: str) -> "Seen":
            head, _, wanted = name.rpartition(":")
            scored = self._scored(head, model)
            place = class_place(wanted, scored, "--subjects")
            return lambda pixels: (scored.called(pixels) == place).to(torch.float32)

        every = self.subjects * len(asked) if len(self.subjects) == 1 else self.subjects
        return {text: seen(name) for text, name in zip(asked, every, strict=bool(every))}

    def _scored(self, head: str, model: "LatentDiffusion") -> "ScoredNetwork":
        from intaglio.models import testbed
        from intaglio.models.image_classification import load_scored

        path = self.network or testbed.classifier_path()
        return load_scored(path, head, side=model.resolution, device=self.device)

    def _open(self, model: "LatentDiffusion", asked: list[str], judge: "ValueJudge", similarity: "Similarity") -> "Run":
        from intaglio.models import testbed
        from intaglio.models.image_classification import network_hash

        path = self.network or testbed.classifier_path()
        known = {
            "model": described(self.model, model.fingerprint),
            "network": described(self.network, network_hash(path)),
            "encoder": described(self.similarity, similarity.hash),
        }
        own = {"prompts": asked, "pictures": self.pictures, "head": judge.attribute, "values": judge.values}
        settings = {**asdict(cast(Any, self.method)), **own, "subjects": self.subjects}
        return self.open_run("explain", f"bias-{self._method.name}", settings, known, seed=self._method.seed)

    def _even_out(
        self, model: "LatentDiffusion", asked: list[str], judge: "ValueJudge", similarity: "Similarity", run: "Run"
    ) -> None:
        """Find the edit, measure it, and store both."""
        from intaglio.explain.bias.evening import evened_pictures, shown_seeds
        from intaglio.explain.bias.result import FILE, TABLE
        from intaglio.sampling.site_edit import FILE as EDIT

        method, folder = self._method, Path(run.folder or ".")
        found = method(model, asked, judge, run=run)
        seeds = shown_seeds(method.seed, self.pictures)
        evened = evened_pictures(model, method, found, asked, seeds, judge, similarity, run=run)
        for warning in evened.warnings:
            run.warn(warning)
        found.edit.save(folder / EDIT)
        evened.save(folder)
        run.finish(evened.figures(), (FILE, EDIT, TABLE, "images"))
        method.forget(run)


def _report(found: "EvenedValues", folder: Path) -> None:
    """Print a line a value, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["value"], f"{row['before']:.2f}", f"{row['after']:.2f}", f"{row['by_chance']:.2f}", str(row["samples"]))
        for row in found.rows()
    ]
    say(aligned([("value", "before", "after", "by chance", "samples"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
