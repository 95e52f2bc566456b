"""Identity of an audit's work: what its stored records and states depend on."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from intaglio.audit.membership.family import AuditInputs


def work_key(method: Any, inputs: AuditInputs, without: Iterable[str] = ()) -> str:
    """sha256 over settings, weights and prompt; settings in `without` do not change what is stored."""
    settings = {name: value for name, value in asdict(method).items() if name not in without}
    autoencoder = inputs.reference.part_fingerprint("autoencoder")
    base = "" if inputs.base is None else inputs.base.fingerprint
    parts = (method.name, repr(sorted(settings.items())), inputs.suspect.fingerprint, autoencoder, base, inputs.prompt)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
