"""A model hub on this machine: it speaks what downloading one file of a model needs."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "gated"  # in place of a model's files


class MadeHub:
    """Files of models by id, and the requests that were made.

    Args:
        models: Content of each file of each model, by id and name; or ``GATED``.

    Attributes:
        requests: Method and path of each request.
    """

    def __init__(self, models):
        self.models = models
        self.requests = []

    def answer(self, path):
        """Return status, headers and content of a request."""
        model, found, rest = path.strip("/").partition("/resolve/")
        files = self.models.get(model) if found else None
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"Repository not found"
        if files == GATED:
            return 403, {"X-Error-Code": "GatedRepo"}, b"Access to this model is restricted"
        name = rest.partition("/")[2]
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"Entry not found"
        return 200, {"ETag": f'"{len(files[name])}"', "X-Repo-Commit": COMMIT}, files[name]


@contextmanager
def made_hub(models):
    """Serve models for the block; yield the hub and its address."""
    hub = MadeHub(models)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self._send(with_content=False)

        def do_GET(self):
            self._send(with_content=True)

        def _send(self, *, with_content):
            hub.requests.append((self.command, self.path))
            status, headers, content = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
