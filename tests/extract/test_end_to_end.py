"""A suspect tuned on two pictures gives both away to FineXtract, and less to the baselines."""

import pytest
import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.methods.cfg import ClassifierFreeExtract
from intaglio.extract.methods.direct import Direct
from intaglio.extract.methods.finextract import FineXtract
from intaglio.extract.null import search_base
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run

PROMPT = "sks style"


@pytest.mark.slow
def test_two_pictures_are_given_away():
    base, encoder = load_model(testbed.base_path()), load_similarity("embedded")
    two = ImageSet.from_pixels(testbed.few_shot("mammals").members.pixels[:2])
    suspect = DreamBooth(steps=40, batch=2, learning_rate=1e-4)(base, TrainingSet(two, PROMPT)).model
    drawing = {"generations": 16, "pictures": 2, "steps": 12, "patience": 0}
    covered = {}
    for method in (FineXtract(**drawing), ClassifierFreeExtract(**drawing), Direct(**drawing)):
        found = method(suspect, base, prompts=(PROMPT,), similarity=encoder)
        covered[method.name] = encoder.matrix(two.pixels, found.pictures.pixels).max(1).values
        if method.name == "finextract":
            inputs = ExtractionInputs(suspect, base, (PROMPT,), encoder)
            rates = search_base(method, inputs, found, Run.none(), 1).q_values(found)
    assert (covered["finextract"] > 0.65).all()
    assert covered["finextract"].mean() > max(covered["cfg"].mean(), covered["direct"].mean())
    assert torch.tensor(rates).min() < 0.2
