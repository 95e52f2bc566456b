import torch

from explain_scenes import asked_as
from intaglio.explain.words.methods.token_slope import TokenSlope
from intaglio.models.diffusion.conditioning import Conditioning

SMALL = {"steps": 2, "tested": 1, "batch": 2}
BAD = {"share": 0.0}
PIECES = {"batch": 1}


def test_a_linear_model_gives_the_way_to_emptiness_of_the_words_own_tokens():
    def clean(latents, t, given):
        return latents + given.hidden.sum((1, 2)).view(-1, 1, 1, 1) * torch.tensor([[1.0, 0.0]])

    hidden, empty = torch.tensor([[[9.0], [2.0], [5.0]]]), torch.tensor([[[9.0], [-1.0], [4.0]]])
    asked = asked_as(clean, tokens=((1,), (2,), ()), whole=Conditioning(hidden), empty=Conditioning(empty))
    for share in (0.1, 1.0):
        found = TokenSlope(share=share).step_maps(asked, torch.zeros(1, 1, 1, 2), torch.tensor([5]))
        torch.testing.assert_close(found[0, :, 0], torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(asked.whole.hidden, hidden)
