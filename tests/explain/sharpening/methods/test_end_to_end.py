"""Both networks at once: both change, each at its rate."""

import torch

from intaglio.explain.sharpening.methods.end_to_end import EndToEnd
from intaglio.explain.sharpening.sharpening_stages import BOTH
from intaglio.runs.run import Run
from sharpening_scenes import SMALL as SCENE
from sharpening_scenes import blind_encoder, blue_pictures

SMALL = {"generator_steps": 4, "encoder_steps": 3, "rows": 8, "width": 8, "copies": 1, "held": 0.3}
BAD = {"generator_rate": 0.0}
PIECES = {}


def test_both_learn_for_all_steps_each_at_its_rate(tmp_path):
    images, latents, _ = blue_pictures(30)
    blind, about = blind_encoder(), {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "explain", "sharpening", {}, {}, **about) as run:
        slow = EndToEnd(**SCENE, encoder_rate=1e-5)(blind, images, latents, run=run)
        tensors, meta = run.load_state(BOTH)
    assert meta.whole("step") == SCENE["generator_steps"] + SCENE["encoder_steps"]
    assert any(name.startswith("weight/projector") for name in tensors)
    fast = EndToEnd(**SCENE, encoder_rate=1e-2)(blind, images, latents)
    old = blind.state_dict()

    def moved(found):
        return float(sum((found.weights[name].float() - old[name]).abs().sum() for name in found.weights))

    assert 0 < moved(slow) < 0.05 * moved(fast)
    assert slow.kept.mean() > fast.kept.mean()
    assert torch.equal(old["stem.1.conv.weight"][:, 8:], torch.zeros_like(old["stem.1.conv.weight"][:, 8:]))
