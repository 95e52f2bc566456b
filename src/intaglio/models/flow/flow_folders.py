"""Folders of flows: by the name of one inside the package, or by path."""

from pathlib import Path

from intaglio.errors import BadInput
from intaglio.files import PACKAGE

FOLDER = PACKAGE / "testbed" / "flows"
CONFIG = "config.json"
"""File that every folder of a flow holds."""


def flow_names() -> tuple[str, ...]:
    """The names of the flows in the package."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}")))


def flow_path(model: str) -> Path:
    """The folder of a flow: by the name of one in the package, or a path. Raises `BadInput` for neither."""
    if (inside := FOLDER / model / CONFIG).is_file() and "/" not in model:
        return inside.parent
    path = Path(model)
    if not path.exists():
        raise BadInput(f"{model} is neither a folder nor a flow of the package: {', '.join(flow_names()) or 'none'}")
    return path
