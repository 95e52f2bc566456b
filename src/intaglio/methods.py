"""The one static table of verbs and methods: it feeds the command line, the docs, the bench and the shared tests.

Nothing is imported here, so that `intaglio --help` stays instant; a test holds the table against the modules.
"""

from typing import NamedTuple


class Method(NamedTuple):
    """Where a method lives and what it does, in one line."""

    target: str
    """`module:Class`"""
    summary: str


class Verb(NamedTuple):
    """A verb of the command line: the dataclass of its inputs, and the methods it can run."""

    command: str
    """`module:Class` of the command's dataclass, generic over the method where there are methods."""
    summary: str
    methods: dict[str, Method]
    default: str = ""
    """The method that is taken where none is named; empty: one must be named."""
    operand: str = ""
    """What the command takes as a bare word before its flags, as help writes it; empty: nothing."""


# A verb of two words is one part of the work on a kind of model; its first word alone lists the parts.
VERBS: dict[str, Verb] = {
    "finetune": Verb(
        "intaglio.commands.finetune:FineTune",
        "adapt a model from a few pictures",
        {
            "dreambooth": Method("intaglio.adapt.dreambooth:DreamBooth", "train all weights, with prior preservation"),
            "lora": Method("intaglio.adapt.lora:LoRATuning", "train low-rank updates; a file of a few megabytes"),
        },
    ),
    "authenticate": Verb(
        "intaglio.commands.authenticate:Authenticate",
        "tell which pictures were in a fine-tuning set, with a false-positive rate",
        {
            "cgi-dm": Method("intaglio.audit.cgi_dm:CGIDM", "refill half of each picture from the models' difference"),
            "loss-gap": Method("intaglio.audit.loss_gap:LossGap", "the gap of the two models' denoising errors"),
            "update-alignment": Method(
                "intaglio.audit.update_alignment:UpdateAlignment", "each picture's gradient in the suspect's update"
            ),
            "pia": Method("intaglio.audit.pia:PIA", "proximal initialisation: error on the model's own noise estimate"),
        },
    ),
    "extract": Verb(
        "intaglio.commands.extract:Extract",
        "draw the pictures that a model was most probably fine-tuned on",
        {
            "finextract": Method("intaglio.extract.finextract:FineXtract", "led past the suspect, away from its base"),
            "cfg": Method("intaglio.extract.cfg:ClassifierFreeExtract", "led towards the prompt; a baseline"),
            "direct": Method("intaglio.extract.direct:Direct", "not led at all; a baseline"),
        },
    ),
    "sample": Verb(
        "intaglio.commands.sample:Sample", "draw pictures from prompts; replay a picture's own settings", {}
    ),
    "flow train": Verb(
        "intaglio.commands.flow_train:FlowTrain", "train a normalising flow on a folder of pictures", {}
    ),
    "flow sample": Verb(
        "intaglio.commands.flow_sample:FlowSample",
        "draw pictures from a flow, by the decoder that is fastest here",
        {
            "auto": Method("intaglio.flow.auto:AutoDecoder", "each block by what was measured to be fastest here"),
            "frontier": Method("intaglio.flow.frontier:FrontierDecoder", "windows that move on past what has settled"),
            "jacobi": Method("intaglio.flow.jacobi:JacobiDecoder", "every block by fixed-point sweeps"),
            "sejd": Method(
                "intaglio.flow.sejd:SelectiveJacobiDecoder", "one block patch by patch, the others by sweeps"
            ),
            "gs-jacobi": Method("intaglio.flow.gs_jacobi:GSJacobiDecoder", "hard blocks in segments, each by sweeps"),
            "sequential": Method("intaglio.flow.sequential:SequentialDecoder", "patch by patch; the honest baseline"),
            "reference-sequential": Method(
                "intaglio.flow.reference_sequential:ReferenceSequentialDecoder",
                "patch by patch as published; a baseline",
            ),
        },
        default="auto",
    ),
    "flow calibrate": Verb(
        "intaglio.commands.flow_calibrate:FlowCalibrate", "find the fastest way to decode a flow on this machine", {}
    ),
    "flow bpd": Verb("intaglio.commands.flow_bpd:FlowBpd", "weigh pictures: bits a dimension under a flow", {}),
    "flow convert": Verb("intaglio.commands.flow_convert:FlowConvert", "take over a published TarFlow checkpoint", {}),
    "discover": Verb(
        "intaglio.commands.discover:Discover",
        "find the causal graph that a table speaks for, each edge with its probability",
        {"sicl": Method("intaglio.causal.sicl:SiCL", "a network trained on simulated tables; one pass, no fitting")},
        default="sicl",
        operand="TABLE",
    ),
    "causal train": Verb(
        "intaglio.commands.causal_train:CausalTrain", "train a network for discover on simulated tables", {}
    ),
    "demo": Verb("intaglio.commands.demo:Demo", "fine-tune and audit the embedded model, end to end", {}),
    "bench": Verb(
        "intaglio.commands.bench:Bench",
        "set methods side by side on one bench",
        {
            "authenticate": Method("intaglio.bench.authenticate:AuthenticateBench", "every audit method, two regimes"),
            "discover": Method("intaglio.bench.discover:DiscoverBench", "every way from a table to a causal graph"),
            "extract": Method("intaglio.bench.extract:ExtractBench", "every extraction method, several strengths"),
            "finetune": Method(
                "intaglio.bench.finetune:FineTuneBench", "plain and Bayesian fine-tunes, and their dips"
            ),
            "flow": Method("intaglio.bench.flow:FlowBench", "every way of decoding a flow, on the same latents"),
        },
    ),
    "runs": Verb("intaglio.commands.runs:Runs", "list, show and resume runs", {}),
    "report": Verb("intaglio.commands.report:Report", "write a run's report, one HTML file", {}),
    "doctor": Verb("intaglio.commands.doctor:Doctor", "print what a bug report needs", {}),
}
