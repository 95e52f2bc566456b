"""Style statistics of the embedded real pictures as the embedded autoencoder gives them back; seconds on a processor.

usage: python recipes/emoji64/style_statistics.py
"""

import torch

from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import write_state
from intaglio.sampling.verifiers.style_statistics import style_statistics

AT_ONCE = 20


def main() -> None:
    """Writes the file that ships beside the encoder."""
    real, model = testbed.real_pictures(), load_model(testbed.base_path())
    with torch.no_grad():
        decoded = [model.decode(model.encode(some)) for some in real.pixels.split(AT_ONCE)]
    about = {"pictures": digest(list(real.hashes)), "autoencoder": model.part_fingerprint("autoencoder")}
    path = testbed.encoder_path().parent / "style_statistics.safetensors"
    write_state(path, {"decoded": style_statistics(torch.cat(decoded))}, about)


if __name__ == "__main__":
    main()
