"""`intaglio bench heads`: accuracy against the size of the explanation, for heads on features of three networks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from intaglio.bench.kit.methods import default_methods
from intaglio.explain.heads.family import ReadableHead
from intaglio.explain.picture_features import EncodedFeatures, FeatureSource, LayerFeatures
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding, load_similarity
from intaglio.models import testbed
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain heads"
CORE = "concept-head"
QUICK: Mapping[str, Any] = {"strengths": (0.01,), "epochs": 10}
"""Settings of --quick, of those methods that have them."""


@dataclass(frozen=True, kw_only=True)
class HeadsBench:
    """Heads that a person can read: accuracy against the size of the explanation.

    Pictures are the 223 emoji whose subjects no embedded classifier has seen, named by their kind (of 7) or, in full,
    by artist (of 4) too; pictures of one name stay in one fold. Features are the last maps of the embedded classifier,
    which was trained on these very labels of other pictures, of the embedded encoder, which saw no labels, and of a
    classifier of random weights. `iis` is the inherent interpretability score of the concepts of a network: how much of
    the linear head's accuracy is left when few concepts of a picture are.

    A method that trains the network is asked about the classifiers, with one of five parts of the pictures held out:
    beside it stand the untouched network and one that was trained on the same pictures without concepts.
    """

    quick: bool = False
    """Kinds alone, and one strength of the penalty: minutes."""
    seed: int = 0
    """Of folds, concepts, prototypes and random weights, from 0."""
    device: str = "cpu"
    """Where the networks compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, ReadableHead] = default_methods(VERB, seed=self.seed, **(QUICK if self.quick else {}))
        sources = asked_sources(self.device, self.seed)
        labels = ("kind",) if self.quick else ("kind", "artist")
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}, "labels": labels}
        inputs = {name: {"path": "testbed", "sha256": one.hash} for name, one in sources.items()}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "heads", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, sources, labels, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("label", "network", "head", "family", "accuracy", "95%", "beside linear", "to read", "iis")
        rows = sorted(figures["rows"].values(), key=lambda row: (row["label"], row["network"], -row["accuracy"]))
        lines = [_words(row) for row in rows]
        trained = [line for row in rows if row.get("tuned") for line in _trained_lines(row)]
        further = ("label", "network", "its weights", "linear head", "few concepts", "iis")
        return aligned([head, *lines]) + ("\n\n" + aligned([further, *trained]) if trained else "")

    def _measure(
        self, methods: Mapping[str, ReadableHead], sources: Mapping[str, FeatureSource], labels: Sequence[str], run: Run
    ) -> None:
        images, told = testbed.held_out_pictures()
        rows = [
            (label, network, name)
            for label in labels
            for network in sources
            for name in methods
            if not methods[name].refusal(sources[network])
        ]
        left = [row for row in rows if " ".join(row) not in run.recorded("row")]
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for label, network, name in left:
                texts = [one.get(label, "") for one in told]
                found = measured(methods[name], sources[network], images, label, texts)
                run.record("row", f"{label} {network} {name}", {"network": network, "head": name, **found})
                progress.advance()


def asked_sources(device: str, seed: int) -> dict[str, FeatureSource]:
    """Features of the three networks by name."""
    encoder = cast(Embedding, load_similarity("embedded", device))
    trained = testbed.classifier().to(device)
    untrained = new_classifier(trained.classes, seed, widths=trained.widths, repeats=trained.repeats)
    heads = {"classifier": trained, "random": untrained.eval().requires_grad_(False).to(device)}
    first = next(iter(trained.classes))
    scored = {name: LayerFeatures(classifier_score(one, first)) for name, one in heads.items()}
    return {"classifier": scored["classifier"], "encoder": EncodedFeatures(encoder), "random": scored["random"]}


def measured(
    method: ReadableHead, source: FeatureSource, images: ImageSet, label: str, texts: Sequence[str]
) -> dict[str, Any]:
    """Figures of one row."""
    subjects = [(caption or "").partition(",")[0] for caption in images.captions]
    return {"label": label, **method(source, images, label, texts, subjects).figures()}


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    kinds = [row for row in recorded.values() if row["label"] == "kind"]
    iis = {f"iis_{row['network']}": row["iis"] for row in kinds if row["head"] == CORE}
    accuracy = {f"{row['head']}_{row['network']}": row["accuracy"] for row in kinds}
    gains = {
        f"iis_over_{other}_{row['network']}": row["tuned"][f"iis_over_{other}"]
        for row in kinds
        for other in ("untouched", "plain")
        if row.get("tuned")
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**iis, **accuracy, **gains, **about, "rows": dict(recorded)}


def _trained_lines(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for each of the weights of a network."""
    found = list[tuple[str, ...]]()
    for name in ("untouched", "plain", "through"):
        one = row["tuned"][name]
        iis = "-" if one["iis"] is None else f"{one['iis']:.2f}"
        told = (f"{one['linear_accuracy']:.2f}", f"{one['accuracy']:.2f}", iis)
        found.append((row["label"], row["network"], name, *told))
    return found


def _words(row: Mapping[str, Any]) -> tuple[str, ...]:
    (low, high), (below, above) = row["interval"], row["difference_interval"]
    beside = f"{row['difference']:+.2f} ({below:+.2f} to {above:+.2f})"
    iis = "-" if row["iis"] is None else f"{row['iis']:.2f}"
    told = (f"{row['accuracy']:.2f}", f"{low:.2f} to {high:.2f}", beside, f"{row['size']:.1f}", iis)
    return (row["label"], row["network"], row["head"], row["kind"], *told)
