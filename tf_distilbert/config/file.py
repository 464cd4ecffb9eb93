"""Configuration files: strict YAML into the dataclasses of `config`, and back.

A file lists only what differs from the defaults; ``key.subkey=value`` overrides take the same path.
An unknown key and a value of the wrong type are errors here, not hours later.
"""

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from tf_distilbert.assets import asset
from tf_distilbert.config.checks import in_words
from tf_distilbert.errors import UserError, nearest

if TYPE_CHECKING:  # the standard library names it for type checkers alone
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def load_config(
    kind: type[Config],
    path: str | Path,
    overrides: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Read a YAML file and overrides into a configuration.

    Args:
        kind: `DistillConfig` or `PretrainConfig`.
        path: the YAML file; ``configs/NAME.yaml`` is the package's own where there is no such file.
        overrides: ``key.subkey=value``, the value in YAML; a text value for a list key is a list
            of one.
        options: further ones, see `with_overrides`.

    Returns:
        The configuration, every default filled in.

    Raises:
        UserError: names the file or key, what is wrong, and the nearest key if one is unknown.

    Example:
        >>> load_config(DistillConfig, "configs/quickstart.yaml", ["train.steps=10"]).train.steps
        10
    """
    return parse_config(kind, with_overrides(read_yaml(_existing(Path(path))), overrides, options))


def _existing(path: Path) -> Path:
    """Find a file, or the package's own one; an installed package has its `configs/` elsewhere."""
    if path.exists() or path.parts[:-1] != ("configs",):
        return path
    own = asset("configs")
    names = ", ".join(f"configs/{each.name}" for each in sorted(own.glob("*.yaml")))
    if not (own / path.name).exists():
        raise UserError(f"{path}: no such configuration file; the package has {names}")
    return own / path.name


# Where one of these is given on the command line, the others no longer hold: what each then is.
_ALTERNATIVES: tuple[dict[str, Any], ...] = (
    {"train.steps": None, "train.epochs": None, "train.tokens": None},
    {"data.text": [], "data.records": None},
    {"data.validation": [], "data.validation_records": None, "data.validation_share": 0.0},
)


def with_overrides(
    values: dict[str, Any], overrides: Sequence[str], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Put what the command line says into nested dictionaries, before what they hold.

    One of the alternatives, as ``train.epochs`` of the ways to say how long a run is, takes the
    others' place, unless they are given as well.

    Args:
        values: nested dictionaries; changed.
        overrides: each ``key.subkey=value``, the value in YAML.
        options: further ones: values by key; None for what is not given.

    Raises:
        UserError: an override is not written so, its value is not YAML, or its key is among the
            options, too.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    found: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise UserError(f"{override!r}: a setting is written key=value, as train.steps=100")
        key = key.strip()
        if key in given:
            raise UserError(f"{key}: is given twice, as an option and as a setting; leave one out")
        if above := next((each for each in given if key.startswith(f"{each}.")), None):
            raise UserError(f"unknown key {key}: {above} is one value, without keys of its own")
        found[key] = _parse(text, override)
    found |= given
    for key, value in found.items():
        _set(values, key, value)
        for group in _ALTERNATIVES:
            if key in group and value:
                for other in group.keys() - found.keys():
                    _set(values, other, group[other])
    return values


def parse_config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Make a configuration out of nested dictionaries; as strict as `load_config`."""
    known = list(all_keys(kind))
    for key in _given_keys(kind, values):
        if key not in known:
            near = nearest(key, known)
            section = key.rpartition(".")[0]
            names = ", ".join(
                name
                for *above, name in (each.split(".") for each in known)
                if ".".join(above) == section
            )
            hint = f"did you mean {near}?" if near else f"known: {names}"
            raise UserError(f"unknown key {key}; {hint}")
    return _make(kind, values, "")


def all_keys(kind: type, prefix: str = "") -> Iterator[str]:
    """Give every key of a kind of configuration, parts before the keys within them."""
    hints = typing.get_type_hints(kind)
    for item in fields(kind):
        yield prefix + item.name
        if is_dataclass(hints[item.name]):
            yield from all_keys(hints[item.name], f"{prefix}{item.name}.")


def _given_keys(kind: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        yield f"{prefix}{name}"
        if is_dataclass(hints.get(name)) and isinstance(value, Mapping):
            yield from _given_keys(hints[name], value, f"{prefix}{name}.")


def _make(kind: type[Config], values: Mapping[str, Any], prefix: str) -> Config:
    hints = typing.get_type_hints(kind)
    arguments = {}
    for item in fields(kind):
        name = item.name
        if name in values or is_dataclass(hints[name]):
            arguments[name] = _convert(hints[name], values.get(name), prefix + name)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise UserError(f"{prefix}{name} is missing; give {prefix}{name}=...")
    return kind(**arguments)


def dump_config(config: Any) -> str:
    """Give a configuration as YAML, every default filled in."""
    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)


def _convert(hint: Any, value: Any, key: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        if value is not None and not isinstance(value, Mapping):
            raise UserError(f"{key} is {in_words(value)}; it takes keys of its own, as {key}.NAME")
        return _make(hint, value or {}, f"{key}.")
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is list:
            entries = value if isinstance(value, list) else [value]
            entry = typing.get_args(option)[0]
            if value is not None and all(_is(entry, one) for one in entries):
                return entries
        elif _is(option, value):
            return float(value) if option is float else value
    names = " or ".join(_type_name(option) for option in options)
    raise UserError(f"{key} is {in_words(value)}; it takes {names}")


def _is(kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is list:
        [entry] = typing.get_args(kind)
        return isinstance(value, list) and all(_is(entry, one) for one in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _type_name(option: Any) -> str:
    if typing.get_origin(option) is list:
        return f"a list of {_type_name(typing.get_args(option)[0])}"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(option, "null")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of keys; an empty one has none.

    Raises:
        UserError: missing, no file, not YAML, no keys, or one of them twice.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no keys; write lines of the form key: value")
    return values


# Keys that earlier versions wrote into every run. Empty, they decided nothing.
_GONE = (("loss", "layer_map"),)


def read_run(path: Path) -> dict[str, Any]:
    """Read the ``config.yaml`` of a run, which an earlier version may have written.

    Raises:
        UserError: as `read_yaml`.
    """
    values = read_yaml(path)
    for section, key in _GONE:
        keys = values.get(section)
        if isinstance(keys, dict) and key in keys and keys[key] is None:
            del keys[key]
    return values


def _parse(text: str, override: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise UserError(f"{override!r}: the value is not YAML") from None


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = dict(inner) if isinstance(inner, dict) else {}
        values = values[parent]
    values[last] = value


class _Loader(yaml.SafeLoader):
    """YAML 1.2 where it matters: 5e-4 is a number, and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key} stands twice")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
