"""CampaignSpec: everything that a campaign is, validated before anything runs.

An unknown key, a wrong unit or an impossible combination is refused with its YAML
path, what was found and what is allowed. A spec holds no command, no path of a
program and no secret: those live on the machine, in profiles and the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from leadline.flows import spec_form
from leadline.flows.spec_compute import ComputeSpec
from leadline.flows.spec_objective import HullObjective, Objective
from leadline.flows.spec_section import Section
from leadline.surrogate.errors import SurrogateError
from leadline.tasks.errors import SpecError
from leadline.tasks.quantities import Hours
from leadline.tasks.recipes.recipe_settings import CheapEngine
from leadline.tasks.remedies import Use
from leadline.tasks.settings import Named, unkeepable

FORMAT = 1

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
REFUSED = "refused_settings"
"""Type of the error that holds what a table refused: a line for each key."""


def _accepted(look_up: Callable[[], object], section: str, under: str = "") -> None:
    """Let pydantic gather what a table refuses of a section, less the section's own name.

    ``under`` is where the section stands in the one that pydantic names.
    """
    try:
        look_up()
    except SpecError as error:
        lines = [under + line.removeprefix(section) for line in str(error).splitlines()]
        raise PydanticCustomError(REFUSED, "{words}", {"words": "\n".join(lines)}) from None


class SourceSpec(Named):
    """A source of candidates and its settings."""

    source: str = Field(
        description="orderings, prototypes, files, dataset, or an installed one",
        json_schema_extra=spec_form.sources,
    )

    @model_validator(mode="after")
    def _settings_hold(self) -> SourceSpec:
        from leadline.tasks.candidates.table import source_settings

        _accepted(lambda: source_settings(self.source, self.settings), "candidates")
        return self


class EngineSpec(Named):
    """The engine that computes structures, and its settings."""

    name: str = Field(
        description="emt, espresso, replay, or an installed one",
        json_schema_extra=spec_form.engines,
    )

    @model_validator(mode="after")
    def _settings_hold(self) -> EngineSpec:
        from leadline.tasks.engines.table import engine_settings

        _accepted(lambda: engine_settings(self.name, self.settings), "engine")
        return self


class RecipeSpec(Named):
    """What is computed with the engine, and to what tolerance."""

    name: str = Field(
        default="static",
        description="static, relax, or another by its name",
        json_schema_extra=spec_form.recipes,
    )

    @model_validator(mode="after")
    def _settings_hold(self) -> RecipeSpec:
        from leadline.tasks.recipes.table import recipe_settings

        _accepted(lambda: recipe_settings(self.name, self.settings), "recipe")
        if prerelax := getattr(recipe_settings(self.name, self.settings), "prerelax", None):
            self._cheap_engine_holds(prerelax.engine)
        return self

    def _cheap_engine_holds(self, cheap: CheapEngine) -> None:
        from leadline.tasks.engines.table import engine_settings

        where = ".prerelax.engine"
        _accepted(lambda: engine_settings(cheap.name, cheap.settings), "engine", where)
        if cheap.name == "replay":
            words = "found 'replay'; allowed: an engine that computes, as emt or chgnet"
            raise PydanticCustomError(REFUSED, "{words}", {"words": f"{where}.name: {words}"})


class ChecksSpec(Section):
    """What a candidate must be to enter the pool."""

    shortest_distance: float = Field(
        default=0.5, ge=0, le=1.5, description="of two atoms, in sums of their covalent radii"
    )
    max_sites: int = Field(default=200, ge=1, description="atoms in a cell")
    charge_balance: bool = Field(default=False, description="drop what cannot be charge-neutral")


class MagnetismSpec(Section):
    """Which magnetic orderings each candidate is computed in: structures of their own."""

    moments: dict[str, Annotated[float, Field(gt=0, le=12)]] = Field(
        min_length=1, description="initial moment of each magnetic element, μB an atom"
    )
    orderings: list[Literal["ferromagnetic", "antiferromagnetic", "nonmagnetic"]] = Field(
        default_factory=lambda: ["ferromagnetic"],  # type: ignore[arg-type]
        min_length=1,
        description="all up, as many up as down, none; each given one is tried",
    )
    most: int = Field(
        default=4, ge=1, le=50, description="antiferromagnetic orderings of one structure"
    )

    @field_validator("moments")
    @classmethod
    def _elements_exist(cls, value: dict[str, float]) -> dict[str, float]:
        from leadline.tasks.candidates.source import known_elements

        known_elements(value)
        return value


class RemediesSpec(Section):
    """What is done where an engine can only go on with other physics."""

    physics: Use = Field(
        default="never",
        description="never: such a remedy is named and not computed; apart: as a calculation of "
        "its own that is shown and counts nowhere; together: its label counts for the structure",
    )


class SurrogateSpec(Section):
    """The Gaussian process and its features."""

    descriptor: str = Field(
        default="auto",
        description="auto, composition, soap, pair-correlations, or installed",
        json_schema_extra=spec_form.descriptors,
    )
    kernel: Literal["auto", "isotropic", "ard", "isotropic+linear"] = Field(
        default="auto",
        description="one lengthscale, one for each feature, one and a slope; auto compares them",
    )
    noise_floor: float = Field(
        default=1e-3, gt=0, le=1, description="least noise variance, in variances of the target"
    )

    @field_validator("descriptor")
    @classmethod
    def _descriptor_is_known(cls, value: str) -> str:
        from leadline.surrogate.descriptors.table import descriptor_names

        if value not in (names := descriptor_names()):
            raise ValueError(f"found {value!r}; allowed: {', '.join(names)}")
        return value


class AcquisitionSpec(Section):
    """Which candidates are worth a calculation."""

    name: str = Field(
        default="auto",
        description="auto picks by the objective",
        json_schema_extra=spec_form.acquisitions,
    )
    batch: int = Field(default=10, ge=1, le=1000, description="picks of a round")
    uncertainty_share: float = Field(
        default=0.05, ge=0, le=1, description="share of picks by uncertainty alone"
    )
    random_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of picks at random, which keep calibration honest",
    )

    @model_validator(mode="after")
    def _shares_leave_room(self) -> AcquisitionSpec:
        shares = self.uncertainty_share + self.random_share
        if shares > 1:
            raise ValueError(
                f"found uncertainty_share + random_share = {shares:g}; allowed: at most 1"
            )
        return self


class StoreSpec(Section):
    """Where records are kept; the embedded store of the working folder by default."""

    uri_from: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$",
        description="environment variable or Prefect secret block that holds the MongoDB URI",
    )
    patience: Hours = Field(
        default=24.0,
        ge=0,
        description="hours that a run waits for a database server that went away",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_uri(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "uri" in data:
            raise ValueError(
                "found a key uri, which is not allowed, since specs are stored and shown; set "
                "LEADLINE_MONGODB_URI, or name an environment variable or a Prefect secret block "
                "in store.uri_from"
            )
        return data


class KnownSpec(Section):
    """Results that people already have, computed with this campaign's settings."""

    path: str = Field(description="extxyz or ASE database with energies")
    energy_key: str = Field(
        default="energy", description="info key of the total energy in eV; `energy` is ASE's own"
    )
    fingerprint: str = Field(
        description="fingerprint of the engine that gave them, or 'same' to declare it this one's"
    )


class StartSpec(Section):
    """How the campaign begins."""

    random: int = Field(default=10, ge=1, description="random picks of the first round")
    known: list[KnownSpec] = Field(default_factory=list, description="results at hand")


class ReviewSpec(Section):
    """Whether a person is asked about the picks of a round before they are calculated."""

    silence: Literal["wait", "approve", "veto"] = Field(
        default="wait", description="what becomes of picks that nobody speaks about"
    )
    after: Hours = Field(
        default=24.0, gt=0, description="hours after which silence approves or vetoes"
    )


class StopSpec(Section):
    """When the campaign has done enough: the first rule that answers stops it."""

    calculations: int | None = Field(
        default=None, ge=1, description="calculations, the elements not counted"
    )
    hours: Hours | None = Field(default=None, gt=0, description="hours of wall time, all runs")
    node_hours: float | None = Field(
        default=None,
        gt=0,
        description="node-hours of engines, all runs; picks are then chosen by their worth a cost",
    )
    rounds_without_discovery: int | None = Field(
        default=None, ge=1, description="rounds in a row that found nothing new"
    )
    expected_missed: float | None = Field(
        default=0.5, gt=0, description="stop when fewer phases than this are expected to be missing"
    )


class CampaignSpec(Section):
    """Everything that a campaign is."""

    leadline: Literal[1] = Field(default=1, description="version of this file's format")
    name: str = Field(
        pattern=NAME,
        description="1 to 63 lower-case letters, digits and dashes, the first no dash",
    )
    description: str = Field(default="", description="for people")
    seed: int = Field(default=0, ge=0, description="of every random choice")
    objective: Objective = Field(
        default_factory=HullObjective, description="what is looked for: a hull, or one property"
    )
    candidates: list[SourceSpec] = Field(
        min_length=1,
        description="sources of structures and their settings, e.g. "
        '{"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 8}; '
        + spec_form.JSON_INPUT,
    )
    checks: ChecksSpec = Field(
        default_factory=ChecksSpec, description="what a candidate must be to enter the pool"
    )
    magnetism: MagnetismSpec | None = Field(
        default=None, description="magnetic orderings of the candidates; as they are by default"
    )
    engine: EngineSpec = Field(
        description="what computes structures and its settings, e.g. "
        '{"name": "emt"}; ' + spec_form.JSON_INPUT
    )
    recipe: RecipeSpec = Field(
        default_factory=RecipeSpec,
        description="what is computed and to what tolerance, e.g. "
        '{"name": "relax", "fmax": 0.02}; ' + spec_form.JSON_INPUT,
    )
    remedies: RemediesSpec = Field(
        default_factory=RemediesSpec, description="what is done where an engine fails"
    )
    surrogate: SurrogateSpec = Field(
        default_factory=SurrogateSpec, description="the Gaussian process and its features"
    )
    acquisition: AcquisitionSpec = Field(
        default_factory=AcquisitionSpec, description="which candidates are worth a calculation"
    )
    compute: ComputeSpec = Field(
        default_factory=ComputeSpec, description="where calculations run, and how many at once"
    )
    store: StoreSpec = Field(default_factory=StoreSpec, description="where records are kept")
    start: StartSpec = Field(default_factory=StartSpec, description="how the campaign begins")
    review: ReviewSpec | None = Field(
        default=None, description="a person's verdict on each round's picks; none by default"
    )
    stop: StopSpec = Field(
        default_factory=StopSpec, description="when it has done enough: the first rule that answers"
    )

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, data: Any) -> Any:
        if problem := unkeepable(data):
            raise PydanticCustomError(REFUSED, "{words}", {"words": problem})
        return data

    @field_validator("review", mode="before")
    @classmethod
    def _review_is_on_or_off(cls, value: Any) -> Any:
        """Take ``true`` and ``false`` for a review by the rule of default and for none."""
        return ({} if value else None) if isinstance(value, bool) else value

    @field_validator("objective", mode="before")
    @classmethod
    def _hull_is_the_default_kind(cls, value: Any) -> Any:
        return {"kind": "hull", **value} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _combination_is_possible(self) -> CampaignSpec:
        for refuse in (self._acquisition_fits, self._budget_fits, self._recipe_fits):
            refuse()
        return self

    def _acquisition_fits(self) -> None:
        from leadline.surrogate.acquisition import acquisition

        try:
            acquisition(self.acquisition.name, self.objective.kind)
        except SurrogateError as error:
            raise ValueError(f"acquisition.name: {error}") from None

    def _budget_fits(self) -> None:
        budget = self.stop.calculations
        if budget is not None and self.start.random > budget:
            raise ValueError(
                f"start.random: found {self.start.random}; allowed: at most stop.calculations, "
                f"which is {budget}"
            )
        if all(rule is None for _, rule in self.stop):
            raise ValueError(
                "stop: found no rule; allowed: at least one of " + ", ".join(StopSpec.model_fields)
            )

    def _recipe_fits(self) -> None:
        if self.engine.name == "replay" and self.recipe.name != "static":
            raise ValueError(
                f"recipe.name: found {self.recipe.name!r}; allowed: static, since engine.name is "
                "'replay', which answers from a data set and relaxes nothing"
            )
        from leadline.tasks.engines.table import engine_class
        from leadline.tasks.recipes.table import recipe_class

        if recipe_class(self.recipe.name).needs_bands and not engine_class(self.engine.name).bands:
            raise ValueError(
                f"recipe.name: found {self.recipe.name!r}, which needs eigenvalues, and the engine "
                f"{self.engine.name!r} gives none; allowed: another recipe, or an engine with "
                "bands: abinit, espresso, gpaw, vasp"
            )
