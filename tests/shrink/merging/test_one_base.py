import copy

import pytest
import torch

import tiny
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.methods.linear import LinearMerge
from intaglio.shrink.merging.methods.soup import Soup
from intaglio.shrink.merging.methods.ties import Ties
from intaglio.shrink.merging.weight_places import groups_of, relative_distance, weights_of
from merge_scenes import fine_tunes


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def base(folders):
    return load_model(tiny.sd_folder(folders / "sd"))


def test_another_architecture_is_refused_by_its_keys(base, folders):
    wider = load_model(tiny.sd_folder(folders / "wide", unet_changes={"block_out_channels": (8, 24)}))
    with pytest.raises(BadInput, match=r"denoiser block_out_channels .*\(8, 16\).*\(8, 24\)"):
        Soup()([base, wider])
    with pytest.raises(BadInput, match="text_encoder_2 is in one of them alone"):
        Soup()([base, load_model(tiny.sdxl_folder(folders / "xl"))])


def test_another_prediction_type_is_refused(base, folders):
    other = load_model(tiny.sd_folder(folders / "v", prediction="v_prediction"))
    with pytest.raises(BadInput, match=r"prediction type \(epsilon and v_prediction\)"):
        Soup()([base, other])


def test_another_base_of_the_same_architecture_is_refused(base, folders):
    other = load_model(tiny.sd_folder(folders / "seed 7", seed=7))
    distance, _ = relative_distance(base, other)
    assert distance == pytest.approx(2**0.5, abs=0.05), "unrelated weights"
    with pytest.raises(BadInput, match=r"do not come from one base: their denoisers are 1\.4. .* most in \w+"):
        Soup()([base, other])
    with pytest.raises(BadInput, match="do not come from one base"):
        Ties()(fine_tunes(base, 2), other)


def with_encoder(base, encoder, tokenizer=None):
    parts = base.components
    return LatentDiffusion(
        denoiser=copy.deepcopy(parts.denoiser),
        autoencoder=parts.autoencoder,
        text_encoders=(encoder,),
        tokenizers=(tokenizer or parts.tokenizers[0],),
        scheduler=parts.scheduler,
        name="another",
    )


def test_added_tokens_and_other_settings_of_text_encoders_are_refused(base):
    words = tiny.tokenizer()
    words.add_tokens(["sks"])
    encoder = copy.deepcopy(base.text_encoders[0])
    encoder.resize_token_embeddings(len(words))
    with pytest.raises(BadInput, match="tokens of tokenizer"):
        Soup()([base, with_encoder(base, encoder, words)])
    with pytest.raises(BadInput, match=r"shapes of weights differ: text_encoder\.\S*token_embedding"):
        Soup()([base, with_encoder(base, encoder)])
    activated = copy.deepcopy(base.text_encoders[0])
    activated.config.hidden_act = "gelu"
    with pytest.raises(BadInput, match=r"text_encoder hidden_act \(quick_gelu and gelu\)"):
        Soup()([base, with_encoder(base, activated)])


def test_students_must_agree_in_their_sampling(base):
    one, two = fine_tunes(base, 2)
    one.sampling = BakedSampling((999, 499), "ddim", "baked", (5.0, 5.0))
    with pytest.raises(BadInput, match=r"draws in 2 steps of ddim, .*any steps"):
        Soup()([one, two])
    two.sampling = one.sampling
    assert Soup()([one, two]).model.sampling == one.sampling


def test_another_autoencoder_is_noted_and_the_first_ones_is_taken(base):
    one, two = fine_tunes(base, 2)
    two.autoencoder = copy.deepcopy(two.autoencoder)
    with torch.no_grad():
        next(two.autoencoder.parameters()).add_(1)
    found = Soup()([two, one])
    assert found.model.part_fingerprint("autoencoder") == two.part_fingerprint("autoencoder")
    assert found.notes == ("tune 0 has another autoencoder than tune 1; the merged model gets that of tune 1",)
    assert found.notes[0] in found.card()


def test_the_precision_of_the_first_model_is_kept_and_overflow_named(base):
    one, two = (model.to(dtype=torch.float16) for model in fine_tunes(base, 2))
    assert Soup()([one, two]).model.dtype == torch.float16
    with torch.no_grad():
        one.denoiser.conv_in.bias[0] = 6e4
    with pytest.raises(IntaglioError, match=r"merged weight denoiser\.conv_in\.bias is beyond float16"):
        LinearMerge(scale=10.0)([one], base)


def test_groups_hold_every_weight_once(base):
    groups = groups_of(base)
    assert sorted(place for group in groups.values() for place in group) == list(weights_of(base))
    assert {"denoiser.conv_in", "denoiser.down_blocks.0"} < set(groups)
    assert len(groups) > 5
