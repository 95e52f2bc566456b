"""`LayerFamily`, `SizedLayer`, `Step`: a model's work as a multiset of layers; those of a family differ in sizes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from intaglio.energy.layers.kinds import KINDS, Kind
from intaglio.errors import require

Attributes = tuple[tuple[str, int | str | bool], ...]


@dataclass(frozen=True, order=True)
class LayerFamily:
    """Layers that differ in sizes alone: one operation with fixed attributes, one role in training, one precision."""

    kind: str
    """Name in `KINDS`."""
    attributes: Attributes = ()
    """What is no size, such as the kernel of a convolution; sorted by name."""
    fixed: tuple[tuple[str, int], ...] = ()
    """Sizes that are the same in all layers of the family; sorted by name."""
    train: bool = False
    """Whether the layer is run forward and backward; else forward only."""
    input_grad: bool = False
    """Whether the backward pass gives a gradient of the input: some layer before it is trained."""
    weight_grad: bool = False
    """Whether it gives a gradient of the layer's own weights."""
    dtype: str = "float32"
    """Precision of the computation, as torch names it."""

    def __post_init__(self) -> None:
        require(self.kind in KINDS, f"there is no kind of layer {self.kind!r}; there are {', '.join(KINDS)}")
        unknown = {name for name, _ in self.fixed} - set(KINDS[self.kind].sizes)
        require(not unknown, f"{self.kind} has no size {', '.join(sorted(unknown))}")
        object.__setattr__(self, "attributes", tuple(sorted(self.attributes)))
        object.__setattr__(self, "fixed", tuple(sorted(self.fixed)))

    @property
    def of_kind(self) -> Kind:
        """The kind, with its sizes and counts."""
        return KINDS[self.kind]

    @cached_property
    def free(self) -> tuple[str, ...]:
        """Names of the sizes that differ between layers, in the kind's order."""
        fixed = {name for name, _ in self.fixed}
        return tuple(name for name in self.of_kind.sizes if name not in fixed)

    @property
    def passes(self) -> int:
        """Products of matrices a layer, relative to the forward pass: 1, 2 or 3."""
        return 1 + self.input_grad + self.weight_grad

    def __str__(self) -> str:
        words = [self.kind, *(f"{name} {value}" for name, value in self.attributes)]
        words += [f"{name} {value}" for name, value in self.fixed]
        gradients = [name for name in ("input", "weight") if getattr(self, f"{name}_grad")]
        role = f"train {'+'.join(gradients) or 'nothing'}" if self.train else "forward"
        return ", ".join([*words, role, self.dtype])


@dataclass(frozen=True, order=True)
class SizedLayer:
    """One layer of a family at its sizes."""

    family: LayerFamily
    sizes: tuple[int, ...] = ()
    """The free sizes of the family, each 1 or more."""

    def __post_init__(self) -> None:
        require(
            len(self.sizes) == len(self.family.free) and all(size >= 1 for size in self.sizes),
            f"{self.family.kind} takes {len(self.family.free)} sizes of 1 or more, not {self.sizes}",
        )

    @cached_property
    def all_sizes(self) -> dict[str, int]:
        """Every size of the kind by name, fixed ones among them."""
        return {**dict(self.family.fixed), **dict(zip(self.family.free, self.sizes, strict=True))}

    @property
    def flops(self) -> float:
        """Floating-point operations of all its passes; a multiplication with its addition counts 2."""
        return self.family.of_kind.flops(self.all_sizes, dict(self.family.attributes)) * self.family.passes

    @property
    def parameters(self) -> int:
        """Its weights."""
        return self.family.of_kind.parameters(self.all_sizes, dict(self.family.attributes))

    @property
    def bytes(self) -> float:
        """Bytes read and written: inputs, outputs and weights, once a pass."""
        numbers = self.family.of_kind.numbers(self.all_sizes, dict(self.family.attributes)) + self.parameters
        return float(numbers) * width_of(self.family.dtype) * self.family.passes

    @property
    def work(self) -> float:
        """The measure that its cost grows with beyond measured sizes: operations of products, bytes of the rest."""
        return self.flops if self.family.of_kind.matrix else self.bytes

    def at(self, sizes: Iterable[int]) -> "SizedLayer":
        """The same layer at other sizes."""
        return replace(self, sizes=tuple(int(size) for size in sizes))


@dataclass(frozen=True)
class Step:
    """The work of one step or call of a model: how often each layer is called, and what could not be told apart."""

    layers: Mapping[SizedLayer, int]
    """Calls of each layer, which count how often it runs and not how many modules there are."""
    unparsed: Mapping[str, float] = field(default_factory=dict)
    """Operations that are no kind of layer here, and the numbers that they read and write."""
    notes: tuple[str, ...] = ()
    steps: int = 1
    """Steps that it is the work of, at least 0."""

    @property
    def passes(self) -> int:
        """Forward and backward passes of layers."""
        return sum(count * (1 + layer.family.train) for layer, count in self.layers.items())

    @property
    def flops(self) -> float:
        return sum(count * layer.flops for layer, count in self.layers.items())

    @property
    def parameters(self) -> int:
        """Weights of all calls; shared ones count as often as they are called."""
        return sum(count * layer.parameters for layer, count in self.layers.items())

    @property
    def families(self) -> frozenset[LayerFamily]:
        return frozenset(layer.family for layer in self.layers)

    def times(self, count: int) -> "Step":
        """The work of so many such steps."""
        scaled = {layer: count * calls for layer, calls in self.layers.items()}
        unparsed = {name: count * most for name, most in self.unparsed.items()}
        return replace(self, layers=scaled, unparsed=unparsed, steps=count * self.steps)

    def __add__(self, other: "Step") -> "Step":
        layers, unparsed = dict(self.layers), dict(self.unparsed)
        for layer, calls in other.layers.items():
            layers[layer] = layers.get(layer, 0) + calls
        for name, numbers in other.unparsed.items():
            unparsed[name] = unparsed.get(name, 0.0) + numbers
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        return Step(layers, unparsed, notes, self.steps + other.steps)


NO_WORK = Step({}, steps=0)
"""Nothing, which sums begin with."""


def step_of(layers: Iterable[SizedLayer]) -> Step:
    """The work of layers that are called once each, in any order."""
    counts: dict[SizedLayer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return Step(counts)


def width_of(dtype: str) -> int:
    """Bytes of one number of a torch precision."""
    return {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4}.get(dtype, 4)
