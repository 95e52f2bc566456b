"""`intaglio completion SHELL`: the script by which a shell completes command lines."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.completing import SCRIPTS
from intaglio.commands.kit.console import say


@dataclass(frozen=True)
class Completion:
    """Print what a shell reads to complete verbs, methods, flags, their values and names of runs.

    For bash: `source <(intaglio completion bash)` in ~/.bashrc. For zsh the same in ~/.zshrc, after compinit. For fish:
    `intaglio completion fish > ~/.config/fish/completions/intaglio.fish`.
    """

    shell: Annotated[Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]
    """The shell: bash, zsh or fish."""

    def __call__(self) -> None:
        say(SCRIPTS[self.shell].rstrip())
