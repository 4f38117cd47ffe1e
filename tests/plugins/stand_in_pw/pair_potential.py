"""Energy, forces and stress of a crystal by a Morse pair potential; standard library alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

RYDBERG, BOHR = 13.605693, 0.529177
CUTOFF = 6.5
ATOMS = {"Cu": (2.60, 0.34, -87.8), "Ag": (2.95, 0.29, -65.1), "Au": (2.95, 0.36, -66.7)}
"""Distance (Å) and depth (eV) of a pair, energy of a lone atom (Ry)."""
UNLIKE = 1.06
"""Unlike atoms bind more, so that there are compounds to find."""
Vector = tuple[float, float, float]


@dataclass
class Answer:
    """Numbers as pw.x prints them: Ry, Ry/bohr, Ry/bohr^3."""

    energy: float
    forces: list[list[float]]
    stress: list[list[float]]


def answer(cell: list[Vector], species: list[str], positions: list[Vector]) -> Answer:
    """Sum a Morse potential over all pairs; forces and stress are its derivatives."""
    room = volume(cell)
    energy = sum(ATOMS[symbol][2] for symbol in species) * RYDBERG
    forces = [[0.0] * 3 for _ in species]
    stress = [[0.0] * 3 for _ in range(3)]
    for i, j, apart in pairs(cell, positions):
        distance = math.sqrt(dot(apart, apart))
        depth, slope = morse(species[i], species[j], distance)
        energy += depth / 2
        for a in range(3):
            forces[i][a] += slope * apart[a] / distance
            for b in range(3):
                stress[a][b] += slope * apart[a] * apart[b] / distance / (2 * room)
    return Answer(
        energy / RYDBERG,
        [[f / RYDBERG * BOHR for f in force] for force in forces],
        [[-s / RYDBERG * BOHR**3 for s in row] for row in stress],
    )


def pairs(cell: list[Vector], positions: list[Vector]) -> Iterator[tuple[int, int, Vector]]:
    """Each atom with each neighbour, and the vector to it."""
    a, b, c = cell
    room = volume(cell)
    heights = [room / math.sqrt(dot(n, n)) for n in (cross(b, c), cross(c, a), cross(a, b))]
    reach = [range(-n, n + 1) for n in (math.ceil(CUTOFF / height) + 1 for height in heights)]
    shifts = [
        tuple(
            sum(n * vector[axis] for n, vector in zip(steps, cell, strict=True))
            for axis in range(3)
        )
        for steps in product(*reach)
    ]
    for i, here in enumerate(positions):
        for j, there in enumerate(positions):
            for shift in shifts:
                apart = (there[0] + shift[0] - here[0], there[1] + shift[1] - here[1],
                         there[2] + shift[2] - here[2])  # fmt: skip
                if 1e-9 < dot(apart, apart) < CUTOFF**2:
                    yield i, j, apart


def morse(one: str, other: str, r: float) -> tuple[float, float]:
    """Energy of a pair and its slope, both smooth where they end."""
    (r1, d1, _), (r2, d2, _) = ATOMS[one], ATOMS[other]
    rest, depth = (r1 + r2) / 2, math.sqrt(d1 * d2) * (UNLIKE if one != other else 1.0)
    e, x = math.exp(-1.4 * (r - rest)), (r / CUTOFF) ** 2
    value, slope = depth * (e * e - 2 * e), depth * 2.8 * (e - e * e)
    return value * (1 - x) ** 2, slope * (1 - x) ** 2 - value * 4 * (1 - x) * r / CUTOFF**2


def volume(cell: list[Vector]) -> float:
    """Return the volume of a cell, Å^3."""
    return abs(dot(cell[0], cross(cell[1], cell[2])))


def dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
