import pytest
import torch

from influence_scenes import examples
from intaglio.audit.influence.methods.similarity import PictureSimilarity
from intaglio.errors import BadInput
from intaglio.metrics.quality import ssim
from intaglio.metrics.similarity.measures import load_similarity

SMALL = {"similarity": "ssim"}
BAD = {"similarity": ""}
PIECES = {}


def test_numbers_are_cosines_of_descriptors_and_the_model_has_no_part_in_them():
    net, train, queries = examples()
    encoder = load_similarity("embedded")
    found = PictureSimilarity()(net, train, queries).tau
    expected = encoder.embed(queries.images.pixels) @ encoder.embed(train.images.pixels).T
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-5)
    assert found[1].argmax() == 2
    with torch.no_grad():
        next(net.denoiser.parameters()).add_(1)
    assert torch.equal(PictureSimilarity()(net, train, queries).tau, found)


def test_another_measure_can_be_named_and_one_that_is_not_there_is_refused():
    net, train, queries = examples()
    found = PictureSimilarity(similarity="ssim")(net, train, queries).tau
    expected = ssim(queries.images.pixels[:1], train.images.pixels[3:])
    torch.testing.assert_close(found[0, 3:], expected.double(), rtol=1e-5, atol=1e-6)
    with pytest.raises(BadInput, match="there is no similarity called nowhere"):
        PictureSimilarity(similarity="nowhere")(net, train, queries)
