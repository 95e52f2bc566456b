"""Generators of a seed and labels: what they depend on, and the bits that runs and shipped networks were made with."""

import subprocess
import sys

import pytest
import torch

from intaglio.randomness import first_weights, generator, generator_32bit, numpy_generator, seed_32bit


def test_the_bits_of_published_trainings_tables_and_audits():
    assert generator(3, "a", 7).initial_seed() == 6667174328474170121
    assert seed_32bit(3, "a", 7) == 2081100921
    assert numpy_generator(3, 7).integers(2**32, size=2).tolist() == [409312344, 1554317759]


@pytest.mark.parametrize("of", [generator, generator_32bit])
def test_a_generator_depends_on_its_seed_and_labels_alone(of):
    torch.manual_seed(1)
    first = torch.rand(3, generator=of(0, "a", 1))
    torch.manual_seed(2)
    assert torch.equal(first, torch.rand(3, generator=of(0, "a", 1)))
    assert len({of(*labels).initial_seed() for labels in [(0, "a", 1), (0, "b", 1), (1, "a", 1), (0, "a", 11)]}) == 4
    assert of(0).device == torch.device("cpu")


def test_a_numpy_generator_depends_on_its_seed_and_indices_alone():
    first = numpy_generator(0, 1).random(3).tolist()
    assert numpy_generator(0, 1).random(3).tolist() == first
    assert all(numpy_generator(*other).random(3).tolist() != first for other in [(0,), (0, 2), (1, 1), (0, 1, 1)])


def test_a_32_bit_seed_fits_32_bits_and_is_its_generators():
    seeds = [seed_32bit(0, index) for index in range(100)]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == 100
    assert generator_32bit(0, 5).initial_seed() == seeds[5]


def test_numpys_generators_come_without_torch():
    code = (
        "import sys; from intaglio.randomness import numpy_generator as of; of(0, 1); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_first_weights_follow_from_the_seed_and_leave_the_generator_alone():
    before = torch.random.get_rng_state()
    made = []
    for seed, label in ((0, "a"), (0, "a"), (0, "b"), (1, "a")):
        with first_weights(seed, label):
            made.append(torch.nn.Linear(3, 2).weight.detach())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[3])
    assert torch.equal(torch.random.get_rng_state(), before)
