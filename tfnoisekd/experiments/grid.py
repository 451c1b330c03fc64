"""A grid: the axes of an experiment, read from YAML, and the runs that they span."""

import itertools
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfnoisekd import config, methods
from tfnoisekd.config import Config
from tfnoisekd.experiments.overriding import overridden
from tfnoisekd.experiments.questions import Question, matches
from tfnoisekd.names import nearest

FOLDERS = ("paper", "mini")  # of the grids that are shipped with the package
VIEWS = Literal[
    "table1", "table2", "table3", "table4", "table5", "figure2", "figure3", "figure4", "figure5"
]  # of the paper
# Settings that make no difference where there is no teacher, or none of a network that is trained here.
OF_TEACHERS = ("teacher", "teacher_seeds", "teacher_epochs", "teacher_milestones")


class Compared(BaseModel):
    """Cells that match `of` are compared with those that match `against` and have equal axes otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: dict[str, Any]
    against: dict[str, Any]


class Grid(BaseModel):
    """An experiment: settings that all runs share, axes that they differ in, and what is asked of their models.

    Attributes:
        name: Part of file names; the file's own where it is not given.
        title: One line for people.
        note: On what scale, for people; stands with every table.
        paper: What of the paper it rebuilds, if anything.
        stands_for: "cifar10" or "svhn", whose printed numbers stand beside those of other data.
        shared: Settings of all runs, as `Config` has them. The settings of teachers count where there is one,
            and `teacher_cache` where what it says can be kept: not with a fickle teacher or whole feature maps.
        axes: Dict of setting -> values, for every block.
        blocks: List of such dicts, each of which is a product of its own with `axes`; a single value needs no list.
        evaluations: List of `Question`.
        comparisons: List of `Compared`, for the report.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$")
    title: str = ""
    note: str = ""
    paper: VIEWS | None = None
    stands_for: Literal["cifar10", "svhn"] | None = None
    shared: dict[str, Any] = {}
    axes: dict[str, Any] = {}
    blocks: list[dict[str, Any]] = []
    evaluations: list[Question] = []
    comparisons: list[Compared] = []


class Cell:
    """One combination of axes, seeds aside.

    Attributes:
        axes: Dict of axis -> value.
        configs: Dict of seed -> resolved `Config`.
        questions: List of what is asked of its runs, as `Question.asked` gives it.
        teacher_questions: The same of their teachers.
    """

    def __init__(self, axes, configs, questions):
        self.axes, self.configs = axes, configs
        self.questions = [each.asked() for each in questions if each.concerns(axes)]
        self.teacher_questions = [each.asked() for each in questions if each.teachers and each.concerns(axes)]


def cells(grid):
    """All cells of a grid, in its order, each combination once.

    Raises:
        ValueError: If an axis or setting does not exist, or a combination is no possible configuration.
    """
    found = {}
    for block in grid.blocks or [{}]:
        axes = {**grid.axes, **block}
        for name in axes:
            _check_setting(name, "axes")
        values = [each if isinstance(each, list) else [each] for each in axes.values()]
        if not all(values):
            raise ValueError(
                f"`axes` must have at least one value each. Received: none for {list(axes)[values.index([])]}"
            )
        for combination in itertools.product(*values):
            chosen = dict(zip(axes, combination, strict=True))
            seed = chosen.pop("seed", grid.shared.get("seed", 0))
            place = tuple(sorted((key, repr(value)) for key, value in chosen.items()))
            found.setdefault(place, (chosen, {}))[1][seed] = _resolved(grid.shared, {**chosen, "seed": seed})
    made = [Cell(axes, configs, grid.evaluations) for axes, configs in found.values()]
    _check_names(grid, made)
    return made


def _resolved(shared, chosen):
    method = methods.get({**shared, **chosen}.get("method", Config.model_fields["method"].default))
    dropped = set() if method.distils else {*OF_TEACHERS}
    if not method.cacheable:
        dropped.add("teacher_cache")
    kept = {key: value for key, value in shared.items() if key not in dropped or key in chosen}
    return methods.resolve(config.build(kept, chosen))


def _check_setting(name, where):
    if name not in Config.model_fields:
        raise ValueError(
            f"`{where}` must name settings of `tfnoisekd train`. Received: {name}."
            f"{nearest(str(name), Config.model_fields)}"
        )


def _check_names(grid, made):
    """Refuses names of axes that no run has, which would silently concern none."""
    axes = list(dict.fromkeys(name for cell in made for name in cell.axes))
    sides = [(f"evaluations, {each.name}, where", each.where) for each in grid.evaluations]
    sides += [(f"comparisons, {key}", getattr(each, key)) for each in grid.comparisons for key in ("of", "against")]
    for where, names in sides:
        for name in names:
            if name not in axes:
                raise ValueError(
                    f"`{where}` must name axes of the grid ({', '.join(axes)}). Received: {name}.{nearest(name, axes)}"
                )
        if not any(matches(names, cell.axes) for cell in made):
            raise ValueError(f"`{where}` must match a cell of the grid. Received: {names}, which matches none")


def build(settings, name="grid"):
    """A `Grid` from a mapping.

    Raises:
        ValueError: On an unknown key (the nearest one named) or a wrong value.
    """
    for key in settings:
        if key not in Grid.model_fields:
            raise ValueError(f"Unknown key `{key}` of a grid.{nearest(str(key), Grid.model_fields)}")
    for key in settings.get("shared") or {}:
        _check_setting(key, "shared")
    try:
        grid = Grid(**{**settings, "name": settings.get("name") or name})
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"`{place}` of the grid: {message}. Received: {problem['input']!r}") from None
    return grid


def load(source, overrides=None):
    """A `Grid` from a YAML file, or from one shipped with the package, such as "mini/table1".

    Args:
        source: Path of a YAML file, or a shipped name.
        overrides: Mapping of settings that win over the file's, for all runs; an axis of the file, or of a block, that
            is named here becomes that single value or that list of values. Evaluations and comparisons that name a
            value which it loses are of any of the new ones.

    Raises:
        FileNotFoundError: If there is neither such a file nor such a name.
        ValueError: If the file is no grid.
    """
    settings = config.read_yaml(source, shipped())
    for name in overrides or {}:
        _check_setting(name, "--set")
    return build(overridden(settings, overrides or {}), Path(str(source)).stem)


def only(grid, where):
    """A part of a grid: the cells that have some values, and the evaluations and comparisons of these.

    Args:
        grid: `Grid`.
        where: Mapping of axis -> value or list of values.

    Raises:
        ValueError: If no cell has them, or one of several values.
    """
    kept = [cell for cell in cells(grid) if matches(where, cell.axes)]
    asked = [{name: each} for name, value in where.items() for each in (value if isinstance(value, list) else [value])]
    if not kept or not all(any(matches(each, cell.axes) for cell in kept) for each in asked):
        axes = list(dict.fromkeys(name for cell in cells(grid) for name in cell.axes))
        hint = next((nearest(name, axes) for name in where if name not in axes), "")
        raise ValueError(f"`only` must match a cell of {grid.name} ({', '.join(axes)}). Received: {where}.{hint}")

    def there(side):
        return any(matches(side, cell.axes) for cell in kept)

    parts = {
        "axes": {},
        "blocks": [{**cell.axes, "seed": list(cell.configs)} for cell in kept],
        "evaluations": [each for each in grid.evaluations if there(each.where)],
        "comparisons": [each for each in grid.comparisons if there(each.of) and there(each.against)],
    }
    return grid.model_copy(update=parts)


def shipped():
    """Names of the grids that come with the package, such as "paper/table1"."""
    found = []
    for folder in FOLDERS:
        files = (resources.files("tfnoisekd.configs") / folder).iterdir()
        found += [f"{folder}/{file.name.removesuffix('.yaml')}" for file in files if file.name.endswith(".yaml")]
    return sorted(found)


def with_other_data(grid, source):
    """A grid that asks about another out-of-distribution data set; the same one where `source` is None.

    Raises:
        ValueError: If the grid does not ask about any.
    """
    if source is None:
        return grid
    if not any(each.ood for each in grid.evaluations):
        raise ValueError(
            f"`ood` is for grids that ask about other data, and {grid.name} does not. Received: ood={source}"
        )
    asked = [each.model_copy(update={"ood": source}) if each.ood else each for each in grid.evaluations]
    return grid.model_copy(update={"evaluations": asked})
