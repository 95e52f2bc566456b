"""Pictures as rows of numbers, with their true and their called classes."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Pictures as a classifier judged them."""

    features: Float[ndarray, "n d"]
    """As pictures are described."""
    plain: Float[ndarray, "n d"]
    """Of the pictures as they are, without a mask."""
    truth: Int[ndarray, "n"]
    called: Int[ndarray, "n"]
    captions: tuple[str | None, ...]
    classes: int
    """Classes of the classifier."""

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, places: Int[ndarray, "m"]) -> "JudgedRows":
        captions = tuple(self.captions[k] for k in places)
        features, plain, truth, called = (one[places] for one in (self.features, self.plain, self.truth, self.called))
        return JudgedRows(features, plain, truth, called, captions, self.classes)

    @property
    def wrong(self) -> Bool[ndarray, "n"]:
        """Whether the called class is another than the true one."""
        return self.truth != self.called
