"""`Concept`: what a model is to unlearn, what takes its place, and what is to stay, as prompts."""

from dataclasses import dataclass

from intaglio.errors import BadInput


@dataclass(frozen=True)
class Concept:
    """A concept to unlearn, such as an artist's style, by the prompts that ask for it."""

    prompts: tuple[str, ...]
    """Prompts of the concept, one or more."""
    anchors: tuple[str, ...] = ("",)
    """What the model shall draw in their place: one prompt for all of them, or one for each; the empty prompt is what
    the model draws unasked."""
    keep: tuple[str, ...] = ()
    """Prompts whose pictures shall stay as they are; may be none."""

    def check(self) -> None:
        """Raises `BadInput` for prompts that say nothing to unlearn, or that contradict each other."""
        if not self.prompts:
            raise BadInput("there is no concept to unlearn; give --concept one prompt or more that ask for it")
        if any(not one.strip() for one in self.prompts):
            raise BadInput("the empty prompt is no concept; give --concept the words that are to be unlearned")
        if len(self.anchors) not in (1, len(self.prompts)):
            raise BadInput(
                f"{len(self.anchors)} anchors do not fit {len(self.prompts)} prompts of --concept; give --anchor one "
                "prompt for all of them, or one for each"
            )
        for prompt, anchor in self.pairs:
            if prompt == anchor:
                raise BadInput(f"{prompt!r} is its own anchor, so that nothing would change; give another --anchor")
        if both := [one for one in self.prompts if one in self.keep]:
            raise BadInput(f"{both[0]!r} is to be unlearned and to be kept; leave it out of --concept or of --keep")

    def check_beside_pictures(self, method: str, *, forget: bool, retain: bool) -> None:
        """Raises `BadInput` for what does not go with a method that forgets given pictures.

        Of prompts it takes one each at most, for pictures to forget and to stay that have no caption. `forget` and
        `retain` say whether such pictures are given.
        """
        if not forget:
            raise BadInput(f"{method} forgets given pictures, not a concept; give their folder with --forget")
        if not retain:
            raise BadInput(
                f"{method} needs the pictures beside these that the model was tuned on; give their folder with --retain"
            )
        if len(self.prompts) > 1 or len(self.keep) > 1 or self.anchors != ("",):
            raise BadInput(
                f"{method} forgets pictures, whatever their prompts; leave --anchor out, and give --concept and --keep "
                "one prompt at most, for pictures without a caption"
            )

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each prompt with its anchor."""
        return [(one, self.anchors[k % len(self.anchors)]) for k, one in enumerate(self.prompts)]
