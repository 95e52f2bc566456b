"""A few pictures of a flow that was just trained, by the quickest decoder that is exact."""

import torch
from jaxtyping import Int64
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED
from intaglio.flow.decoding_plan import decoding_plan
from intaglio.flow.family import Decoder
from intaglio.flow.methods.frontier import FrontierDecoder
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.sampling import sample_flow
from intaglio.images.image_set import ImageSet
from intaglio.models.flow.tarflow import TarFlow
from intaglio.runs.time_plan import TimePlan


def exact_decoder(device: str) -> Decoder:
    """The decoder that needs no measured plan, changes no bit by stopping early, and is quickest on such a device.

    On a CPU that is going patch by patch; elsewhere, where a wider pass costs hardly more, a frontier that keeps a
    patch only where its last bit did not change.
    """
    return SequentialDecoder() if device == "cpu" else FrontierDecoder(tolerance=0.0)


def drawn_samples(model: TarFlow, count: int) -> ImageSet:
    """Unguided pictures of the seeds 0 to `count` - 1, of the classes in turns.

    A picture that overflows is drawn from its seed's next noise. Raises `IntaglioError` where it goes on overflowing.
    """
    decoder = exact_decoder(model.device.type)
    return sample_flow(model, range(count), decoder, labels=labels_in_turns(model, count), resample=True).pictures


def labels_in_turns(model: TarFlow, count: int) -> Int64[Tensor, " n"] | None:
    """Class k modulo the number of classes for picture k; None where the flow has no classes."""
    classes = model.config.num_classes
    return torch.arange(count) % classes if classes else None


def samples_plan(model: TarFlow, count: int) -> TimePlan:
    """Seconds of `drawn_samples`, for `count` from 1."""
    decoder = exact_decoder(model.device.type)
    return decoding_plan(model, decoder, count, UNGUIDED, denoise=bool(model.config.noise_std))
