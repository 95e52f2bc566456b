"""Models inside the package, by their names."""

from pathlib import Path

from intaglio.files import PACKAGE

FOLDER = PACKAGE / "testbed"


def embedded_models() -> tuple[str, ...]:
    """Names of the text-to-image models in the package, such as `emoji64` and `scenes64`."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/model_index.json")))


def embedded_path(name: Path | str) -> Path | None:
    """The folder of the model of that name; None for any other text, and where a file or folder here has the name."""
    named = str(name) in embedded_models() and not Path(name).exists()
    return FOLDER / str(name) if named else None
