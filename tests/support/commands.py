"""Commands as the tests give them, and what these leave in a folder."""

from tf_distilbert.cli.main import main


def run(*arguments):
    return main([str(argument) for argument in arguments])


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:-num_bytes])


def left(folder):
    """Names of what is in a folder, but for what is marked as unfinished."""
    if not folder.exists():
        return set()
    return {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}


def tree(folder):
    """Paths of all that is below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
