"""TensorFlow Serving's REST API, as far as ``predict`` and a model's status need it."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rest_json import read_request, write_answer
from served_export import RequestError

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+))?(?P<verb>:predict)?")
_HTTP_STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404}


def make_rest_server(find_export, port):
    """Make a server for the loopback address.

    Args:
        find_export: gives the `ServedExport` of a name and a version, which may be None.
        port: 0 for any that is free.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._respond(self._status)

        def do_POST(self):
            self._respond(self._predict)

        def log_message(self, *_):
            pass

        def _respond(self, make_body):
            try:
                status, body = 200, make_body()
            except RequestError as error:
                status = _HTTP_STATUS.get(error.code, 500)
                body = json.dumps({"error": str(error)}).encode()
            except Exception as error:
                status, body = 500, json.dumps({"error": repr(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _export(self, verb):
            match = _PATH.fullmatch(self.path)
            if match is None or match["verb"] != verb:
                raise RequestError("NOT_FOUND", f"Malformed request: {self.command} {self.path}")
            return find_export(match["name"], match["version"] and int(match["version"]))

        def _predict(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            export = self._export(":predict")
            signature, inputs, in_rows = read_request(body, export.signature)
            return write_answer(export.predict(signature, inputs), in_rows)

        def _status(self):
            status = {
                "version": str(self._export(None).version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            return json.dumps({"model_version_status": [status]}).encode()

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
