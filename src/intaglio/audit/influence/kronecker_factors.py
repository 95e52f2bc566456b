"""Kronecker factors of a denoiser's curvature, layer by layer, with eigenvalues corrected (EK-FAC)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.functional import unfold

from intaglio.errors import IntaglioError
from intaglio.learning.per_sample import Gradients

Pairs = Mapping[str, tuple[Float[Tensor, "m p i"], Float[Tensor, "m p o"]]]
"""By layer: its inputs at each of p places, and the gradients by its outputs there, for m rows."""


def sides(layer: nn.Module) -> tuple[int, int] | None:
    """Entries (o, i) of a layer's outputs and inputs as its weight multiplies them; None for what is no such layer.

    A convolution multiplies patches; one in groups is no such layer.
    """
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    if isinstance(layer, nn.Conv2d) and layer.groups == 1 and isinstance(layer.padding, tuple):
        return layer.out_channels, layer.weight[0].numel()
    return None


def inputs_and_gradients(layers: Mapping[str, nn.Module], number: Callable[[], Float[Tensor, ""]]) -> Pairs:
    """The inputs of each layer while a number is computed, and the number's gradients by the outputs.

    The gradient of the number by a weight is the sum over places of g a^T. The layers' hooks are gone afterwards, also
    after an error.

    Raises `IntaglioError` where a layer is called more than once, or not at all.
    """
    with _watched(layers) as (inputs, probes), torch.enable_grad():
        found = number()
    if without := [name for name in layers if name not in probes]:
        raise IntaglioError(f"{without[0]} is not asked in a call of the denoiser; take other --weights")
    gradients = torch.autograd.grad(found, [probes[name] for name in layers], materialize_grads=True)
    return {
        name: (_rows(layer, inputs[name]), _places(layer, gradient.detach()))
        for (name, layer), gradient in zip(layers.items(), gradients, strict=True)
    }


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The inputs of layers, and zeros added to their outputs, by which gradients can be taken."""
    inputs: dict[str, Tensor] = {}
    probes: dict[str, Tensor] = {}

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in probes:
                raise IntaglioError(f"{name} acts more than once in a call of the denoiser; take other --weights")
            inputs[name] = given[0].detach()
            probes[name] = torch.zeros_like(output, requires_grad=True)
            return output + probes[name]

        return hook

    handles = [layer.register_forward_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield inputs, probes
    finally:
        for handle in handles:
            handle.remove()


def _rows(layer: nn.Module, given: Tensor) -> Float[Tensor, "m p i"]:
    """The numbers that a weight multiplies, place by place."""
    if isinstance(layer, nn.Conv2d):
        how = {"dilation": layer.dilation, "padding": layer.padding, "stride": layer.stride}
        return unfold(given.float(), layer.kernel_size, **how).transpose(1, 2)
    return given.float().reshape(len(given), -1, given.shape[-1])


def _places(layer: nn.Module, gradient: Tensor) -> Float[Tensor, "m p o"]:
    if isinstance(layer, nn.Conv2d):
        return gradient.float().flatten(2).transpose(1, 2)
    return gradient.float().reshape(len(gradient), -1, gradient.shape[-1])


def moments(pairs: Pairs) -> dict[str, Float[Tensor, "side side"]]:
    """Sums over rows and places of a a^T and g g^T, by `<layer>.inputs` and `<layer>.outputs`, float64."""
    found = {}
    for name, both in pairs.items():
        for kind, values in zip(("inputs", "outputs"), both, strict=True):
            flat = values.flatten(0, 1)
            found[f"{name}.{kind}"] = (flat.T @ flat).double().cpu()
    return found


@dataclass(frozen=True, eq=False)
class LayerFactors:
    """The curvature of one layer: two bases of eigenvectors, and a value for each pair of them."""

    inputs: Float[Tensor, "i i"]
    """Q_A, eigenvectors of E a a^T as columns."""
    outputs: Float[Tensor, "o o"]
    """Q_G, of E g g^T."""
    values: Float[Tensor, "o i"]
    """Lambda = E (Q_G^T V Q_A)^2, entry by entry, of the gradients V of single rows; zeros before they are known."""

    @classmethod
    def of(cls, inputs: Float[Tensor, "i i"], outputs: Float[Tensor, "o o"]) -> "LayerFactors":
        """The bases of two sums of outer products, in float64."""
        right, left = (torch.linalg.eigh(moment.double()).eigenvectors for moment in (inputs, outputs))
        return cls(right, left, torch.zeros(len(outputs), len(inputs), dtype=torch.float64))

    def turned(self, gradients: Float[Tensor, "m o i"]) -> Float[Tensor, "m o i"]:
        """Q_G^T V Q_A of each row."""
        left, right = (basis.to(gradients) for basis in (self.outputs, self.inputs))
        return left.T @ gradients @ right

    def squares(self, inputs: Float[Tensor, "m p i"], gradients: Float[Tensor, "m p o"]) -> Float[Tensor, "o i"]:
        """The sum over rows of the squares of Q_G^T V Q_A, V the sum over a row's places of g a^T; float64."""
        turned = self.turned(gradients.transpose(1, 2) @ inputs)
        return turned.square().sum(0).double().cpu()

    def whitened(self, gradients: Float[Tensor, "m *shape"], damping: float) -> Float[Tensor, "m o i"]:
        """(Lambda + lambda)^(-1/2) Q_G^T V Q_A, lambda a share `damping` of the mean of Lambda.

        Inner products of such rows are those of gradients with the inverse of the damped curvature between them. A
        layer without curvature, on which no output depends, gives zeros.
        """
        flat = gradients.reshape(len(gradients), *self.values.shape)
        return self.turned(flat) * self._damped(damping).rsqrt().to(flat)

    def solved(self, gradient: Float[Tensor, "o i"], damping: float) -> Float64[Tensor, "o i"]:
        """(H + lambda)^-1 of a gradient, lambda as in `whitened`."""
        turned = self.turned(gradient.double()[None])[0] / self._damped(damping)
        return self.outputs @ turned @ self.inputs.T

    def _damped(self, damping: float) -> Float[Tensor, "o i"]:
        """Lambda + lambda; infinite where there is no curvature."""
        damped = self.values + damping * self.values.mean()
        return torch.where(damped > 0, damped, torch.inf)


def whitened(factors: Mapping[str, LayerFactors], gradients: Gradients, damping: float) -> Gradients:
    """Every weight's rows, by the factors of the same name."""
    return {name: factors[name].whitened(rows, damping) for name, rows in gradients.items()}
