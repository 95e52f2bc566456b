"""Models that another process can be sent: without the hooks that transformers leaves in an encoder it has called."""

import copy
from collections import OrderedDict
from typing import Any

from torch import nn

CAPTURE, INSTALLED = "transformers.utils.output_capturing", "_output_capturing_hooks_installed"
"""The module whose hooks cannot be pickled, and the mark that they are there; without it they are made anew."""


class Sendable:
    """A class with `text_encoders`, which is pickled without such hooks; weights are not copied for it."""

    text_encoders: tuple[Any, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "text_encoders": tuple(_without_capture(encoder) for encoder in self.text_encoders)}

    def __copy__(self) -> "Sendable":  # all parts are shared, which copying by state would not do
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin


def _without_capture(module: nn.Module) -> nn.Module:
    """The module with its own weights in modules of its own, which have all hooks but those of the capture."""
    twin = copy.copy(module)
    hooks = OrderedDict((key, hook) for key, hook in module._forward_hooks.items() if hook.__module__ != CAPTURE)
    state = {"_forward_hooks": hooks, "_modules": {}}
    vars(twin).update(state)
    vars(twin).pop(INSTALLED, None)
    for name, child in module._modules.items():
        twin._modules[name] = None if child is None else _without_capture(child)
    return twin
