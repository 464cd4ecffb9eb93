"""What MkDocs needs beside `mkdocs.yml`: links out of ``docs/``, and the command line's help.

A page may link to any file of the repository, as on GitHub: ``[chaos.py](../tools/chaos.py)``. The
site has no repository around it, so such a file becomes a page of the site, ``repository/...``: a
Markdown file as a page like others, any other as its text, a folder as the list of its files.
"""

import os
import re
import sys
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FOLDER = "repository"
VERBS_MARK = "<!-- verbs -->"

_LINK = re.compile(r"(\]\()([^()\s]+)(\))")
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".cff": "yaml"}


# What each page of the site was made from: its path in the repository.
_sources: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that a page links to, and that these link to."""
    _sources.clear()
    waiting = []
    for file in files.documentation_pages():
        _sources[file.src_uri] = f"docs/{file.src_uri}"
        waiting.append((f"docs/{file.src_uri}", file.content_string))
    while waiting:
        source, text = waiting.pop()
        for target in _targets(text, source):
            uri = _page_of(target)
            if uri in _sources or target == f"docs/{uri}":
                continue
            content = _content(ROOT / target, target)
            files.append(File.generated(config, uri, content=content))
            _sources[uri] = target
            if target.endswith(".md"):
                waiting.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to their pages; fill in the verbs."""
    uri = page.file.src_uri
    source = _sources[uri]
    if not source.endswith(".md"):
        return markdown
    markdown = markdown.replace(VERBS_MARK, _verbs()) if VERBS_MARK in markdown else markdown

    def relinked(match: re.Match) -> str:
        path, mark, anchor = match[2].partition("#")
        target = _resolve(path, source)
        if target is None:
            return match[0]
        there = relpath(_page_of(target), dirname(uri) or ".")
        return f"{match[1]}{there}{mark}{anchor}{match[3]}"

    parts = _FENCE.split(markdown)  # what looks like a link in code is none
    return "".join(p if p.startswith("```") else _LINK.sub(relinked, p) for p in parts)


def _targets(text: str, source: str) -> list[str]:
    prose = _FENCE.sub("", text)
    found = (_resolve(match[2].partition("#")[0], source) for match in _LINK.finditer(prose))
    return [target for target in found if target is not None]


def _resolve(path: str, source: str) -> str | None:
    """Give the file or folder of the repository that a link leads to; None if it is none."""
    if not path or ":" in path:
        return None
    target = normpath(f"{dirname(source)}/{path}" if dirname(source) else path)
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def _page_of(target: str) -> str:
    """Give the place in the site of a file of the repository."""
    if target.startswith("docs/") and (ROOT / target).is_file():
        return target.removeprefix("docs/")
    name = "/".join(part.lstrip(".") for part in target.split("/"))
    return f"{FOLDER}/{name}" if name.endswith(".md") else f"{FOLDER}/{name}.md"


def _content(path: Path, target: str) -> str:
    if path.is_dir():
        names = sorted(file.name + "/" * file.is_dir() for file in path.iterdir())
        lines = [f"- `{name}`" for name in names if not name.startswith(("__pycache__", "."))]
        return f"# {target}\n\n" + "\n".join(lines) + "\n"
    text = path.read_text("utf-8")
    if target.endswith(".md"):
        return text
    language = _LANGUAGES.get(path.suffix, "text")
    return f"# {target}\n\n````{language}\n{text.rstrip()}\n````\n"


def _verbs() -> str:
    """Give the help of every verb, as the command line prints it."""
    sys.path.insert(0, str(ROOT))
    from tf_distilbert.cli.options import make_parser, verbs_of

    os.environ["COLUMNS"] = "88"
    return "\n".join(
        f"## {name}\n\n```text\n{verb.format_help().strip()}\n```\n"
        for name, verb in verbs_of(make_parser()).items()
    )
