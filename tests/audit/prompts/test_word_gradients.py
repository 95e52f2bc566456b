"""Tokens and words in the text encoders of several families, and the embeddings that gradients are taken in."""

import pytest
import torch

from intaglio.audit.prompts.word_gradients import NO_WORD, prompt_leaves, token_words
from intaglio.bench.models.random_models.random_pipelines import folder_of
from intaglio.models.diffusion.loading import load_model

PROMPT = "a red cat, big"


@pytest.mark.parametrize(("kind", "encoders"), [("sd3", 3), ("qwen-image", 1)])
def test_every_text_encoder_gives_the_embeddings_of_its_own_tokens(kind, encoders, tmp_path):
    """CLIP twice with T5; and a chat model, whose prompt stands in an instruction, and whose padding is left out."""
    model = load_model(folder_of(kind, tmp_path / "model"))
    tokens = model.tokens([PROMPT])
    with model.frozen():
        leaves = prompt_leaves(model, PROMPT, 2)
        assert list(leaves.leaves) == list(range(encoders))
        assert leaves.norms(leaves.text.hidden.square().flatten(1).sum(1)).shape == (2, 4)
    for index, leaf in leaves.leaves.items():
        words, table = leaves.words[index], model.text_encoders[index].get_input_embeddings().weight
        assert len(words) == leaf.shape[1]
        for place, word in enumerate(PROMPT.split()):
            own = [k for k, one in enumerate(token_words(model, index, PROMPT)) if one == place]
            if own and own[-1] + 1 < tokens[index].shape[1]:  # read whole
                text = model.tokenizers[index].decode(tokens[index][0, own]).replace(" ", "")
                assert text == word
            seen = leaf[0, [k for k, one in enumerate(words) if one == place]]
            torch.testing.assert_close(seen[: len(own)], table[tokens[index][0, own[: len(seen)]]], rtol=0, atol=1e-6)
        assert NO_WORD in words
