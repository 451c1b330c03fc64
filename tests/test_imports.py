"""Who may import whom, read off the sources, and what an import of the package loads."""

import ast
import pathlib

import pytest

import tfnoisekd

ROOT = pathlib.Path(tfnoisekd.__file__).resolve().parent
REPOSITORY = ROOT.parent

# A part may import what stands on its line, and whatever that may import.
ALLOWED = {
    "names": [],
    "replicas": [],
    "seeds": [],
    "noise": ["replicas"],
    "losses": [],
    "distillation_losses": ["losses"],
    "keras_losses": ["distillation_losses"],
    "inspection": [],
    "features": ["inspection", "names"],
    "architectures": [],
    "pretrained": ["names"],
    "models": ["architectures", "pretrained"],
    "config": ["names"],
    "provenance": [],
    "disk": [],
    "checkpoints": ["disk"],
    "runs": ["disk", "provenance"],
    "optimizers": [],
    "checks": ["noise", "keras_losses", "inspection"],
    "pair": ["checks", "features", "seeds"],
    "distiller": ["pair"],
    "methods": ["distiller", "config", "names"],
    "data": ["config", "names"],
    "teacher_cache": ["data", "features", "inspection", "disk", "provenance"],
    "evaluation": ["models", "data", "features"],
    "ledger": ["disk", "provenance"],
    "answer_keys": [],
    "assessment": ["evaluation", "ledger", "answer_keys"],
    "devices": [],
    "fitting": ["data", "distiller", "optimizers", "teacher_cache"],
    "teachers": ["methods", "models", "evaluation", "teacher_cache", "runs"],
    "training": ["teachers", "fitting", "checkpoints", "devices"],
    "experiments": ["training", "assessment"],
    "report": ["experiments"],
    "export": ["models", "runs", "evaluation"],
}
LIBRARY = sorted(path for path in ROOT.rglob("*.py"))
SOURCES = LIBRARY + sorted((REPOSITORY / "export").rglob("*.py"))


def name_of(path):
    return path.relative_to(REPOSITORY).as_posix()


def part_of(path):
    """The part a file belongs to: `tfnoisekd/noise.py` and `tfnoisekd/evaluation/ood.py` -> noise, evaluation."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return parts[1] if parts[0] == "tfnoisekd" else parts[0]


def below(part):
    """All parts that a part may import."""
    found = set(ALLOWED[part])
    return found.union(*(below(other) for other in found))


def imported(nodes):
    """Dotted names that some nodes import; a name taken `from` a module counts as one of its modules."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_module_level(node):
    """Nodes that run when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from at_module_level(child)


def own_parts(path):
    """Parts of ours that a file imports, wherever in the file."""
    names = [name.split(".") for name in imported(ast.walk(ast.parse(path.read_text())))]
    return {name[1] for name in names if name[0] == "tfnoisekd" and len(name) > 1 and not name[1].startswith("__")}


def test_the_table_has_no_circles():
    for part in ALLOWED:
        assert part not in below(part)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path):
    if path == ROOT / "__init__.py":
        assert own_parts(path) == set()  # public names are imported on first use
        return
    part = part_of(path)
    assert part in ALLOWED, f"{part} is not in the table of who may import whom"
    assert own_parts(path) <= below(part) | {part}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_imports_neither_the_command_line_nor_export(path):
    names = [name.split(".") for name in imported(ast.walk(ast.parse(path.read_text())))]
    assert not [name for name in names if name[0] in ("cli", "export") or name[:2] == ["tfnoisekd", "cli"]]
    assert "export" not in own_parts(path)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_no_library_module_imports_tensorflow_when_it_is_imported(path):
    roots = {name.split(".")[0] for name in imported(at_module_level(ast.parse(path.read_text())))}
    assert "tensorflow" not in roots


def test_the_checks_see_what_they_look_for(tmp_path):
    source = tmp_path / "module.py"
    source.write_text(
        "import os\n"
        "try:\n    import tensorflow as tf\nexcept ImportError:\n    pass\n"
        "class A:\n    from tfnoisekd import losses, models\n"
        "def f():\n    import jax\n    from tfnoisekd.data import load\n"
    )
    tree = ast.parse(source.read_text())
    assert {name.split(".")[0] for name in imported(at_module_level(tree))} == {"os", "tensorflow", "tfnoisekd"}
    assert own_parts(source) == {"losses", "models", "data"}


def test_importing_the_package_loads_neither_keras_nor_tensorflow(run_python):
    run_python(
        "import sys, tfnoisekd\n"
        "assert tfnoisekd.__version__ and 'Distiller' in dir(tfnoisekd)\n"
        "loaded = {'keras', 'tensorflow', 'jax', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )


def test_public_names_are_found_where_they_live():
    from tfnoisekd import distillation_losses, distiller, models, noise

    assert tfnoisekd.Distiller is distiller.Distiller
    assert tfnoisekd.Hinton is distillation_losses.Hinton
    assert tfnoisekd.wide_resnet is models.wide_resnet
    for name in ("InputNoise", "LabelNoise", "TeacherDropout"):
        assert getattr(tfnoisekd, name) is getattr(noise, name)
    assert {"Distiller", "losses"} <= set(dir(tfnoisekd))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tfnoisekd' has no attribute 'Destiller'"):
        tfnoisekd.Destiller  # noqa: B018
