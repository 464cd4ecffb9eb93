"""A task that a tiny model learns: is a statement on a capital right?"""

import numpy as np

CITIES = {"paris": "france", "rome": "italy", "berlin": "germany"}


def sentences(number, seed):
    """Statements on capitals, half of them wrong: which can be told from two words together."""
    generator = np.random.default_rng(seed)
    cities = list(CITIES)
    for _ in range(number):
        city = cities[generator.integers(3)]
        right = bool(generator.integers(2))
        country = CITIES[city] if right else CITIES[cities[(cities.index(city) + 1) % 3]]
        yield f"{city} is the capital of {country} .", int(right)
