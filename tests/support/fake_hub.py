"""A Hugging Face Hub on the loopback address: as much of its HTTP as `huggingface_hub` asks for."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".h5")  # kept in LFS, which the Hub redirects to another place


class FakeHub:
    """Serves repositories; counts what is asked. Use it in a `with` statement.

    ``refuse`` maps the beginning of a path to (status, error code): what is answered there.
    ``hang_up`` closes every connection without an answer.
    """

    def __init__(self):
        self.commits = {}  # (repository, revision or commit) -> (commit, files)
        self.requests = []
        self.refuse = {}
        self.hang_up = False
        # The second is the place that large files are redirected to, another host than the Hub.
        self.servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), self.make_handler()) for _ in range(2)
        ]
        self.endpoint, self.cdn = (f"http://127.0.0.1:{s.server_port}" for s in self.servers)
        self.threads = []

    def __enter__(self):
        for server in self.servers:
            self.threads.append(threading.Thread(target=server.serve_forever, args=(0.01,)))
            self.threads[-1].start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        while self.servers:
            server = self.servers.pop()
            server.shutdown()
            server.server_close()
            self.threads.pop().join()

    def push(self, repository, files, revision="main"):
        """Make a commit and give its hash."""
        files = {name: content.encode() for name, content in files.items()}
        commit = hashlib.sha1(repr((repository, sorted(files.items()))).encode()).hexdigest()
        for name in (revision, commit):
            self.commits[repository, name] = (commit, files)
        return commit

    def fetched(self):
        """Names of the files whose content was sent, sorted."""
        paths = [path for method, path in self.requests if method == "GET"]
        files = [path.partition("/resolve/")[2].partition("/")[2] for path in paths]
        large = [path.rpartition("/cdn/")[2].partition("/")[2] for path in paths if "/cdn/" in path]
        return sorted([name for name in files if name and not name.endswith(LARGE)] + large)

    def asked(self):
        """Requests about models; the library also asks about itself."""
        return [(method, path) for method, path in self.requests if "/api/agent" not in path]

    def make_handler(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = unquote(urlsplit(self.path).path)
                hub.requests.append((self.command, path))
                if not hub.hang_up:
                    hub.answer(self, path)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        return Handler

    def answer(self, handler, path):
        for beginning, (status, code) in self.refuse.items():
            if path.startswith(beginning):
                return send(handler, status, b"{}", {"X-Error-Code": code} if code else {})
        if path.startswith("/api/models/"):
            return self.answer_api(handler, path.removeprefix("/api/models/"))
        if path.startswith("/cdn/"):
            commit, _, name = path.removeprefix("/cdn/").partition("/")
            files = next(files for found, files in self.commits.values() if found == commit)
            return send(handler, 200, files[name])
        repository, _, rest = path.removeprefix("/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        _, files = self.commits.get((repository, commit), ("", {}))
        if name not in files:
            return send(handler, 404, b"", {"X-Error-Code": "EntryNotFound"})
        return self.answer_file(handler, commit, name, files[name])

    def answer_api(self, handler, path):
        repository, _, revision = path.partition("/revision/")
        repository, tree, listed = repository.partition("/tree/")
        if not any(known == repository for known, _ in self.commits):
            # The Hub does not tell strangers whether a repository is missing or private.
            return send(handler, 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        found = self.commits.get((repository, listed or revision or "main"))
        if found is None:
            return send(handler, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        if tree:
            return send(handler, 200, json.dumps([entry(*item) for item in files.items()]).encode())
        siblings = [{"rfilename": name} for name in files]
        content = {"_id": "0", "id": repository, "sha": commit, "siblings": siblings}
        return send(handler, 200, json.dumps(content).encode())

    def answer_file(self, handler, commit, name, content):
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'}
        if not name.endswith(LARGE):
            return send(handler, 200, content, headers)
        linked = {
            "Location": f"{self.cdn}/cdn/{commit}/{name}",
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        }
        return send(handler, 302, b"", headers | linked)


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(name, content):
    """A file in a tree listing."""
    made = {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}
    if name.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        made["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return made


def send(handler, status, content, headers=None):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content)
