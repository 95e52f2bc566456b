"""`intaglio explain words` from the command line to its report, and what it refuses."""

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.explain.words.methods.cross_attention import CrossAttention
from intaglio.explain.words.result import WordMaps


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def line(base, tmp_path, *further):
    words = f"explain words cross-attention --model {base} --steps 2 --tested 1 --batch 1 --pictures 2 --quiet"
    return [*words.split(), "--runs", str(tmp_path / "runs"), *further]


def test_maps_and_a_report_and_a_stopped_one_goes_on(base, tmp_path, capsys, monkeypatch):
    asked, ask = [], CrossAttention.step_maps

    def stopping(self, words, latents, t):
        asked.append(int(t[0]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(self, words, latents, t)

    monkeypatch.setattr(CrossAttention, "step_maps", stopping)
    words = line(base, tmp_path, "--prompt", "<b> cat")
    assert main(words) != 0
    assert main(words) == 0
    assert len(asked) == 5  # two steps of two pictures, and the stopped one again
    (run,) = (tmp_path / "runs").glob("explain-words-cross-attention-*")
    found = WordMaps.load(run)
    assert found.words == ("<b>", "cat")
    assert found.statement in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 2 * (1 + 2 * 2)
    assert "“&lt;b&gt;”" in page
    assert "<b> cat" not in page
    whole = CrossAttention(steps=2, tested=1, batch=1)
    monkeypatch.setattr(CrossAttention, "step_maps", ask)
    from intaglio.models.diffusion.loading import load_model

    torch.testing.assert_close(whole(load_model(base), "<b> cat", 2).maps, found.maps)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--prompt", " "), "the prompt has no word to ask about"),
        (("--prompt", "cat", "--tested", "3"), "tested must be 1 to 2, the steps, not 3"),
        (("--prompt", "cat", "--pictures", "0"), "pictures must be at least 1, not 0"),
    ],
)
def test_bad_input_is_told(base, tmp_path, capsys, given, words):
    assert main(line(base, tmp_path, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
