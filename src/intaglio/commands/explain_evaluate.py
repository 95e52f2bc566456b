"""`intaglio explain evaluate`: attribution methods beside each other on one's own network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ScoresByNetwork
from intaglio.errors import BadInput
from intaglio.printable import aligned
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.explain.family import Attributor
    from intaglio.explain.method_comparison import MethodComparison
    from intaglio.explain.trials import AttributionTrials
    from intaglio.images.image_set import ImageSet
    from intaglio.models.scored_network import ScoredNetwork
    from intaglio.runs.run import Run

VERB = "explain"
SANE = 8
"""Pictures that are explained under another head."""


@dataclass(frozen=True, kw_only=True)
class ExplainEvaluate(ScoresByNetwork, DryRun, InRun, ReadsPictures):
    """Set attribution methods beside each other on your network and pictures, at the same layers.

    Explained is the likeliest class of each picture. Each map is asked four things: how soon its order reveals the
    class, how soon it removes it, how much of it lies in the right quarter of a grid of four pictures, and whether it
    changes when the head is drawn at random. For classifiers that Intaglio wrote, grids are also split, so that nothing
    outside the quarter can matter. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    images: Path
    """The pictures: a folder; grids want four classes or more."""
    methods: tuple[str, ...] = ()
    """Methods of `intaglio explain`, such as lima grad-cam, or all; none takes those by gradients alone, which are
    quick."""
    layers: tuple[str, ...] = ()
    """Modules of the network at which methods are compared, such as stages.1; none takes the middle and the last."""
    pictures: int = 50
    """Pictures that are revealed and removed, from 1."""
    grids: int = 50
    """Grids of four pictures, from 1; fewer where the pictures do not suffice."""
    sure: float = 0.5
    """Probability of the likeliest class of a picture that may stand in a grid, at least, in [0, 1]; published with
    0.99."""
    smooth: int | None = None
    """Side of the Gaussian kernel, odd, in pixels, that gradients are smoothed with in rows of their own; none takes a
    quarter of --resolution, 0 leaves the rows out."""
    seed: int = 0
    """Seed of grids and of what methods draw, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.pictures, self.grids) < 1:
            raise ValueError(f"pictures and grids must be at least 1, not {self.pictures} and {self.grids}")
        if self.smooth and (self.smooth < 3 or self.smooth % 2 == 0):
            raise ValueError(f"smooth must be 0 or an odd number from 3, not {self.smooth}")
        if not 0 <= self.sure <= 1:
            raise ValueError(f"sure must be in [0, 1], not {self.sure}")
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def check_early(self) -> None:
        """Raises `BadInput` for a network that is not there, and for methods that there are not."""
        super().check_early()
        if unknown := [name for name in self.methods if name not in (*VERBS[VERB].methods, "all")]:
            raise BadInput(f"there is no method {unknown[0]!r}; choose from: {', '.join(VERBS[VERB].methods)}, or all")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.cost import evaluation_plan
        from intaglio.explain.method_comparison import MethodComparison

        scored, network = self.load_network(self.device)
        rows = self._rows(scored)
        images = self.load_pictures(self.images, self.side)
        trials = self._trials(scored, images)
        plan = evaluation_plan(list(rows.values()), trials)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        settings: dict[str, Any] = {
            "rows": {name: asdict(method) for name, method in rows.items()},
            "pictures": self.pictures, "grids": self.grids, "sure": self.sure,
            **self.network_settings(scored, None),
        }  # fmt: skip
        with self.open_run(VERB, "evaluate", settings, known, seed=self.seed) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                self._evaluate(trials, rows, run)
        _report(cast("MethodComparison", MethodComparison.load(folder)), folder)
        return 0

    def _rows(self, scored: "ScoredNetwork") -> "dict[str, Attributor]":
        """The methods that are measured, by row. Raises `BadInput` for layers and libraries that are missing."""
        from intaglio.bench.kit.methods import default_method
        from intaglio.explain.gradient_settings import MOST, ClassActivation, GradientAttributor
        from intaglio.explain.method_comparison import rows_of

        every = {name: default_method(VERB, name, seed=self.seed) for name in VERBS[VERB].methods}
        quick = [name for name, one in every.items() if isinstance(one, GradientAttributor | ClassActivation)]
        names = list(every) if "all" in self.methods else list(self.methods) or quick
        ends = scored.stage_ends
        layers = self.layers or tuple(dict.fromkeys((ends[(len(ends) - 1) // 2], ends[-1]))) if ends else ()
        kernel = min(2 * (self.side // 8) + 1, MOST) if self.smooth is None else self.smooth
        rows = rows_of({name: every[name] for name in names}, layers, kernel)
        for method in rows.values():
            method.check(scored)
        return rows

    def _trials(self, scored: "ScoredNetwork", images: "ImageSet") -> "AttributionTrials":
        """Raises `BadInput` where the network takes no grids."""
        from intaglio.explain.pointing_grids import picture_grids
        from intaglio.explain.trials import AttributionTrials, check_grids

        called = scored.called(images.pixels).tolist()
        grids, repeated = (
            picture_grids(scored, images, called, self.grids, self.seed, sure=self.sure, repeated=twice)
            for twice in (False, True)
        )
        check_grids(scored, grids)
        step = max(1, len(images) // self.pictures)
        shown = images[list(range(0, len(images), step))[: self.pictures]]
        return AttributionTrials(scored, shown, grids, repeated, SANE, self.seed)

    def _evaluate(self, trials: "AttributionTrials", rows: "Mapping[str, Attributor]", run: "Run") -> None:
        from intaglio.explain.heat_maps import quartered
        from intaglio.explain.method_comparison import EvaluatedRow, MethodComparison, row_from_state, row_to_state

        names = {name: f"row-{k:03d}" for k, name in enumerate(rows)}
        known: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
            name: state for name in rows if (state := run.load_state(names[name])) is not None
        }
        with run.progress(len(rows), "rows", len(known)) as progress:
            for name, method in rows.items():
                if name not in known:
                    known[name] = row_to_state(EvaluatedRow.of(name, method, trials(method)))
                    run.save_state(names[name], *known[name])
                    progress.advance()
        states = [known[name] for name in rows]
        found = tuple(row_from_state(about, tensors["pointed"], tensors["split"]) for tensors, about in states)
        result = MethodComparison(trials.scored.head, len(trials.images), len(trials.grids), found)
        if poor := result.no_better_than_chance:
            run.warn(f"as far as these pictures show, no sooner than by chance reveal the class: {', '.join(poor)}")
        if not trials.grids:
            run.warn(
                "the pictures make no grid of four classes that the network is sure of, so that places are not "
                "measured; give more of them, of more classes, or a lower --sure"
            )
        elif len(trials.grids) < self.grids:
            run.warn(f"the pictures make {len(trials.grids)} grids, not {self.grids}")
        for k, row in enumerate(found):
            for kind, maps in (("pointed", row.pointed), ("split", row.split)):
                if bool(maps.isfinite().any()):
                    for bin_, picture in enumerate(quartered(maps)):
                        run.save_image(f"{k:03d}-{kind}-{bin_}", picture)
        result.save(Path(run.folder or "."))
        run.finish(result.figures(), ("evaluation.safetensors", "evaluation.csv", "images"))
        for name in names.values():
            run.drop_state(name)


def _report(found: "MethodComparison", folder: Path) -> None:
    """Print a line a row, and write the report."""
    from intaglio.report import write_report

    measured = ("insertion", "chance", "deletion", "gridpg", "difull", "sanity")
    rows = [
        (row["row"], *("" if row[name] is None else f"{row[name]:.2f}" for name in measured), f"{row['passes']:,.0f}")
        for row in found.rows()
    ]
    heads = ("row", "insertion", "by chance", "deletion", "in its quarter", "split", "sanity", "passes")
    say(aligned([heads, *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
