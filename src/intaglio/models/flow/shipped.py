"""Flows by the name of one inside the package, or by folder."""

import torch

from intaglio.models.flow.flow_folders import flow_path
from intaglio.models.flow.tarflow_files import LoadedFlow, load_flow


def open_flow(model: str, *, device: str = "cpu", dtype: str = "float32") -> LoadedFlow:
    """A flow by name or path, ready to decode; `dtype` is the type of its weights, float32 or bfloat16."""
    return load_flow(flow_path(model), device=device, dtype=getattr(torch, dtype))
