"""The hashes below were printed by ``python -c "import hashlib, numpy as np; ..."`` with numpy 2.4 on x86-64:

hashlib.sha256(np.random.Generator(np.random.Philox(SEED)).standard_normal(1024, dtype=np.float32).tobytes())
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from understudy.seeding import region_seed, standard_normal

DIGEST = hashlib.sha256(b"a picture").digest()
MASK = 0xFFFF_FFFF


def seed_sequence(words: list[int]) -> int:
    """numpy's SeedSequence written again after its description (O'Neill's seed_seq_fe), first 64 bits."""
    entropy = []
    for word in words:
        entropy.append(word & MASK)
        while word := word >> 32:
            entropy.append(word & MASK)
    constant = 0x43B0D7E5

    def hashmix(value: int) -> int:
        nonlocal constant
        value ^= constant
        constant = constant * 0x931E8875 & MASK
        value = value * constant & MASK
        return value ^ value >> 16

    def mix(x: int, y: int) -> int:
        result = (x * 0xCA01F9DD - y * 0x4973F715) & MASK
        return result ^ result >> 16

    pool = [hashmix(entropy[i] if i < len(entropy) else 0) for i in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mix(pool[target], hashmix(pool[source]))
    for extra in entropy[4:]:
        for target in range(4):
            pool[target] = mix(pool[target], hashmix(extra))
    constant, state = 0x8B51F9DD, []
    for value in pool[:2]:
        value ^= constant
        constant = constant * 0x58F38DED & MASK
        value = value * constant & MASK
        state.append(value ^ value >> 16)
    return state[0] | state[1] << 32


@pytest.mark.parametrize(("run_seed", "region", "attempt"), [(0, 0, 0), (0, 0, 1), (7, 41, 2), (2**63, 100_000, 9)])
def test_region_seed_is_that_of_a_seed_sequence_over_run_picture_region_and_attempt(
    run_seed: int, region: int, attempt: int
) -> None:
    words = [run_seed, int.from_bytes(DIGEST[:8], "big"), region, attempt]
    assert region_seed(run_seed, DIGEST, region, attempt) == seed_sequence(words)


def test_region_seed_is_an_unsigned_64_bit_number_and_stays_what_it_was() -> None:
    assert region_seed(0, bytes(32), 0, 0) == 15793235383387715774


def test_region_seed_changes_with_each_of_its_arguments() -> None:
    other = hashlib.sha256(b"another picture").digest()
    seeds = {
        region_seed(0, DIGEST, 0, 0),
        region_seed(1, DIGEST, 0, 0),
        region_seed(0, other, 0, 0),
        region_seed(0, DIGEST, 1, 0),
        region_seed(0, DIGEST, 0, 1),
    }
    assert len(seeds) == 5


def test_region_seed_reads_the_first_eight_bytes_of_the_digest() -> None:
    assert region_seed(0, DIGEST[:8] + bytes(24), 3, 1) == region_seed(0, DIGEST, 3, 1)


def test_region_seeds_of_ten_thousand_attempts_never_meet() -> None:
    seeds = {region_seed(0, DIGEST, region, attempt) for region in range(2500) for attempt in range(4)}
    assert len(seeds) == 10_000


@pytest.mark.parametrize(
    ("seed", "sha256"),
    [
        (0, "a7bd3bb7916f16e1eb05bbcfc12a7bf41c38b3c551642aea70737f170163202f"),
        (1234567890123456789, "b0e1d9215b5db476cc389e07e1ebcfc8335f31b1345a977b9700444807a7f9d6"),
        (2**64 - 1, "a8a06964f728f4babe56b87869120c03fc4e9bbe75721dd343bdea9bdef97a1d"),
    ],
)
def test_noise_stays_what_it_was_bit_by_bit(seed: int, sha256: str) -> None:
    assert hashlib.sha256(standard_normal(seed, (1024,)).tobytes()).hexdigest() == sha256


def test_noise_is_float32_of_the_shape_asked_for() -> None:
    noise = standard_normal(3, (2, 4, 8))
    assert noise.shape == (2, 4, 8)
    assert noise.dtype == np.float32


def test_noise_of_a_shape_is_the_same_stream_as_that_of_its_length() -> None:
    assert (standard_normal(3, (4, 8)).ravel() == standard_normal(3, (32,))).all()


def test_noise_is_standard_normal() -> None:
    noise = standard_normal(5, (100_000,))
    assert abs(float(noise.mean())) < 4 / np.sqrt(100_000)
    assert float(noise.std()) == pytest.approx(1, abs=0.01)
    assert float((np.abs(noise) < 1.96).mean()) == pytest.approx(0.95, abs=0.004)


def test_noise_of_neighbouring_seeds_is_unrelated() -> None:
    first, second = standard_normal(5, (100_000,)), standard_normal(6, (100_000,))
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.015
