import torch

from explain_scenes import asked_as
from intaglio.explain.words.methods.removal import WordRemoval
from intaglio.models.diffusion.conditioning import Conditioning

SMALL = {"steps": 2, "tested": 1, "batch": 2}
BAD = {"tested": 21}
PIECES = {"batch": 1}


def test_the_effect_of_each_word_is_the_length_of_the_change_by_place():
    def clean(latents, t, given):
        """The first number of the embedding shifts the upper row, by 3 and 4 in two channels."""
        shift = given.hidden[:, 0, 0].view(-1, 1, 1) * torch.tensor([[1.0, 1.0], [0.0, 0.0]])
        return latents + torch.stack([3 * shift, 4 * shift], 1)

    asked = asked_as(
        clean,
        words=("one", "two"),
        whole=Conditioning(torch.tensor([[[1.0]]])),
        without=Conditioning(torch.tensor([[[1.0]], [[3.0]]])),  # the first word does nothing
    )
    found = WordRemoval().step_maps(asked, torch.zeros(2, 2, 2, 2), torch.tensor([5, 5]))
    assert float(found[:, 0].abs().max()) == 0
    torch.testing.assert_close(found[0, 1], torch.tensor([[10.0, 10.0], [0.0, 0.0]]))
