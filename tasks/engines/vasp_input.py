"""What VASP is told: INCAR and KPOINTS from pymatgen's input sets, POTCAR from the machine.

pymatgen's sets are loaded when they are used, since that takes a second.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pymatgen.core import Lattice, Structure

from leadline.tasks.engines.k_mesh import k_mesh
from leadline.tasks.engines.potcar import Potcar, read_bytes
from leadline.tasks.engines.vasp_settings import PATH_KEYS, RESERVED, VaspSettings
from leadline.tasks.errors import ConfigurationError

SINGLE_POINT = {
    "NSW": 0, "IBRION": -1, "ISIF": 2, "LCHARG": False, "LAECHG": False, "LVTOT": False,
    "LVHAR": False, "LELF": False,
}  # fmt: skip
"""One energy with forces and stress: recipes move the ions, and nobody reads the large files."""
NOT_WRITTEN = frozenset({"EDIFFG", "POTIM", "ICHARG", "ISTART", "KSPACING", "KGAMMA", "SYSTEM"})


@dataclass(frozen=True)
class VaspInput:
    """The text files of a run; POSCAR lists the atoms in ``order``."""

    incar: Mapping[str, Any]
    kpoints: str
    order: tuple[int, ...]
    potcars: tuple[Path, ...]

    def write(self, directory: Path, atoms: Atoms) -> None:
        """Write the four files for ``atoms``, whose cell and positions may have moved."""
        from pymatgen.io.vasp.inputs import Incar, Poscar

        directory.mkdir(parents=True, exist_ok=True)
        Incar(dict(self.incar)).write_file(directory / "INCAR")
        (directory / "KPOINTS").write_text(self.kpoints)
        poscar = Poscar(_structure(atoms, self.order), comment="leadline")
        poscar.write_file(directory / "POSCAR", significant_figures=16)
        (directory / "POTCAR").write_bytes(b"".join(read_bytes(path) for path in self.potcars))


def vasp_input(settings: VaspSettings, atoms: Atoms, potcars: Mapping[str, Potcar]) -> VaspInput:
    """Return the input for ``atoms``: the k-mesh is that of its cell now, and stays.

    Raises
    ------
    ConfigurationError
        If the structure has moments that the settings leave no room for, or
        pymatgen refuses the settings.
    """
    order = tuple(sorted(range(len(atoms)), key=lambda index: (str(atoms.symbols[index]), index)))
    with warnings.catch_warnings():
        # What pymatgen warns of is told by the engine's check, once for a campaign.
        warnings.simplefilter("ignore")
        incar, kpoints = _written(settings, atoms, _structure(atoms, order))
    if incar.get("ISPIN", 1) != 2:
        incar.pop("MAGMOM", None)
        if atoms.get_initial_magnetic_moments().any():
            raise ConfigurationError(
                "a structure has initial moments, and ISPIN is 1; set it to 2 in "
                "engine.user_incar_settings"
            )
    if charge := atoms.info.get("charge"):
        valence = sum(potcars[symbol].valence for symbol in atoms.symbols)
        incar["NELECT"] = valence - float(charge)
    elements = dict.fromkeys(str(atoms.symbols[index]) for index in order)
    files = tuple(potcars[element].path for element in elements)
    return VaspInput(incar, kpoints, order, files)


def set_content(settings: VaspSettings) -> str:
    """Return the hash of what the input set says today: pymatgen may change it.

    Potentials are named by the settings, and what is path or layout is no physics.
    """
    found = _input_set(settings, None, {})
    silent = {key.upper() for key in PATH_KEYS} | RESERVED | set(SINGLE_POINT) | {"LWAVE"}
    incar = found.config_dict["INCAR"] | found.incar_updates
    plain = {
        "incar": {key: value for key, value in incar.items() if key not in silent},
        "kspacing": incar.get("KSPACING"),
        "kpoints": [found.config_dict.get("KPOINTS"), found.kpoints_updates],
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def set_potcars(settings: VaspSettings) -> dict[str, str]:
    """Return the POTCAR that the input set recommends for each element."""
    found = _input_set(settings, None, {}).config_dict.get("POTCAR") or {}
    return {
        element: str(each["symbol"] if isinstance(each, dict) else each)
        for element, each in found.items()
    }


def set_incar(settings: VaspSettings) -> dict[str, Any]:
    """Return the INCAR keys of the input set and of the settings, before any structure."""
    found = _input_set(settings, None, {})
    return {**found.config_dict["INCAR"], **found.incar_updates, **found.user_incar_settings}


def plus_u_elements(settings: VaspSettings) -> frozenset[str]:
    """Return the elements of the settings that a +U acts on, in some compounds at least.

    The sets of the Materials Project list U by anion: it acts where that anion is
    the most electronegative element.
    """
    incar, named = set_incar(settings), set(settings.user_potcar_settings)
    values = incar.get("LDAUU") if incar.get("LDAU") else None
    if not isinstance(values, dict):
        return frozenset()
    flat = {element: u for element, u in values.items() if not isinstance(u, dict)}
    for anion, by_anion in values.items():
        if isinstance(by_anion, dict) and anion in named:
            flat |= by_anion
    return frozenset(element for element, u in flat.items() if u and element in named)


def release(settings: VaspSettings) -> str:
    """Return the release of potentials that is asked for, or belongs to the input set."""
    if settings.potcar_functional is not None or settings.input_set is None:
        return settings.potcar_functional or "PBE_54"
    return str(_input_set(settings, None, {}).potcar_functional)


def _written(
    settings: VaspSettings, atoms: Atoms, structure: Structure
) -> tuple[dict[str, Any], str]:
    mesh = _asked_mesh(settings, atoms)
    found = _input_set(settings, structure, mesh)
    try:
        kpoints = found.kpoints
        if kpoints is None or kpoints.style.name == "Automatic":
            # VASP would choose another mesh as the cell relaxes, and the energy would jump.
            found = _input_set(settings, structure, _fixed_mesh(found, atoms))
            kpoints = found.kpoints
        incar = {key: value for key, value in found.incar.items() if key not in NOT_WRITTEN}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"pymatgen cannot make an input of engine.user_incar_settings: {error!r}"
        ) from error
    return incar, str(kpoints)


def _asked_mesh(settings: VaspSettings, atoms: Atoms) -> Any:
    from pymatgen.io.vasp.inputs import Kpoints

    if settings.kpts is None and settings.kspacing is None:
        return dict(settings.user_kpoints_settings)
    return Kpoints.gamma_automatic(settings.kpts or k_mesh(atoms, settings.kspacing or 1.0))


def _fixed_mesh(found: Any, atoms: Atoms) -> Any:
    """Return the mesh that VASP makes of KSPACING, or of a length, for the cell of ``atoms``."""
    from pymatgen.io.vasp.inputs import Kpoints

    if found.kpoints is None:
        return Kpoints.gamma_automatic(k_mesh(atoms, float(found.incar["KSPACING"])))
    length = float(found.kpoints.kpts[0][0])
    lengths = np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    first, second, third = (max(1, int(length * each + 0.5)) for each in lengths)
    return Kpoints.gamma_automatic((first, second, third))


def _input_set(settings: VaspSettings, structure: Structure | None, kpoints: Any) -> Any:
    from pymatgen.io.vasp import sets

    chosen = {name: getattr(settings, name) for name in sorted(PATH_KEYS)}
    path = {name.upper(): value for name, value in chosen.items() if value is not None}
    incar = {**settings.user_incar_settings, **path, **SINGLE_POINT, "LWAVE": settings.lwave}
    more: dict[str, Any] = {}
    if settings.input_set is None:
        magnetic = settings.user_incar_settings.get("ISPIN") == 2
        spin = {"MAGMOM": {}, "LORBIT": 10} if magnetic else {}
        more["config_dict"] = {"INCAR": spin, "KPOINTS": {}, "POTCAR": {}}
    if settings.potcar_functional is not None:
        more["user_potcar_functional"] = settings.potcar_functional
    kind = sets.VaspInputSet if settings.input_set is None else getattr(sets, settings.input_set)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return kind(
                structure, user_incar_settings=incar, user_kpoints_settings=kpoints,
                sort_structure=False, **more,
            )  # fmt: skip
        except (ValueError, KeyError) as error:
            raise ConfigurationError(
                f"engine.input_set: {settings.input_set} refuses the settings: {error}"
            ) from error


def _structure(atoms: Atoms, order: tuple[int, ...]) -> Structure:
    moments = atoms.get_initial_magnetic_moments()
    return Structure(
        Lattice(atoms.cell.array),
        [str(atoms.symbols[index]) for index in order],
        atoms.get_scaled_positions(wrap=False)[list(order)],
        site_properties={"magmom": moments[list(order)].tolist()} if moments.any() else {},
    )
