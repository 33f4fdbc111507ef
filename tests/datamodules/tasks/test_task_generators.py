"""Generators of tasks: functions of their arguments, and none of a stream like another."""

from datamodules.tasks.generators import task_generator


def test_numbers_of_a_stream_have_seeds_of_their_own() -> None:
    seeds = [task_generator(17, "train", number).initial_seed() for number in range(3000)]
    assert len(set(seeds)) == 3000
    assert max(seeds) < 2**32  # torch would drop what is above
    assert max(seeds) - min(seeds) > 0.99 * 2**32
    assert seeds[:5] == [task_generator(17, "train", number).initial_seed() for number in range(5)]


def test_purposes_and_seeds_are_streams_of_their_own() -> None:
    seeds = {task_generator(seed, purpose).initial_seed() for seed in range(50) for purpose in ("train", "val", "test")}
    assert len(seeds) == 150


def test_a_seed_always_gives_the_same_numbers() -> None:
    assert task_generator(17, "train", 3).initial_seed() == 1225939471  # runs must go on after an update
