"""Intaglio: a workbench for image generative models on one's own hardware."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intaglio.adapt.data import TrainingSet as TrainingSet
    from intaglio.adapt.dreambooth import DreamBooth as DreamBooth
    from intaglio.adapt.lora import LoRATuning as LoRATuning
    from intaglio.audit.cgi_dm import CGIDM as CGIDM
    from intaglio.audit.loss_gap import LossGap as LossGap
    from intaglio.audit.pia import PIA as PIA
    from intaglio.audit.protocol import Authentication as Authentication
    from intaglio.audit.update_alignment import UpdateAlignment as UpdateAlignment
    from intaglio.causal.discovery import Discovery as Discovery
    from intaglio.causal.estimator import DiscoverCPDAG as DiscoverCPDAG
    from intaglio.causal.graphs import Graph as Graph
    from intaglio.causal.knowledge import Knowledge as Knowledge
    from intaglio.causal.sicl import SiCL as SiCL
    from intaglio.causal.table import Table as Table
    from intaglio.errors import BadInput as BadInput
    from intaglio.errors import IntaglioError as IntaglioError
    from intaglio.extract.cfg import ClassifierFreeExtract as ClassifierFreeExtract
    from intaglio.extract.direct import Direct as Direct
    from intaglio.extract.finextract import FineXtract as FineXtract
    from intaglio.extract.model_guidance import ModelGuidance as ModelGuidance
    from intaglio.extract.protocol import Extraction as Extraction
    from intaglio.flow.auto import AutoDecoder as AutoDecoder
    from intaglio.flow.frontier import FrontierDecoder as FrontierDecoder
    from intaglio.flow.gs_jacobi import GSJacobiDecoder as GSJacobiDecoder
    from intaglio.flow.jacobi import JacobiDecoder as JacobiDecoder
    from intaglio.flow.reference_sequential import ReferenceSequentialDecoder as ReferenceSequentialDecoder
    from intaglio.flow.sampling import sample_flow as sample_flow
    from intaglio.flow.sejd import SelectiveJacobiDecoder as SelectiveJacobiDecoder
    from intaglio.flow.sequential import SequentialDecoder as SequentialDecoder
    from intaglio.flow.settings import FlowTraining as FlowTraining
    from intaglio.flow.training import train_flow as train_flow
    from intaglio.images import ImageSet as ImageSet
    from intaglio.models.diffusion import LatentDiffusion as LatentDiffusion
    from intaglio.models.flows import open_flow as open_flow
    from intaglio.models.loading import load_model as load_model
    from intaglio.models.lora import LoRA as LoRA
    from intaglio.models.sampling import sample as sample
    from intaglio.models.tarflow import TarFlow as TarFlow
    from intaglio.report import write_report as write_report
    from intaglio.runs.run import Run as Run

__version__ = "0.1.0"

_HOMES = {
    "AutoDecoder": "intaglio.flow.auto",
    "FrontierDecoder": "intaglio.flow.frontier",
    "JacobiDecoder": "intaglio.flow.jacobi",
    "SelectiveJacobiDecoder": "intaglio.flow.sejd",
    "GSJacobiDecoder": "intaglio.flow.gs_jacobi",
    "SequentialDecoder": "intaglio.flow.sequential",
    "ReferenceSequentialDecoder": "intaglio.flow.reference_sequential",
    "sample_flow": "intaglio.flow.sampling",
    "train_flow": "intaglio.flow.training",
    "FlowTraining": "intaglio.flow.settings",
    "open_flow": "intaglio.models.flows",
    "DiscoverCPDAG": "intaglio.causal.estimator",
    "Discovery": "intaglio.causal.discovery",
    "SiCL": "intaglio.causal.sicl",
    "Knowledge": "intaglio.causal.knowledge",
    "Table": "intaglio.causal.table",
    "Graph": "intaglio.causal.graphs",
    "TarFlow": "intaglio.models.tarflow",
    "BadInput": "intaglio.errors",
    "CGIDM": "intaglio.audit.cgi_dm",
    "PIA": "intaglio.audit.pia",
    "Authentication": "intaglio.audit.protocol",
    "ClassifierFreeExtract": "intaglio.extract.cfg",
    "Direct": "intaglio.extract.direct",
    "DreamBooth": "intaglio.adapt.dreambooth",
    "Extraction": "intaglio.extract.protocol",
    "FineXtract": "intaglio.extract.finextract",
    "ImageSet": "intaglio.images",
    "IntaglioError": "intaglio.errors",
    "LatentDiffusion": "intaglio.models.diffusion",
    "LoRA": "intaglio.models.lora",
    "LoRATuning": "intaglio.adapt.lora",
    "LossGap": "intaglio.audit.loss_gap",
    "Run": "intaglio.runs.run",
    "TrainingSet": "intaglio.adapt.data",
    "ModelGuidance": "intaglio.extract.model_guidance",
    "UpdateAlignment": "intaglio.audit.update_alignment",
    "load_model": "intaglio.models.loading",
    "sample": "intaglio.models.sampling",
    "write_report": "intaglio.report",
}
"""The public names and the modules they live in; each is imported when it is first asked for."""

__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'intaglio' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
