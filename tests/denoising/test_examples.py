import pytest
import torch

from audit_scenes import model, pictures
from intaglio.denoising.examples import CHUNK, Examples


def test_latents_are_the_means_of_the_pictures_whatever_is_encoded_with_them():
    net, images = model(), pictures(CHUNK + 1)
    found = Examples.of(net, images, ["cat"] * len(images))
    assert (len(found), found.names, found.hashes) == (CHUNK + 1, images.names, images.hashes)
    assert not found.latents.requires_grad
    for row in (0, CHUNK):
        expected = net.encode(images.pixels[row : row + 1]).detach()
        torch.testing.assert_close(found.latents[row : row + 1], expected, rtol=1e-4, atol=1e-5)


def test_every_picture_has_a_prompt():
    with pytest.raises(ValueError, match="must be as many, not 2, 1 and 2"):
        Examples.of(model(), pictures(2), ["cat"])
