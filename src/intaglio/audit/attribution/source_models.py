"""Models of known sources, for methods that ask them: checked against the sources, and told again by fingerprint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from intaglio.errors import BadInput
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

if TYPE_CHECKING:
    from intaglio.audit.attribution.family import SourceAttributor
    from intaglio.audit.attribution.fitted_sources import FittedSources

Models = Mapping[str, LatentDiffusion]
"""Models by the source that each made. A source may be without, such as real pictures."""


def check_models(method: "SourceAttributor", sources: Sequence[str], models: Models) -> None:
    """Raises `BadInput` for models of no source, such as lack what a method needs, or that it does not ask; and for
    none where it does.
    """
    if models and not method.needs_models:
        raise BadInput(f"{method.name} looks at pictures alone, so a model would have no effect; leave --model out")
    if method.needs_models and not models:
        raise BadInput(f"{method.name} asks the sources' models; give one or more with --model NAME=MODEL")
    check_names(sources, models)
    check_needs(method, *models.values())


def check_names(sources: Sequence[str], models: Sequence[str] | Mapping[str, object]) -> None:
    """Raises `BadInput` for a model whose name is no source's."""
    if unknown := [name for name in models if name not in sources]:
        raise BadInput(
            f"there is no source called {unknown[0]}, whose model is given; call it as one of: {', '.join(sources)}"
        )


def fingerprints(models: Models) -> dict[str, str]:
    """Fingerprints of models by source, in the order of the names."""
    return {name: models[name].fingerprint for name in sorted(models)}


def check_same(fitted: "FittedSources", models: Models) -> None:
    """Raises `BadInput` for other models than those that the sources were fitted with."""
    if missing := [name for name in fitted.models if name not in models]:
        raise BadInput(
            f"the sources were fitted with the models of {', '.join(fitted.models)}; give that of {missing[0]} again "
            "with --model NAME=MODEL"
        )
    for name, one in fingerprints(models).items():
        if fitted.models.get(name) != one:
            raise BadInput(
                f"the model of {name} is none that the sources were fitted with; give the models of then, or fit again"
            )
