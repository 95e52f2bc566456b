"""Identity of an audit's work: what its stored records and states depend on."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from intaglio.audit.membership.family import AuditInputs
from intaglio.images.image_set import ImageSet


def work_key(method: Any, inputs: AuditInputs, without: Iterable[str] = (), *, images: ImageSet | None = None) -> str:
    """sha256 over settings, weights and prompts; settings in `without` do not change what is stored.

    `images` are needed for a method that may take their captions for prompts.
    """
    settings = {name: value for name, value in asdict(method).items() if name not in without}
    autoencoder = inputs.reference.part_fingerprint("autoencoder")
    base = "" if inputs.base is None else inputs.base.fingerprint
    parts = (method.name, repr(sorted(settings.items())), inputs.suspect.fingerprint, autoencoder, base, inputs.prompt)
    if inputs.own_captions and images is not None:
        parts += (repr(sorted(zip(images.hashes, inputs.prompts_of(images), strict=True))),)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
