"""Features of a table's rows: of their pictures, as a network sees them, or of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intaglio.commands.kit.feature_inputs import ReadsFeatures
from intaglio.commands.kit.inputs import described
from intaglio.errors import BadInput
from intaglio.printable import one_line

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from intaglio.images.image_set import ImageSet

AT_ONCE = 64
"""Pictures that go through a network together."""


def unit_pictures(images: "ImageSet", folder: Path, names: Sequence[str]) -> "ImageSet":
    """The pictures of the names, in their order. Raises `BadInput` for a name without one."""
    from intaglio.images.captions import ByName

    places = ByName({name: k for k, name in enumerate(images.names)})
    by_stem = {Path(name).stem: k for k, name in enumerate(images.names)}
    found: list[int] = []
    for name in names:
        place = places.get(name)
        place = by_stem.get(name) if place is None else place
        if place is None:
            raise BadInput(f"{folder} has no picture for the unit {one_line(name)}; leave its row out")
        found.append(place)
    return images[found]


def with_unit_features(
    inputs: ReadsFeatures,
    features: "Float[ndarray, 'n d']",
    names: Sequence[str],
    images: "ImageSet | None",
    folder: Path | None,
    device: str,
) -> "tuple[Float[ndarray, 'n _'], dict[str, dict[str, str]]]":
    """The features with those of the pictures, or of the file, beside them, and how a run describes these."""
    import numpy as np

    from intaglio.explain.picture_columns import read_features

    parts, known = [features], dict[str, dict[str, str]]()
    if images is not None:
        source, known = inputs.feature_source(images, device)
        batches = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
        parts += [np.concatenate([source.of(one).double().numpy() for one in batches])]
        known["images"] = described(folder, images.fingerprint)
    elif inputs.features is not None:
        from intaglio.files import file_hash

        parts += [read_features(inputs.features, names)]
        known["features"] = described(inputs.features, file_hash(inputs.features))
    return np.concatenate(parts, 1), known
