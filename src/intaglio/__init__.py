"""Intaglio: a workbench for image generative models on one's own hardware."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Authentication": "intaglio.audit.membership.family",
    "BadInput": "intaglio.errors",
    "DiscoverGraph": "intaglio.causal.estimator",
    "Discovery": "intaglio.causal.results.discovery",
    "Extraction": "intaglio.extract.extracted",
    "FlowTraining": "intaglio.flow.training.settings",
    "Graph": "intaglio.causal.graphs.graph",
    "ImageSet": "intaglio.images.image_set",
    "IntaglioError": "intaglio.errors",
    "Knowledge": "intaglio.causal.graphs.knowledge",
    "LatentDiffusion": "intaglio.models.diffusion.latent_diffusion",
    "LoRA": "intaglio.models.lora.lora",
    "ModelGuidance": "intaglio.sampling.guides.model_guidance",
    "Run": "intaglio.runs.run",
    "Table": "intaglio.causal.tables.table",
    "TarFlow": "intaglio.models.flow.tarflow",
    "TrainingSet": "intaglio.adapt.data",
    "load_model": "intaglio.models.diffusion.loading",
    "open_flow": "intaglio.models.flow.shipped",
    "sample": "intaglio.sampling.loop",
    "sample_flow": "intaglio.flow.sampling",
    "train_flow": "intaglio.flow.training.training",
    "write_report": "intaglio.report",
}
"""The public names that are no methods, and the modules they live in; methods are found in their folders."""


def homes() -> dict[str, str]:
    """The module of every public name; each is imported when it is first asked for."""
    from intaglio.verbs import public_methods

    return _HOMES | public_methods()


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [*sorted(homes()), "__version__"]
    home = _HOMES.get(name) or (None if name.startswith("_") else homes().get(name))
    if home is None:
        raise AttributeError(f"module 'intaglio' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*homes(), "__version__"])
