"""The planted toy: a small factor that noise takes early, a large one that it takes late."""

import numpy as np
import torch

import encoding_scenes
from intaglio.explain.encodings.noise_slots import NoiseSlots, confusion
from intaglio.explain.encodings.shifted_noise import CodedDenoiser
from intaglio.explain.encodings.taught_encoding import EncodingLessons, EncodingPace, level_errors, teach
from intaglio.runs.run import Run

SPLIT = 300
"""Timestep up to which the large factor is told apart, and by which the small one is long lost."""


def taught(slots, steps=400):
    levels = encoding_scenes.schedule()
    signs = encoding_scenes.factors(256)
    points = encoding_scenes.rows(signs)
    torch.manual_seed(0)
    encoder = encoding_scenes.LinearEncoder(slots.numbers)
    gradient = encoding_scenes.ToyGradient(slots.numbers, levels)
    denoiser = CodedDenoiser(encoding_scenes.exact_noise(levels), gradient, levels, slots)
    pace = EncodingPace(steps=steps, batch=256, learning_rate=1e-2, detach=True, seed=0)
    teach(encoder, denoiser, EncodingLessons(points, points), pace, Run.none())
    with torch.no_grad():
        return signs.numpy(), points, encoder(points), denoiser


def test_the_split_lies_between_the_factors():
    levels = encoding_scenes.schedule()
    large, little = confusion(torch.tensor([2 * encoding_scenes.LARGE, 2 * encoding_scenes.LITTLE]), levels)[SPLIT]
    assert large < 1e-3
    assert little > 0.3


def test_the_small_factor_is_in_the_early_slot_and_the_large_one_in_the_late():
    signs, points, codes, denoiser = taught(NoiseSlots((SPLIT, 1000), (1, 1)))
    told = [[abs(np.corrcoef(codes[:, slot], signs[:, factor])[0, 1]) for factor in range(2)] for slot in range(2)]
    (large_early, little_early), (large_late, little_late) = told
    assert little_early > 0.9
    assert large_early < 0.4
    assert large_late > 0.9
    assert little_late < 0.4
    frozen, coded = level_errors(denoiser, codes, points, [str(k) for k in range(256)], (100, 800), 0).mean(2)
    assert (coded < 0.3 * frozen).all()  # most of what is lost is made up in both slots


def test_errors_at_a_level_depend_on_the_picture_alone():
    _, points, codes, denoiser = taught(NoiseSlots((1000,), (2,)), steps=1)
    names = [str(k) for k in range(6)]
    whole = level_errors(denoiser, codes[:6], points[:6], names, (10, 600), 0)
    part = level_errors(denoiser, codes[3:6], points[3:6], names[3:], (600,), 0)
    torch.testing.assert_close(whole[:, 1:, 3:], part)


def test_noise_at_each_level_is_its_own():
    _, points, codes, denoiser = taught(NoiseSlots((1000,), (2,)), steps=1)
    names = [str(k) for k in range(64)]
    one, next_one = level_errors(denoiser, codes[:64], points[:64], names, (600, 601), 0)[0].numpy()
    # The levels hardly differ, so that one noise for both would give errors that do not either.
    assert abs(np.corrcoef(one, next_one)[0, 1]) < 0.5
