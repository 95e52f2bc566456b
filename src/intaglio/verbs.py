"""The verbs of the command line, each with its methods, the files of a folder (`method_files.py`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from intaglio.method_files import MAIN, FileName, Method, Methods

__all__ = ["MAIN", "VERBS", "FileName", "Method", "Methods", "Verb", "parts_of", "public_methods"]


@dataclass(frozen=True)
class Verb:
    """A verb of the command line: the dataclass of its inputs, and the methods it can run."""

    command: str
    """`module:Class` of the command's dataclass, generic over the method where there are methods."""
    summary: str
    methods: Mapping[str, Method] = field(default_factory=dict)
    default: str = ""
    """The method that is taken where none is named; empty: one must be named."""
    by_flag: Mapping[str, str] = field(default_factory=dict)
    """The method that is taken in place of the default where one of these flags of the command is given."""
    operand: str = ""
    """What the command takes as a bare word before its flags, as help writes it; empty: nothing."""


def parts_of(word: str, verbs: Iterable[str]) -> dict[str, str]:
    """Those of `verbs` that are of two words and begin with `word`, by their second word."""
    return {verb.partition(" ")[2]: verb for verb in verbs if verb.startswith(f"{word} ")}


def public_methods() -> dict[str, str]:
    """The module of every method of the literature by the name of its class."""
    literature = [
        method
        for name, verb in VERBS.items()
        if name != "bench"
        for method in verb.methods.values()
        if not method.fault
    ]
    return {name: module for module, _, name in (method.target.partition(":") for method in literature)}


# A verb of two words is one part of the work on a kind of model; its first word alone lists the parts.
VERBS: dict[str, Verb] = {
    "finetune": Verb(
        "intaglio.commands.finetune:FineTune", "adapt a model from a few pictures", Methods("adapt.methods")
    ),
    "protect": Verb(
        "intaglio.commands.protect.protect:Protect",
        "give pictures back with a small change that spoils imitation",
        Methods("protect.methods"),
    ),
    "protect evaluate": Verb(
        "intaglio.commands.protect.evaluate:ProtectEvaluate", "measure what is left of a protection after each purifier"
    ),
    "protect purify": Verb(
        "intaglio.commands.protect.protect_purify:ProtectPurify",
        "clean pictures of a protection or a mark, to see what it survives",
        Methods("protect.purify.methods"),
    ),
    "protect fingerprint": Verb(
        "intaglio.commands.protect.protect_fingerprint:ProtectFingerprint",
        "mark pictures, the noise they are drawn from or a model's decoder, so that a key finds them again",
        Methods("protect.fingerprint.methods"),
    ),
    "protect detect": Verb(
        "intaglio.commands.protect.protect_detect:ProtectDetect", "look for the marks of a key in pictures"
    ),
    "protect budget": Verb(
        "intaglio.commands.protect.protect_budget:ProtectBudget",
        "account for a training with differential privacy before it runs",
    ),
    "protect private": Verb(
        "intaglio.commands.protect.protect_private:ProtectPrivate",
        "teach a classifier so that what it learned tells little of any one picture",
        Methods("protect.private.methods"),
    ),
    "protect certify": Verb(
        "intaglio.commands.protect.protect_certify:ProtectCertify",
        "tell a picture's class with a radius within which no change takes it",
        Methods("protect.certify.methods"),
    ),
    "authenticate": Verb(
        "intaglio.commands.authenticate:Authenticate",
        "tell which pictures were in a fine-tuning set, with a false-positive rate",
        Methods("audit.membership.methods"),
    ),
    "audit prompts": Verb(
        "intaglio.commands.audit.audit_prompts:AuditPrompts",
        "rank prompts by how far a model has memorised what it was trained to draw for them",
        Methods("audit.prompts.methods"),
    ),
    "audit influence": Verb(
        "intaglio.commands.audit.audit_influence:AuditInfluence",
        "rank training pictures by how far each made a model good at a given picture",
        Methods("audit.influence.methods"),
    ),
    "audit inference": Verb(
        "intaglio.commands.audit.audit_inference:AuditInference",
        "tell which answers of a classifier elsewhere are not its own",
        Methods("audit.inference.methods"),
    ),
    "audit drawings": Verb(
        "intaglio.commands.audit.audit_drawings:AuditDrawings",
        "tell whether pictures from elsewhere are what a model draws by their settings",
        Methods("audit.inference.drawings.methods"),
    ),
    "audit components": Verb(
        "intaglio.commands.audit.audit_components:AuditComponents",
        "tell how much each component of a drawing adds to its likeness with given pictures",
        Methods("audit.components.methods"),
    ),
    "audit selection": Verb(
        "intaglio.commands.audit.audit_selection:AuditSelection",
        "choose training pictures from a pool, so that a model becomes good at given ones",
        Methods("audit.selection.methods"),
    ),
    "audit attribution": Verb(
        "intaglio.commands.audit.audit_attribution:AuditAttribution",
        "tell which of several known sources made a picture, or that none did",
        Methods("audit.attribution.methods"),
    ),
    "audit queries": Verb(
        "intaglio.commands.audit.audit_queries:AuditQueries",
        "measure what noisy answers to counting queries give away of a record's secret",
        Methods("audit.queries.methods"),
    ),
    "audit unlearning": Verb(
        "intaglio.commands.audit.audit_unlearning:AuditUnlearning",
        "make a model without a concept, and measure what is left of it",
        Methods("audit.unlearning.methods"),
    ),
    "audit unlearn-attack": Verb(
        "intaglio.commands.audit.audit_unlearn_attack:AuditUnlearnAttack",
        "look for tries that bring a concept back which a model has unlearned",
        Methods("audit.unlearning.attack.methods"),
    ),
    "explain": Verb(
        "intaglio.commands.explain:Explain",
        "show which places of a picture a classifier's score comes from",
        Methods("explain.methods"),
    ),
    "explain collection": Verb(
        "intaglio.commands.explain_collection:ExplainCollection",
        "arrange a collection of pictures as a map of boxes that are opened",
        Methods("explain.collection.methods"),
    ),
    "explain concepts": Verb(
        "intaglio.commands.explain_concepts:ExplainConcepts",
        "find what pictures of a class share, by how much a classifier's score owes to it",
        Methods("explain.concepts.methods"),
    ),
    "explain evaluate": Verb(
        "intaglio.commands.explain_evaluate:ExplainEvaluate",
        "set attribution methods beside each other on your network and pictures",
    ),
    "explain words": Verb(
        "intaglio.commands.explain_words:ExplainWords",
        "show which places of a drawn picture each word of its prompt is about",
        Methods("explain.words.methods"),
    ),
    "explain bias": Verb(
        "intaglio.commands.explain_bias:ExplainBias",
        "find where a denoiser carries what prompts leave open, and even out how often it draws each value",
        Methods("explain.bias.methods"),
    ),
    "explain directions": Verb(
        "intaglio.commands.explain_directions:ExplainDirections",
        "find directions of a denoiser's activations, and show pictures led along them",
        Methods("explain.directions.methods"),
    ),
    "explain components": Verb(
        "intaglio.commands.explain_components:ExplainComponents",
        "tell how much of the difference between two prompts goes through each part of a denoiser",
        Methods("explain.components.methods"),
    ),
    "explain series": Verb(
        "intaglio.commands.explain_series:ExplainSeries",
        "tell which points of a series, such as a denoising trajectory, a classifier goes by",
        Methods("explain.series.methods"),
    ),
    "explain sharpening": Verb(
        "intaglio.commands.explain_sharpening:ExplainSharpening",
        "sharpen an encoder by a weak generator that must draw pictures from its descriptors",
        Methods("explain.sharpening.methods"),
    ),
    "explain surrogate": Verb(
        "intaglio.commands.explain_surrogate:ExplainSurrogate",
        "say what a black box says by a few rules on a few of many features",
        Methods("explain.surrogate.methods"),
    ),
    "explain paths": Verb(
        "intaglio.commands.explain_paths:ExplainPaths",
        "find the edges between a network's filters by which a class's score comes about",
        Methods("explain.paths.methods"),
    ),
    "explain repair": Verb(
        "intaglio.commands.explain_repair:ExplainRepair",
        "change a classifier so that a known shortcut moves a class's score less",
        Methods("explain.repairs.methods"),
    ),
    "explain blindspots": Verb(
        "intaglio.commands.explain_blindspots:ExplainBlindSpots",
        "find concepts that a model draws too rarely or too often, beside real pictures",
        Methods("explain.blindspots.methods"),
    ),
    "explain features": Verb(
        "intaglio.commands.explain_features:ExplainFeatures",
        "measure how well labels of pictures are read from what networks make of them",
        Methods("explain.features.methods"),
    ),
    "explain encodings": Verb(
        "intaglio.commands.explain_encodings:ExplainEncodings",
        "learn numbers of pictures that make up what noise destroys, slot by slot of the noise levels",
        Methods("explain.encodings.methods"),
    ),
    "explain slices": Verb(
        "intaglio.commands.explain_slices:ExplainSlices",
        "find alike pictures on which a classifier errs more than on others",
        Methods("explain.slices.methods"),
    ),
    "explain heads": Verb(
        "intaglio.commands.explain_heads:ExplainHeads",
        "fit classifiers on frozen features that a person can follow, and tell what that costs",
        Methods("explain.heads.methods"),
    ),
    "explain selectors": Verb(
        "intaglio.commands.explain_selectors:ExplainSelectors",
        "train a classifier that explains itself by choosing the pixels that it sees",
        Methods("explain.selectors.methods"),
    ),
    "explain counterfactuals": Verb(
        "intaglio.commands.explain_counterfactuals:ExplainCounterfactuals",
        "show what pictures would look like if one of their attributes were another",
        Methods("explain.counterfactuals.methods"),
    ),
    "explain weights": Verb(
        "intaglio.commands.explain_weights:ExplainWeights",
        "tell what sets the kernels of a network apart from random ones, or from another network's",
        Methods("explain.weights.methods"),
    ),
    "extract": Verb(
        "intaglio.commands.extract:Extract",
        "draw the pictures that a model was most probably fine-tuned on",
        Methods("extract.methods"),
    ),
    "sample": Verb(
        "intaglio.commands.sample:Sample",
        "draw pictures from prompts; replay a picture's own settings",
        Methods("sampling.methods"),
        default="plain",
        by_flag={"--edit": "edited"},
    ),
    "sample train": Verb(
        "intaglio.commands.sample_train:SampleTrain",
        "train a small part of a model's sampling, such as a start",
        Methods("sampling.trained.methods"),
    ),
    "distill": Verb(
        "intaglio.commands.distill:Distill",
        "train a student of a model, which draws in fewer calls of the network",
        Methods("distill.methods"),
    ),
    "shrink": Verb(
        "intaglio.commands.shrink:Shrink",
        "make a model smaller or faster, and tell what it costs",
        Methods("shrink.methods"),
    ),
    "merge": Verb(
        "intaglio.commands.merge:Merge",
        "make one model of several that come from one base",
        Methods("shrink.merging.methods"),
        operand="MODEL MODEL ...",
    ),
    "flow train": Verb("intaglio.commands.flow.train:FlowTrain", "train a normalising flow on a folder of pictures"),
    "flow sample": Verb(
        "intaglio.commands.flow.sample:FlowSample",
        "draw pictures from a flow, by the decoder that is fastest here",
        Methods("flow.methods"),
        default="auto",
    ),
    "flow calibrate": Verb(
        "intaglio.commands.flow.calibrate:FlowCalibrate", "find the fastest way to decode a flow on this machine"
    ),
    "flow bpd": Verb("intaglio.commands.flow.bpd:FlowBpd", "weigh pictures: bits a dimension under a flow"),
    "flow convert": Verb("intaglio.commands.flow.convert:FlowConvert", "take over a published TarFlow checkpoint"),
    "discover": Verb(
        "intaglio.commands.causal.discover:Discover",
        "find the causal graph that a table speaks for, each edge with its probability",
        Methods("causal.methods"),
        default="sicl",
        by_flag={"--latent": "spot"},
        operand="TABLE",
    ),
    "causal debias": Verb(
        "intaglio.commands.causal.debias:CausalDebias",
        "tell treatment effects from predicted outcomes, and undo the shrinkage of the predictions",
        Methods("causal.debias.methods"),
    ),
    "causal cate": Verb(
        "intaglio.commands.causal.cate:CausalCate",
        "predict who gains more by a treatment, from pictures or numbers of the units of a trial",
        Methods("causal.cate.methods"),
    ),
    "causal transfer": Verb(
        "intaglio.commands.causal.transfer:CausalTransfer",
        "predict classes in an environment that was not learnt from, before and after its rows are known",
        Methods("causal.transfer.methods"),
    ),
    "causal train": Verb(
        "intaglio.commands.causal.train:CausalTrain", "train a network for discover on simulated tables"
    ),
    "causal train-skeleton": Verb(
        "intaglio.commands.causal.train_skeleton:CausalTrainSkeleton",
        "train the skeleton posterior of discover spot on simulated tables",
    ),
    "causal recalibrate": Verb(
        "intaglio.commands.causal.recalibrate:CausalRecalibrate", "learn how far a network of discover can be trusted"
    ),
    "energy estimate": Verb(
        "intaglio.commands.energy.estimate:EstimateEnergy",
        "estimate a job's energy and time before it runs",
        Methods("energy.methods"),
        default="thor",
    ),
    "energy compare": Verb(
        "intaglio.commands.energy.compare:CompareEnergy", "estimate several ways to do a job, the cheapest first"
    ),
    "energy profile": Verb(
        "intaglio.commands.energy.profile:ProfileEnergy", "measure what layers cost on this machine"
    ),
    "energy measure": Verb(
        "intaglio.commands.energy.measure:MeasureEnergy", "measure the joules and seconds of a command"
    ),
    "energy show": Verb(
        "intaglio.commands.energy.show:ShowEnergyProfile", "show what a profile of energy knows, and how well"
    ),
    "energy prune": Verb(
        "intaglio.commands.energy.prune:PruneEnergy", "prune a model until a call fits a budget of energy"
    ),
    "energy merge": Verb(
        "intaglio.commands.energy.merge:MergeEnergyProfiles", "merge profiles of energy of one machine"
    ),
    "energy doctor": Verb(
        "intaglio.commands.energy.list_meters:EnergyDoctor", "list the energy meters, and what the others want"
    ),
    "demo": Verb("intaglio.commands.demo:Demo", "fine-tune and audit the embedded model, end to end"),
    "bench": Verb("intaglio.commands.bench:Bench", "set methods side by side on one bench", Methods("bench")),
    "runs": Verb("intaglio.commands.runs:Runs", "list, show, resume and export runs"),
    "report": Verb("intaglio.commands.report:Report", "write a run's report, one HTML file"),
    "view": Verb("intaglio.commands.view:View", "show a folder of runs as a web page on this machine"),
    "completion": Verb("intaglio.commands.completion:Completion", "print what a shell reads to complete commands"),
    "doctor": Verb("intaglio.commands.doctor:Doctor", "print what a bug report needs"),
}
