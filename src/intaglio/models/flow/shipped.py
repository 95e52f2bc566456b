"""Flows by the name of one inside the package, or by folder."""

from pathlib import Path

import torch

from intaglio.errors import BadInput
from intaglio.files import PACKAGE
from intaglio.models.flow.tarflow_files import CONFIG, LoadedFlow, load_flow

FOLDER = PACKAGE / "testbed" / "flows"


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


def open_flow(model: str, *, device: str = "cpu", dtype: str = "float32") -> LoadedFlow:
    """A flow by name or path, ready to decode; `dtype` is the type of its weights, float32 or bfloat16."""
    return load_flow(flow_path(model), device=device, dtype=getattr(torch, dtype))
