"""`intaglio explain counterfactuals METHOD`: what pictures would look like if attributes of theirs were others."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, short_number
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
    from intaglio.explain.counterfactuals.attribute_table import AttributeTable
    from intaglio.explain.counterfactuals.family import CounterfactualMaker
    from intaglio.explain.counterfactuals.picture_measures import MeasuredAttribute
    from intaglio.explain.counterfactuals.result import Counterfactuals
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainCounterfactuals(DryRun, InRun, ReadsPictures, Generic[M]):
    """Learn pictures with numbers of their attributes, and show them again with some of the attributes set.

    What is set changes what it causes, by the graph that is given; all else of a picture stays. The report has pairs of
    pictures before and after, the values that are told, and how far off attributes are that can be measured in the
    pictures themselves. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures that are learnt: a folder, of a few hundred or more."""
    table: Path
    """Attributes of the pictures: a CSV file with a column picture, and a column of numbers for each variable of the
    graph. A picture without a row, or with an empty cell, has no labels: some methods learn from it all the same. A
    fifth of those with labels is then held out, to judge by: at most --pictures, and no more than leave eight."""
    graph: Path
    """Which attribute causes which, without cycles: a list of edges as CSV with columns source and target, or GML, DOT,
    DAGitty or JSON. A row with a source alone is an attribute without edges."""
    set: tuple[str, ...]
    """What is set, as NAME=VALUE in the table's units; several are set together."""
    measure: tuple[str, ...] = ()
    """Attributes that can be measured in a picture, as NAME=MEASURE: ink-area, ink-side (the root of the area),
    ink-brightness or brightness, brought to the table's units by a line."""
    pictures: int = 24
    """Pictures that are shown before and after, at least 1: the first of the folder, where all have labels, and else
    those held out before the others."""
    resolution: int = 32
    """Side in pixels at which pictures are learnt, such as 32 or 64."""

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")

    def check_early(self) -> None:
        """Raises `BadInput` for what is no NAME=VALUE, for a graph that is not there, and for one that is no DAG."""
        _numbers(self.set)
        _pairs(self.measure, "--measure")
        self._graph()

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a table that does not fit the pictures' names or the graph."""
        from intaglio.explain.counterfactuals.attribute_table import read_attributes
        from intaglio.explain.picture_columns import check_row_names

        names = [entry.name for entry in listed["images"].entries]
        check_row_names(self.table, names)
        if not self.skip_bad:
            read_attributes(self.table, names, self._graph().names).places(_numbers(self.set))

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.counterfactuals.attribute_table import read_attributes
        from intaglio.explain.counterfactuals.cost import counterfactuals_plan
        from intaglio.explain.counterfactuals.family import some_held
        from intaglio.explain.counterfactuals.made_pictures import shown_places
        from intaglio.explain.counterfactuals.result import FILE, TABLE, Counterfactuals
        from intaglio.files import file_hash

        graph, changes = self._graph(), _numbers(self.set)
        images = self.load_pictures(self.images, self.resolution)
        attributes = some_held(
            read_attributes(self.table, images.names, graph.names), images, self._method.seed, self.pictures
        )
        attributes.places(changes)
        self._method.check(images, attributes, graph)
        measured = self._measured(images, attributes)
        shown = shown_places(self._method, attributes, self.pictures)
        plan = counterfactuals_plan(self._method, graph, self.resolution, attributes, len(shown), self.device)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"images": described(self.images, images.fingerprint)}
        known |= {name: described(path, file_hash(path)) for name, path in self._files.items()}
        own = {"set": changes, "measure": _pairs(self.measure, "--measure"), "pictures": len(shown)}
        settings = {**asdict(cast(Any, self.method)), **own, "resolution": self.resolution}
        name = f"counterfactuals-{self._method.name}"
        with self.open_run("explain", name, settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in (*images.warnings, *self._left_out(attributes)):
                    run.warn(warning)
                found = self._made(images, attributes, graph, changes, measured, shown, run)
                for warning in found.warnings:
                    run.warn(warning)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE, "images"))
                self._method.forget(run)
        _report(cast("Counterfactuals", Counterfactuals.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "CounterfactualMaker":
        return cast("CounterfactualMaker", self.method)

    @property
    def _files(self) -> dict[str, Path]:
        return {"table": self.table, "graph": self.graph}

    def _graph(self) -> "AttributeGraph":
        """The graph in its file. Raises `BadInput` for one that is no DAG."""
        from intaglio.causal.formats.graph_files import read_graph
        from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph

        read = read_graph(self.graph)
        if read.kind != "DAG":
            raise BadInput(f"{self.graph} is a {read.kind}, which leaves open what causes what; give a DAG")
        return AttributeGraph.of(read.names, [(edge.first, edge.second) for edge in read.edges])

    def _measured(self, images: "ImageSet", table: "AttributeTable") -> "dict[int, MeasuredAttribute]":
        """Lines of measured attributes by place. Raises `BadInput` for what is no attribute or no measure."""
        from intaglio.explain.counterfactuals.picture_measures import measured_attribute

        known, found = table.labelled, {}
        for name, measure in _pairs(self.measure, "--measure").items():
            if name not in table.names:
                known = ", ".join(map(one_line, table.names))
                raise BadInput(f"{one_line(name)} of --measure is no attribute of the graph; it has: {known}")
            k = table.names.index(name)
            found[k] = measured_attribute(measure, images.pixels[known], table.values[known, k])
        return found

    def _left_out(self, table: "AttributeTable") -> list[str]:
        """A warning where pictures without labels are not learnt."""
        left = int((~table.labelled).sum())
        if not left or self._method.learns_unlabelled:
            return []
        return [f"{self._method.name} learns from pictures with labels alone: {left} of {len(table.values)} have none"]

    def _made(
        self,
        images: "ImageSet",
        table: "AttributeTable",
        graph: "AttributeGraph",
        changes: "Mapping[str, float]",
        measured: "Mapping[int, MeasuredAttribute]",
        shown: "list[int]",
        run: "Run",
    ) -> "Counterfactuals":
        from intaglio.explain.counterfactuals.made_pictures import counterfactuals

        method = self._method
        model = method.learnt(images, table, graph, run=run, device=self.device)
        about = (method, model, images, table, graph, shown, changes, measured)
        return counterfactuals(*about, run=run, device=self.device)


def _pairs(given: tuple[str, ...], flag: str) -> dict[str, str]:
    """Texts by name. Raises `BadInput` for what is no NAME=TEXT, and for a name that is given twice."""
    found = {}
    for one in given:
        name, sign, text = one.rpartition("=")
        if not (name.strip() and sign and text.strip()):
            raise BadInput(
                f"{flag} {one_line(one)} is no pair; give it as NAME={'VALUE' if flag == '--set' else 'MEASURE'}"
            )
        if name.strip() in found:
            raise BadInput(f"{flag} has {one_line(name.strip())} twice; give it once")
        found[name.strip()] = text.strip()
    return found


def _numbers(given: tuple[str, ...]) -> dict[str, float]:
    """Finite numbers by name. Raises `BadInput` for others."""
    from math import isfinite

    found = {}
    for name, text in _pairs(given, "--set").items():
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = float("nan")
        if not isfinite(found[name]):
            raise BadInput(
                f"--set {one_line(name)}={one_line(text)} is no finite number; give one in the table's units"
            )
    return found


def _report(found: "Counterfactuals", folder: Path) -> None:
    """Print a line an attribute, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            one_line(row["attribute"]),
            ", ".join(map(one_line, row["causes"])) or "-",
            *(short_number(row[key]) for key in ("before", "after")),
            *(short_number(row.get(key)) for key in ("measured_after", "error_after")),
        )
        for row in found.attribute_rows()
    ]
    heads = ("attribute", "caused by", "before", "after", "measured after", "off by")
    say(aligned([heads, *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
