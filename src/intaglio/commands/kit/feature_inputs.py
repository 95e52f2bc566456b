"""Inputs of commands that take pictures by numbers: an encoder's descriptors, a classifier's layer, or a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from intaglio.commands.kit.inputs import described
from intaglio.commands.kit.picture_sides import check_resolution, picture_side
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.explain.picture_features import FeatureSource
    from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class ReadsFeatures:
    """A command that takes pictures by features of one source."""

    similarity: str = "embedded"
    """Encoder whose descriptors are the features: embedded, trained on emoji, or a path as in intaglio extract."""
    network: Path | None = None
    """Classifier whose numbers are the features in place of an encoder's: a .safetensors file that Intaglio wrote, a
    folder of transformers with an image classifier, or a TorchScript file."""
    layer: str = ""
    """Module of the network whose mean maps are taken, such as stages.3; empty takes what its head takes."""
    features: Path | None = None
    """Features in place of any network's: a CSV file with a column picture and numbers, or an .npz with names and
    features."""
    resolution: int | None = None
    """Pixels of a side to which pictures are read, from 16; none takes those that --network prepares pictures to, 64
    where it takes them as they are or there is none."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    @property
    def side(self) -> int:
        """Pixels of a side to which pictures are read."""
        return picture_side(self.resolution, self.network)

    def check_source(self) -> None:
        """Raises `BadInput` for sources that exclude each other."""
        given = [flag for flag in ("network", "features") if getattr(self, flag) is not None]
        given += ["similarity"] if self.similarity != "embedded" else []
        if len(given) > 1:
            raise BadInput(f"--{given[0]} and --{given[1]} both give features; leave one of them out")
        if self.layer and self.network is None:
            raise BadInput("--layer is of a network; give it with --network")
        if self.similarity == "ssim":
            raise BadInput(
                "ssim has no descriptors to tell pictures apart by; give --similarity embedded, or an encoder"
            )

    def feature_source(self, images: "ImageSet", device: str) -> "tuple[FeatureSource, dict[str, dict[str, str]]]":
        """The source of features, and how a run describes it."""
        from intaglio.explain.picture_columns import read_features
        from intaglio.explain.picture_features import EncodedFeatures, LayerFeatures, TabledFeatures

        if self.features is not None:
            rows = read_features(self.features, images.names)
            given: FeatureSource = TabledFeatures(images.names, rows)
            return given, {"features": described(self.features, given.hash)}
        if self.network is not None:
            from intaglio.models.image_classification import load_scored, network_hash

            scored = load_scored(self.network, side=self.side, device=device)
            if self.layer:
                scored.check_layers()
                scored.layer(self.layer)
            return LayerFeatures(scored, self.layer), {"network": described(self.network, network_hash(self.network))}
        from intaglio.metrics.similarity.measures import Embedding, load_similarity

        encoder = cast(Embedding, load_similarity(self.similarity, device))
        return EncodedFeatures(encoder), {"similarity": described(self.similarity, encoder.hash)}
