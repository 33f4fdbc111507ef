"""Makes docs/examples/sensors.csv: `python docs/examples/sensors.py`.

Every sensor has a slope, an offset, and a temperature above which it switches range and reads 5 lower, all hidden. Of
the last four sensors five readings are known, and five are to be predicted.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

NUM_SENSORS = 400
NUM_NEW = 4
NUM_ROWS = 10
NUM_KNOWN = 5


def write_sensors(path: Path) -> None:
    """Writes the table, the same at each call."""
    rng = random.Random(17)
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["sensor", "temperature", "reading"])
        for number in range(NUM_SENSORS):
            slope, offset, switch = rng.uniform(0.1, 0.2), rng.gauss(0, 0.5), rng.uniform(5, 35)
            for row in range(NUM_ROWS):
                temperature = round(rng.uniform(0, 40), 1)
                reading = offset + slope * temperature - 5 * (temperature > switch) + rng.gauss(0, 0.1)
                wanted = number >= NUM_SENSORS - NUM_NEW and row >= NUM_KNOWN
                table.writerow([f"sensor-{number:03d}", temperature, "" if wanted else f"{reading:.3f}"])


if __name__ == "__main__":
    write_sensors(Path(__file__).with_suffix(".csv"))
