"""`intaglio explain features METHOD`: how well labels of pictures are read from what networks make of them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described
from intaglio.commands.kit.picture_sides import check_resolution, picture_side
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.features.family import FeatureProbe
    from intaglio.explain.features.feature_cells import ProbedNetworks
    from intaglio.explain.features.result import FeatureProbes
    from intaglio.images.folder import Listing

M = TypeVar("M")
MOST_ROWS = 8
"""Cells of a label in the printed table, the best first."""


@dataclass(frozen=True, kw_only=True)
class ExplainFeatures(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Measure how well labels of pictures are read from features: of a denoiser, an autoencoder, an encoder, pixels.

    Logistic regression on the features names pictures that it was not fitted to, in folds; shuffled labels say how
    often it is right by chance. Give some hundred pictures, ten or more of a label. The same command again goes on
    where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""
    labels: Path
    """Labels of the pictures: a CSV file with a column picture and others, such as kind."""
    columns: tuple[str, ...] = ()
    """Columns of the labels that are read, such as kind; none takes all but that of --group."""
    group: str = ""
    """Column of the labels by which pictures belong together, such as twins of one name; no two pictures of a group are
    on both sides of a fold."""
    network: Path | None = None
    """For the method network: a classifier, as a .safetensors file that Intaglio wrote, a folder of transformers with
    an image classifier, or a TorchScript file; none takes the encoder of --similarity."""
    similarity: str = "embedded"
    """For the method network: the encoder, embedded or the path of a local one, as in intaglio extract."""
    resolution: int | None = None
    """Pixels of a side to which pictures are read, from 16; none takes the model's own, those that --network prepares
    pictures to, or 64. A model always has its own."""
    keep_features: bool = False
    """Write all features to features.safetensors in the run's folder, a tensor [n, d] a cell."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    def check_early(self) -> None:
        """Raises `BadInput` for a network that is not there, and for inputs that exclude each other."""
        if self.network is not None and not self.network.exists():
            raise BadInput(f"{self.network} does not exist; check the path of --network")
        if self.network is not None and self.similarity != "embedded":
            raise BadInput("--network and --similarity both give a network; leave one of them out")
        if self.similarity == "ssim":
            raise BadInput("ssim has no descriptors to read labels from; give --similarity embedded, or an encoder")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for labels that do not fit the pictures' names, or of too few pictures."""
        if not self.skip_bad:
            self._kept([entry.name for entry in listed["images"].entries])

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.features.cost import features_plan
        from intaglio.explain.features.feature_cells import FILE as FEATURES
        from intaglio.explain.features.result import FILE, TABLE, FeatureProbes
        from intaglio.files import file_hash

        networks, known = self._networks()
        self._method.check(networks)
        side = picture_side(self.resolution, self.network) if networks.model is None else networks.model.resolution
        images = self.load_pictures(self.images, side)
        texts, groups = self._texts(list(images.names))
        plan = features_plan(self._method, networks, images, self._method.kept(texts, groups))
        if self.dry_run and self.ends_with(plan):
            return 0
        known |= {"images": described(self.images, images.fingerprint)}
        known |= {"labels": described(self.labels, file_hash(self.labels))}
        own = {name: getattr(self, name) for name in ("columns", "group", "keep_features")}
        settings = {**asdict(cast(Any, self.method)), **own, "resolution": side}
        with self.open_run("explain", f"features-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in dict.fromkeys((*(networks.model.notes if networks.model else ()), *images.warnings)):
                    run.warn(warning)
                features = self._method.read(networks, images, run=run)
                found = self._method.probed(features, networks, images, texts, groups, run=run)
                if self.keep_features:
                    features.save(folder)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE, *((FEATURES,) if self.keep_features else ())))
                self._method.forget(run, len(images))
        _report(cast("FeatureProbes", FeatureProbes.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "FeatureProbe":
        return cast("FeatureProbe", self.method)

    def _networks(self) -> "tuple[ProbedNetworks, dict[str, dict[str, str]]]":
        """The network that the method asks, and how a run describes it. Raises `BadInput` for one that it does not."""
        from intaglio.explain.features.feature_cells import ProbedNetworks

        asks = self._method.asks
        if asks != "network" and (self.network is not None or self.similarity != "embedded"):
            raise BadInput(f"{self._method.name} reads no encoder or classifier; leave out --network and --similarity")
        if asks != "model" and (self.model is not None or self.lora is not None):
            raise BadInput(f"{self._method.name} reads no text-to-image model; leave out --model and --lora")
        if asks == "model":
            model = self.noted_model(self.device)
            return ProbedNetworks(model=model), {"model": described(self.model, model.fingerprint)}
        if asks == "nothing":
            return ProbedNetworks(), {}
        if self.network is not None:
            from intaglio.models.image_classification import load_scored, network_hash

            scored = load_scored(self.network, side=picture_side(self.resolution, self.network), device=self.device)
            scored.check_layers()
            return ProbedNetworks(scored=scored), {"network": described(self.network, network_hash(self.network))}
        from intaglio.metrics.similarity.measures import Embedding, load_similarity

        encoder = cast(Embedding, load_similarity(self.similarity, self.device))
        return ProbedNetworks(encoder=encoder), {"similarity": described(self.similarity, encoder.hash)}

    def _texts(self, names: list[str]) -> tuple[dict[str, list[str]], list[str] | None]:
        """Labels by column, and the group of each picture. Raises `BadInput` for columns that there are not."""
        from intaglio.explain.picture_columns import read_label_columns

        return read_label_columns(self.labels, names, self.columns, self.group)

    def _kept(self, names: list[str]) -> None:
        """Raises `BadInput` where no label has pictures enough."""
        from intaglio.explain.kept_labels import LEAST, kept_labels

        kept_labels(*self._texts(names), LEAST)


def _report(found: "FeatureProbes", folder: Path) -> None:
    """Print the best cells of each label, and write the report."""
    from intaglio.report import write_report

    rows = found.rows()
    lines = []
    for one in found.labels:
        mine = sorted((row for row in rows if row["label"] == one.column), key=lambda row: -row["accuracy"])
        lines += [
            (
                one_line(one.column),
                row["cell"],
                f"{row['accuracy']:.2f}",
                f"{row['low']:.2f} to {row['high']:.2f}",
                "-" if row["shuffled"] is None else f"{row['shuffled']:.2f}",
            )
            for row in mine[:MOST_ROWS]
        ]
    say(aligned([("label", "features", "accuracy", "95%", "shuffled"), *lines]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
