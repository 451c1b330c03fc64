"""Command-line options made from the fields of `Config`, so that each setting is described in one place."""

import typing

import click
import yaml

from tfnoisekd.config import Config

# The settings that decide which images a model is judged on.
DATA_SETTINGS = ("data", "data_dir", "image_size", "validation_size", "test_size", "split_seed", "skip_bad_images")
DATA_SETTINGS += ("unsafe",)
# Those that change training labels only.
CORRUPTION_SETTINGS = ("label_corruption", "corruption_kind", "corruption_seed", "corruption_file")


def settings(only=None):
    """Decorator that adds an option for each setting (or those named in `only`), `None` where not given."""
    fields = {name: field for name, field in Config.model_fields.items() if only is None or name in only}

    def decorate(function):
        for name, field in reversed(fields.items()):
            flag = f"--{name.replace('_', '-')}"
            text = field.description or ""
            if field.default is not None and field.default is not False:
                text = f"{text}  [{_show(field.default)}]".strip()
            if _holds(field, bool):
                off = "" if field.default is False else f"/--no-{name.replace('_', '-')}"
                option = click.option(flag + off, name, default=None, is_flag=True, help=text)
            else:
                option = click.option(flag, name, metavar=_metavar(field), default=None, help=text)
            function = option(function)
        return function

    return decorate


def given(values):
    """The settings that were given, as YAML would read them; ranges are `Config`'s business."""
    return {name: _parse(name, value) for name, value in values.items() if value is not None}


def _parse(name, value):
    field = Config.model_fields[name]
    if isinstance(value, bool) or _holds(field, str):
        return value
    if _holds(field, tuple):
        return [_plain(part) for part in value.split(",")]
    return _plain(value)


def _plain(text):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _kinds(annotation):
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is tuple:
        return {tuple}
    if typing.get_origin(annotation) is typing.Literal:
        return {type(choice) for choice in typing.get_args(annotation)}
    parts = typing.get_args(annotation)
    return set().union(*(_kinds(part) for part in parts)) if parts else {annotation}


def _holds(field, kind):
    return kind in _kinds(field.annotation)


def _metavar(field):
    if typing.get_origin(field.annotation) is typing.Literal:
        return "|".join(typing.get_args(field.annotation))
    names = {str: "TEXT", int: "N", float: "X", tuple: "X,X,..."}
    return "|".join(names[kind] for kind in names if _holds(field, kind))


def _show(default):
    return "on" if default is True else default
