"""Folders of flows: by the name of one inside the package, or by path."""

from pathlib import Path

from intaglio.errors import BadInput
from intaglio.files import PACKAGE

FOLDER = PACKAGE / "testbed" / "flows"
CONFIG = "config.json"
"""File that every folder of a flow holds."""
TRAINED = "model"
"""Folder, in that of a training's run, of the flow that it made."""


def flow_names() -> tuple[str, ...]:
    """The names of the flows in the package."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}")))


def flow_path(model: str) -> Path:
    """The folder of a flow: by the name of one in the package, a path, or that of the run that trained it.

    Raises `BadInput` for none of these.
    """
    if (inside := FOLDER / model / CONFIG).is_file() and "/" not in model:
        return inside.parent
    path = Path(model)
    if not path.exists():
        raise BadInput(f"{model} is neither a folder nor a flow of the package: {', '.join(flow_names()) or 'none'}")
    trained = path / TRAINED
    return trained if not (path / CONFIG).exists() and (trained / CONFIG).is_file() else path
