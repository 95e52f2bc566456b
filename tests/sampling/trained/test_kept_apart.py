import torch

from intaglio.sampling.trained.kept_apart import held_out


def test_a_tenth_is_kept_one_at_least_and_not_of_one_prompt_alone():
    assert [int(held_out(count, 0).sum()) for count in (1, 9, 10, 11, 200)] == [1, 1, 1, 2, 20]
    kept = held_out(200, 3).nonzero()[:, 0]
    for prompts in (2, 5, 10, 20):
        assert len((kept % prompts).unique()) > 1, "pictures take prompts in turn"
    assert torch.equal(held_out(200, 3), held_out(200, 3))
    assert not torch.equal(held_out(200, 3), held_out(200, 4))
