"""The work of a membership audit, for an estimate of its energy before it begins."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.audit.membership.cost import DenoiserCalls
    from intaglio.audit.membership.family import AuditInputs, Authenticator
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.layers.layer import Step


def is_told(methods: "Sequence[Authenticator]") -> bool:
    """Whether the work of an audit by these methods is known: each says what it asks, in float32."""
    return all(one.calls(1, 2) and getattr(one, "precision", "float32") == "float32" for one in methods)


def audit_work(methods: "Sequence[Authenticator]", inputs: "AuditInputs", pictures: int, prompts: int = 1) -> "JobWork":
    """The work of an audit by these methods: an upper bound, for a method may end earlier.

    Args:
        methods: each of which says what it asks of denoisers.
        inputs: the models; they are left as they were found.
        pictures: those of all roles, 1 or more.
        prompts: how often the whole is done, each time under another prompt.
    """
    from intaglio.energy.jobs import joined, repeated

    asked = [calls for method in methods for calls in method.calls(pictures, inputs.model_count(method))]
    return repeated(joined(*(_work(calls, inputs) for calls in asked)), prompts)


def _work(calls: "DenoiserCalls", inputs: "AuditInputs") -> "JobWork":
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.layers.layer import NO_WORK
    from intaglio.energy.workloads import decoder_step, encoder_step

    name = "denoiser" if calls.gradient == "none" else "gradients"
    parts = {name: sum((_call(calls, inputs, rows).times(n) for rows, n in calls.batches.items()), NO_WORK)}
    counts = {name: sum(calls.batches.values())}
    for part, of, count in (("encoder", encoder_step, calls.encoded), ("decoder", decoder_step, calls.decoded)):
        if count:
            parts[part], counts[part] = of(inputs.reference, 1).times(count), count
    return JobWork(parts, counts)


def _call(calls: "DenoiserCalls", inputs: "AuditInputs", rows: int) -> "Step":
    """One call of a denoiser, with its backward pass."""
    from intaglio.energy.workloads import denoiser_step, latents_gradient_step

    if calls.gradient == "input":
        return latents_gradient_step(inputs.reference, rows)
    if calls.gradient == "none":
        with inputs.reference.frozen():
            return denoiser_step(inputs.reference, rows)
    if calls.gradient == "all weights":
        with inputs.reference.frozen():
            for weight in inputs.reference.denoiser.parameters():
                weight.requires_grad_(weight.is_floating_point())
            return denoiser_step(inputs.reference, rows, train=True)
    with _differing_weights(inputs):
        return denoiser_step(inputs.reference, rows, train=True)


@contextmanager
def _differing_weights(inputs: "AuditInputs") -> Iterator[None]:
    """Within the block, those weights of the base's denoiser want a gradient in which the suspect's differs."""
    import torch

    suspect, base = inputs.pair
    learned = dict(suspect.denoiser.named_parameters())
    with base.frozen():
        for path, weight in base.denoiser.named_parameters():
            other = learned[path].to(weight.device, weight.dtype)
            weight.requires_grad_(weight.ndim > 1 and not torch.equal(other, weight))
        yield
