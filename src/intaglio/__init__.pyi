# Written by `make docs`: the public names, for editors and type checkers.

from intaglio.causal.methods.abic.method import ABIC as ABIC
from intaglio.protect.methods.advdm import AdvDM as AdvDM
from intaglio.protect.methods.anti_dreambooth import AntiDreamBooth as AntiDreamBooth
from intaglio.audit.membership.family import Authentication as Authentication
from intaglio.flow.methods.auto import AutoDecoder as AutoDecoder
from intaglio.errors import BadInput as BadInput
from intaglio.causal.methods.cd_nod.method import CDNOD as CDNOD
from intaglio.audit.membership.methods.cgi_dm import CGIDM as CGIDM
from intaglio.extract.methods.cfg import ClassifierFreeExtract as ClassifierFreeExtract
from intaglio.extract.methods.direct import Direct as Direct
from intaglio.causal.estimator import DiscoverGraph as DiscoverGraph
from intaglio.causal.results.discovery import Discovery as Discovery
from intaglio.adapt.methods.dreambooth import DreamBooth as DreamBooth
from intaglio.extract.extracted import Extraction as Extraction
from intaglio.extract.methods.finextract import FineXtract as FineXtract
from intaglio.flow.training.settings import FlowTraining as FlowTraining
from intaglio.flow.methods.frontier import FrontierDecoder as FrontierDecoder
from intaglio.flow.methods.gs_jacobi import GSJacobiDecoder as GSJacobiDecoder
from intaglio.causal.graphs.graph import Graph as Graph
from intaglio.images.image_set import ImageSet as ImageSet
from intaglio.errors import IntaglioError as IntaglioError
from intaglio.flow.methods.jacobi import JacobiDecoder as JacobiDecoder
from intaglio.causal.graphs.knowledge import Knowledge as Knowledge
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion as LatentDiffusion
from intaglio.models.lora.lora import LoRA as LoRA
from intaglio.adapt.methods.lora import LoRATuning as LoRATuning
from intaglio.audit.membership.methods.loss_gap import LossGap as LossGap
from intaglio.protect.methods.mist import Mist as Mist
from intaglio.sampling.guides.model_guidance import ModelGuidance as ModelGuidance
from intaglio.audit.membership.methods.pia import PIA as PIA
from intaglio.protect.methods.photoguard import PhotoGuard as PhotoGuard
from intaglio.protect.methods.photoguard_diffusion import PhotoGuardDiffusion as PhotoGuardDiffusion
from intaglio.flow.methods.reference_sequential import ReferenceSequentialDecoder as ReferenceSequentialDecoder
from intaglio.runs.run import Run as Run
from intaglio.protect.methods.sds import SDS as SDS
from intaglio.causal.methods.spot.method import SPOT as SPOT
from intaglio.audit.membership.methods.secmi import SecMI as SecMI
from intaglio.flow.methods.sejd import SelectiveJacobiDecoder as SelectiveJacobiDecoder
from intaglio.flow.methods.sequential import SequentialDecoder as SequentialDecoder
from intaglio.causal.methods.sicl.method import SiCL as SiCL
from intaglio.causal.tables.table import Table as Table
from intaglio.models.flow.tarflow import TarFlow as TarFlow
from intaglio.adapt.data import TrainingSet as TrainingSet
from intaglio.audit.membership.methods.update_alignment import UpdateAlignment as UpdateAlignment
from intaglio.models.diffusion.loading import load_model as load_model
from intaglio.models.flow.shipped import open_flow as open_flow
from intaglio.sampling.loop import sample as sample
from intaglio.flow.sampling import sample_flow as sample_flow
from intaglio.flow.training.training import train_flow as train_flow
from intaglio.report import write_report as write_report

__version__: str

def homes() -> dict[str, str]: ...
