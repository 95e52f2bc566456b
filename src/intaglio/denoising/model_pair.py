"""Checks of a pair of models, a suspect and its base: whether they are comparable, and whether autoencoders agree."""

import torch

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def check_pair(suspect: LatentDiffusion, base: LatentDiffusion) -> None:
    """Raises `BadInput` for models that differ in more than weights, and for models of the same weights."""
    if suspect.family is not base.family:
        raise BadInput(
            f"{suspect.name} is of {suspect.family.name}, and {base.name} of {base.family.name}; "
            "pass as --base the very model that the suspect was fine-tuned from"
        )
    if unlike := suspect.differences(base):
        raise BadInput(
            f"{suspect.name} and {base.name} cannot be compared: {'; '.join(unlike)}; "
            "pass as --base the very model that the suspect was fine-tuned from"
        )
    if not suspect.same_weights(base):
        return
    if unread := [*suspect.unused, *base.unused]:
        raise BadInput(
            f"{suspect.name} and {base.name} differ at most in {len(unread)} weights that are not used ({unread[0]}), "
            "so nothing can be found; merge what these belong to into the weights, or give the models it is merged in"
        )
    raise BadInput(
        f"the models are identical: {suspect.name} and {base.name} have the same weights, so there is nothing to "
        "find; pass the fine-tuned model as --suspect and the one it came from as --base"
    )


def same_autoencoder(suspect: LatentDiffusion, base: LatentDiffusion) -> bool:
    """Whether the two autoencoders have the same weights."""
    mine, theirs = suspect.parts["autoencoder"], base.parts["autoencoder"]
    if mine is theirs:
        return True
    a, b = mine.state_dict(), theirs.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key].cpu(), b[key].cpu()) for key in a)
