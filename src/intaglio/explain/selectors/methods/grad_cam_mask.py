"""grad-cam-mask: the plain classifier, asked about the places of its own highest Grad-CAM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.explain.class_heat import class_heat
from intaglio.explain.selectors.family import PixelSelector, TaughtMasks
from intaglio.explain.selectors.labelled_lessons import HEAD, LabelledLessons
from intaglio.explain.selectors.shown_pixels import Masks, Pixels, highest_share
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.scored_network import classifier_score
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class GradCamMask(PixelSelector):
    """Highest places of the plain classifier's own Grad-CAM; no selector is taught.

    Grad-CAM is for the label that the classifier calls. The mask shows exactly `area` of a picture, and the plain
    classifier is the predictor. Whether learning to select pays is what it is there to tell.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the places of the plain classifier’s highest Grad-CAM"

    def learn(self, lessons: LabelledLessons, plain: PictureClassifier, run: Run) -> TaughtMasks:
        """See the family: nothing is learnt."""
        scored = classifier_score(plain, HEAD, side=max(lessons.pixels.shape[-2:]))
        scored.check_layers()

        def masks(pixels: Pixels) -> Masks:
            heat = class_heat(scored, scored.layers[-1], pixels, scored.called(pixels))
            return highest_share(heat, self.area)

        return TaughtMasks(plain, masks)
