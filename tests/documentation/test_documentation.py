"""What the pages say is so: links lead somewhere, commands parse, messages are in the code."""

import ast
import inspect
import re
import shlex
from functools import cache
from pathlib import Path

import keras
import pytest
import yaml

import tf_distilbert
from tf_distilbert.cli.main import parse
from tf_distilbert.config.file import load_config
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.version import __version__

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
RECIPE = (ROOT / "docs" / "recipe.md").read_text("utf-8").partition("## Less than that")[2]
PUBLIC = [name for name in tf_distilbert.__all__ if name != "__version__"]


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(path):
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(path):
    return re.findall(r"\]\(([^()\s]+)\)", prose(path))


def anchors(path):
    """The ends of links to headings, as GitHub and MkDocs both make them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def commands(path):
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    found = re.findall(r"tf-distilbert .*", text)
    return [line for line in found if line.split()[1] not in ("VERB",)]


COMMANDS = [(page, command) for page in DOCS for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[c for _, c in COMMANDS])
def test_commands_parse(page, command):
    options = parse(shlex.split(command, comments=True)[1:])
    if str(getattr(options, "config", "")).startswith("configs/"):
        kind = {"distill": DistillConfig, "pretrain": PretrainConfig}[options.verb]
        load_config(kind, ROOT / options.config, options.overrides)


@pytest.mark.parametrize("change", re.findall(r"^\|.*\| `([\w.]+=[^`]*)`", RECIPE, re.MULTILINE))
def test_a_change_of_the_recipe_is_one(change):
    path = ROOT / "configs" / "distilbert-base-uncased.yaml"
    changed = load_config(DistillConfig, path, shlex.split(change))
    assert changed != load_config(DistillConfig, path)


def test_the_recipe_has_changes():
    assert RECIPE.count("| `") >= 3


def test_there_are_many_commands():
    assert len(COMMANDS) > 40


@cache
def texts_in_code():
    """Every text in the package, an ellipsis for each part that is filled in."""
    found = []
    for path in (ROOT / "tf_distilbert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                found.append("".join(parts))
    return found


def quoted_messages():
    """What the first columns of the page quote; the last section is of other programs."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    ours = page.partition("## What others say")[0]
    return [found[1] for found in re.findall(r"^\| (`+) ?(.*?) ?\1 \| ", ours, re.MULTILINE)]


def test_many_messages_are_quoted():
    assert len(quoted_messages()) > 90


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_is_in_the_code(message):
    assert len(message.replace("…", "")) > 10
    assert any(message in text for text in texts_in_code())


def nav_pages(entries):
    for entry in entries:
        value = entry if isinstance(entry, str) else next(iter(entry.values()))
        yield from [value] if isinstance(value, str) else nav_pages(value)


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = list(nav_pages(yaml.safe_load(text)["nav"]))
    there = {page.relative_to(ROOT / "docs").as_posix() for page in DOCS}
    assert len(listed) == len(set(listed))
    assert there == set(listed)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_has_every_public_name(name):
    pages = [path.read_text("utf-8") for path in DOCS if path.parent.name == "reference"]
    assert (
        sum(len(re.findall(rf"^::: tf_distilbert\.{name}$", p, re.MULTILINE)) for p in pages) == 1
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_names_what_goes_in_and_what_comes_out(name):
    value = getattr(tf_distilbert, name)
    text = inspect.getdoc(value)
    if name in ("UserError", "Records"):  # takes its message; is made by `Records.open`
        return
    for parameter in inspect.signature(value).parameters:
        if parameter == "kwargs" and issubclass(value, keras.Model):
            continue  # of Keras: `name`, `dtype`
        assert re.search(rf"^ +[\w*, ]*\b{parameter}\b[\w*, ]*:", text, re.MULTILINE), parameter
    returns = inspect.signature(value).return_annotation
    if inspect.isfunction(value) and returns not in (None, inspect.Signature.empty):
        assert "Returns:" in text
    if inspect.isfunction(value):
        assert "Raises:" in text


def test_the_recipe_quotes_the_estimate():
    recipe = (ROOT / "docs" / "recipe.md").read_text("utf-8")
    scaling = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d . \w.*?) \| (\S+) to (\S+) \| (\d+) \| (.*?) \|$", recipe, re.M)
    assert len(rows) == 4
    for devices, slow, fast, hours, memory in rows:
        assert re.search(rf"^\| {devices} \| {slow} \| \S+ \| {fast} \| {hours} \|", scaling, re.M)
        assert re.search(rf"^\| {devices} \|.*\| {memory} \|$", scaling, re.M)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    [paper] = citation["references"]
    assert paper["authors"][0]["family-names"] == "Sanh"


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert text.count("\n") == 202
    assert "9. Accepting Warranty or Additional Liability." in text
