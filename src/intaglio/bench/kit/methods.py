"""The methods of a verb, each with its defaults, as a bench asks them."""

from dataclasses import fields
from importlib import import_module
from typing import Any

from intaglio.verbs import VERBS


def default_methods(verb: str, *, seed: int, **changes: Any) -> dict[str, Any]:
    """Every method of a verb by name, with its default settings but for the seed and `changes`, where it has those."""
    return {name: default_method(verb, name, seed=seed, **changes) for name in VERBS[verb].methods}


def one_prompt_audits(*, seed: int) -> dict[str, Any]:
    """The membership audits that take one prompt for all pictures and no shadow models, as `default_methods`."""
    found = default_methods("authenticate", seed=seed)
    return {
        name: method for name, method in found.items() if method.own_captions != "needed" and not method.needs_shadows
    }


def default_method(verb: str, name: str, **changes: Any) -> Any:
    """One method with its default settings, but for those `changes` that it has."""
    module, _, kind = VERBS[verb].methods[name].target.partition(":")
    settings = getattr(import_module(module), kind)
    own = {field.name for field in fields(settings)}
    return settings(**{key: value for key, value in changes.items() if key in own})
