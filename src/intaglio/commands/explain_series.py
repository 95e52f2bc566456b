"""`intaglio explain series METHOD`: points of a series by which a classifier tells its class."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from intaglio.explain.series.family import SeriesExplainer
    from intaglio.explain.series.labelled_series import LabelledSeries
    from intaglio.explain.series.result import ExplainedPoints
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 20
"""Series of the printed table."""
AT_ONCE = 8
"""Drawings of a batch."""


@dataclass(frozen=True, kw_only=True)
class ExplainSeries(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Tell which points of a series a classifier goes by, and check whether that is so.

    Give labelled series, or prompts whose drawings are the series: a denoiser's activations, step by step. A small
    transformer is taught the classes on most of the series; the others are explained and tested. The same command again
    goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    series: Path | None = None
    """The series: an .npz with series [n, t, d] and labels [n], or a CSV file with columns series, time, label and one
    a channel."""
    prompts: Path | None = None
    """Drawings in place of --series: a CSV file with columns prompt and label; each is drawn --each times."""
    each: int = 10
    """Drawings of a prompt, from 1."""
    site: str = "mid_block"
    """Module of the denoiser whose mean maps make a series."""
    steps: int = 20
    """Steps of DDIM of a drawing, which are the series' times, from 3."""
    guidance: float = 3.0
    """Scale of guidance of the drawings, 0 or more."""
    numbers: int = 8
    """Principal directions of the mean maps, which are the series' channels, from 1."""

    def __post_init__(self) -> None:
        for name, least in (("each", 1), ("steps", 3), ("numbers", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, not {self.guidance}")

    def check_early(self) -> None:
        """Raises `BadInput` where there are no series, or two kinds, and for files that are not there."""
        if (self.series is None) == (self.prompts is None):
            raise BadInput("give series: one of --series FILE and --prompts FILE")
        if self.series is not None and (self.model is not None or self.lora is not None):
            raise BadInput("--model and --lora draw series from --prompts; leave them out with --series")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.series.cost import series_plan
        from intaglio.explain.series.labelled_series import read_series
        from intaglio.explain.series.result import ExplainedPoints
        from intaglio.explain.site_walks import forget_walks
        from intaglio.files import file_hash

        path = cast(Path, self.series or self.prompts)
        known = {"series" if self.series else "prompts": described(path, file_hash(path))}
        given = read_series(path) if self.series else None
        model = None if given else self.noted_model(self.device)
        plan = self._drawing_plan(model) if model else series_plan(self._method, cast("LabelledSeries", given))
        if self.dry_run and self.ends_with(plan):
            return 0
        self._method.parts(given or self._blank())
        settings = asdict(cast(Any, self.method))
        if model is not None:
            known["model"] = described(self.model, model.fingerprint)
            settings |= {name: getattr(self, name) for name in ("each", "site", "steps", "guidance", "numbers")}
        with self.open_run("explain", f"series-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(given or self._drawn(cast(Any, model), run), run=run)
                found.save(folder)
                run.finish(found.figures(), (found.file, found.table))
                self._method.forget(run)
                if model is not None:
                    forget_walks(run, len(found.names) + found.learnt)
        _report(cast("ExplainedPoints", ExplainedPoints.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "SeriesExplainer":
        return cast("SeriesExplainer", self.method)

    def _blank(self) -> "LabelledSeries":
        """Series of zeros in place of the drawings, whose labels and groups are checked before time is spent."""
        import torch

        from intaglio.explain.series.drawn_trajectories import read_prompt_labels
        from intaglio.explain.series.labelled_series import LabelledSeries

        prompts, labels = read_prompt_labels(cast(Path, self.prompts))
        names = tuple(str(k) for k in range(self.each * len(prompts)))
        values = torch.zeros(len(names), self.steps, self.numbers)
        channels = tuple(map(str, range(self.numbers)))
        return LabelledSeries(names, values, tuple(labels * self.each), channels, groups=tuple(prompts * self.each))

    def _drawing_plan(self, model: "LatentDiffusion") -> Any:
        from intaglio.explain.series.cost import walks_plan
        from intaglio.explain.series.drawn_trajectories import read_prompt_labels

        prompts, _ = read_prompt_labels(cast(Path, self.prompts))
        return walks_plan(model, len(prompts) * self.each, self.steps, self.guidance, AT_ONCE)

    def _drawn(self, model: "LatentDiffusion", run: "Run") -> "LabelledSeries":
        """The series of all drawings; drawing k of a prompt has the seed k beyond the method's."""
        from intaglio.explain.series.drawn_trajectories import read_prompt_labels, trajectory_series
        from intaglio.explain.site_walks import Walk

        prompts, labels = read_prompt_labels(cast(Path, self.prompts))
        seeds = [self._method.seed + k for k in range(self.each) for _ in prompts]
        walk = Walk(self.site, self.steps, self.guidance)
        many = {"batch": AT_ONCE, "run": run}
        return trajectory_series(model, prompts * self.each, labels * self.each, seeds, walk, self.numbers, **many)


def _report(found: "ExplainedPoints", folder: Path) -> None:
    """Print a line a series, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            one_line(row["series"]),
            one_line(row["truth"]),
            one_line(row["called"]),
            f"{row['first_time']:g}, {one_line(row['first_channel'])}",
            f"{row['removal']:.2f}",
            f"{row['by_chance']:.2f}",
            f"{row['rank']:.2f}",
        )
        for row in found.rows()[:MOST_ROWS]
    ]
    say(aligned([("series", "truth", "called", "first point", "left", "by chance", "swap rank"), *rows]))
    say("left: area under the called class's probability while points are replaced, the lower the better")
    say(f"all {len(found.names):,} held-out series are in {folder / found.table}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
