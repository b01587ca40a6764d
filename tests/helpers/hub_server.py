"""A server that speaks what clients of the Hugging Face hub need to read, download and upload.

It has repositories, trees, redirects to a content network under another host name, large files by their hash,
and commits of several operations.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.helpers.hub_content import Files, Repository, blob_id, content, is_large

TOKEN = "hf_writes"
"""The token that may do everything."""

READ_TOKEN = "hf_reads"
"""A token that may not write."""


class Hub(ThreadingHTTPServer):
    """The stand-in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        """Repositories by kind and name, such as `models/me/experts`."""

        self.objects: dict[str, bytes] = {}
        """Large files by their hash; what is put here is what the content network sends."""

        self.asked: list[str] = []
        """Every request, as `METHOD /path`."""

        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by path in the repository or hash."""

        self.leaked = 0
        """Requests to the content network that carried a token."""

        self.refuse_after: int | None = None
        """Uploads of large files after which every other one is refused."""

        self.stalled = False
        """Whether uploads of large files get no answer until the server ends."""

        self.stalling, self.ended = threading.Event(), threading.Event()

        self.card_errors: list[str] = []
        """What is wrong with every card."""

        self.page = 1000
        """Entries of a listing that come at once."""

    @property
    def url(self) -> str:
        """Return the endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, bundle: Path, inside: str = "", **options: Any) -> Repository:
        """Make a repository with the files of a folder."""
        repository = self.repositories.setdefault(name, Repository(**options))
        repository.commit(content(bundle, inside))
        return repository

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that went away."""


class _Answer(Exception):  # noqa: N818  # no error
    """Ends a request with an answer."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.data = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                self.data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.parts = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {unquote(self.parts.path)}")
        try:
            self._route(self.parts.path.lstrip("/").split("/"))
        except _Answer as answer:
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815  # names that http.server looks up

    def _send(self, answer: _Answer) -> None:
        body = answer.body
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _route(self, parts: list[str]) -> None:
        server = self.server
        if parts[0] == "cdn":
            server.leaked += "Authorization" in self.headers
            self._bytes(server.objects[parts[1]], parts[1], ETag=f'"{parts[1]}"')
        if parts[0] == "lfs":
            uploaded = sum(entry.startswith("PUT /lfs/") for entry in server.asked)
            if server.refuse_after is not None and uploaded > server.refuse_after:
                raise _Answer(400, {"error": "no more today"})
            if server.stalled:
                server.stalling.set()
                server.ended.wait(60)
            assert hashlib.sha256(self.data).hexdigest() == parts[1]
            server.objects[parts[1]] = self.data
            raise _Answer(200)
        if self._token() not in ("", TOKEN, READ_TOKEN):
            raise _Answer(401, X_Error_Message="Invalid credentials in Authorization header")
        if parts == ["api", "validate-yaml"]:
            errors = [{"message": message} for message in server.card_errors]
            raise _Answer(400 if errors else 200, {"errors": errors, "warnings": []})
        if parts == ["api", "repos", "create"]:
            self._create(json.loads(self.data))
        if parts[0] == "api":
            kind, name, rest = parts[1], "/".join(parts[2:4]), parts[4:]
            self._api(kind, name, self._repository(f"{kind}/{name}"), [unquote(part) for part in rest])
        kind = parts.pop(0) if parts[0] in ("datasets", "spaces") else "models"
        name = "/".join(parts[:2]).removesuffix(".git")
        repository = self._repository(f"{kind}/{name}")
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            self._batch()
        assert parts[2] in ("resolve", "raw"), self.path
        self._resolve(repository, unquote(parts[3]), unquote("/".join(parts[4:])))

    def _repository(self, key: str) -> Repository:
        found = self.server.repositories.get(key)
        if found is None or (found.private and not self._token()):
            raise _Answer(404 if self._token() else 401, X_Error_Code="RepoNotFound")
        return found

    def _writing(self) -> None:
        if not self._token():
            raise _Answer(401, X_Error_Message="Unauthorized")
        if self._token() != TOKEN:
            raise _Answer(403, X_Error_Message="Forbidden: you must use a write token")

    def _commit_of(self, repository: Repository, revision: str) -> str:
        sha = repository.branches.get(revision, revision)
        if sha not in repository.commits:
            raise _Answer(404, X_Error_Code="RevisionNotFound")
        return sha

    def _create(self, wanted: dict[str, Any]) -> None:
        self._writing()
        key = f"{wanted.get('type', 'model')}s/{wanted['organization']}/{wanted['name']}"
        known = key in self.server.repositories
        if not known:
            private = wanted.get("visibility") == "private" or wanted.get("private", False)
            made = Repository(private=private)
            made.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, message="initial commit")
            self.server.repositories[key] = made
        raise _Answer(409 if known else 200, {"url": f"{self.server.url}/{key.removeprefix('models/')}"})

    def _api(self, kind: str, name: str, repository: Repository, rest: list[str]) -> None:
        what = rest[0] if rest else "revision"
        sha = "" if what == "branch" else self._commit_of(repository, rest[1] if len(rest) > 1 else "main")
        if what == "revision":
            files = [{"rfilename": path} for path in repository.commits[sha]]
            facts = {"private": repository.private, "gated": repository.gated, "siblings": files}
            if stated := re.search(
                rb'^license: "?([^"\n]+)', repository.commits[sha].get("README.md", b""), re.M
            ):
                facts["cardData"] = {"license": stated[1].decode()}
            raise _Answer(200, {"id": name, "sha": sha, **facts})
        if what == "tree":
            self._tree(repository.commits[sha], "/".join(rest[2:]))
        if what == "paths-info":
            wanted = parse_qs(self.data.decode())["paths"]
            found = [path for path in wanted if path in repository.commits[sha]]
            raise _Answer(200, [_entry(path, repository.commits[sha][path]) for path in found])
        self._writing()
        if what == "branch":
            if rest[1] in repository.branches:
                raise _Answer(409)
            start = json.loads(self.data or b"{}").get("startingPoint", "main")
            repository.branches[rest[1]] = repository.branches.get(start, start)
            raise _Answer(200, {})
        if what == "preupload":
            files_there = repository.commits[sha]
            raise _Answer(
                200, {"files": [_mode(file, files_there) for file in json.loads(self.data)["files"]]}
            )
        assert what == "commit", rest
        self._commit(kind, name, repository, rest[1])

    def _tree(self, files: Files, folder: str) -> None:
        query = parse_qs(self.parts.query)
        below = {path: data for path, data in files.items() if not folder or path.startswith(folder + "/")}
        if folder and not below:
            raise _Answer(404, X_Error_Code="EntryNotFound")
        depth = folder.count("/") + 1 if folder else 0
        folders = {
            "/".join(path.split("/")[:n]) for path in below for n in range(depth + 1, path.count("/") + 1)
        }
        entries = [{"type": "directory", "oid": "0", "size": 0, "path": path} for path in sorted(folders)]
        entries += [_entry(path, data) for path, data in sorted(below.items())]
        if query.get("recursive", ["false"])[0].lower() != "true":
            entries = [entry for entry in entries if entry["path"].count("/") == depth]
        start = int(query.get("cursor", ["0"])[0])
        stop, more = start + self.server.page, {}
        if stop < len(entries):
            rest = "&".join(f"{key}={value[0]}" for key, value in query.items() if key != "cursor")
            more = {"Link": f'<{self.server.url}{self.parts.path}?{rest}&cursor={stop}>; rel="next"'}
        raise _Answer(200, entries[start:stop], **more)

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        sha = self._commit_of(repository, revision)
        if repository.gated and self._token() != TOKEN:
            raise _Answer(403, X_Error_Code="GatedRepo", X_Repo_Commit=sha)
        data = repository.commits[sha].get(path)
        if data is None:
            raise _Answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        if not is_large(path):
            self._bytes(data, path, X_Repo_Commit=sha, ETag=f'"{blob_id(data)}"')
        oid = hashlib.sha256(data).hexdigest()
        self.server.objects.setdefault(oid, data)
        location = f"http://localhost:{self.server.server_port}/cdn/{oid}"
        raise _Answer(
            302,
            Location=location,
            X_Repo_Commit=sha,
            X_Linked_Etag=f'"{oid}"',
            X_Linked_Size=str(len(data)),
        )

    def _bytes(self, data: bytes, name: str, **headers: str) -> None:
        status, span = 200, self.headers.get("Range")
        if span:
            low, _, high = span.removeprefix("bytes=").partition("-")
            first, last = int(low), min(int(high or len(data)), len(data) - 1)
            if first > last:
                raise _Answer(416)
            status = 206
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        self.server.sent[name] += len(data) * (self.command != "HEAD")
        raise _Answer(status, data, **headers)

    def _batch(self) -> None:
        self._writing()
        answers: list[dict[str, Any]] = []
        for wanted in json.loads(self.data)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.objects:
                answer["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}
            answers.append(answer)
        raise _Answer(200, {"transfer": "basic", "objects": answers})

    def _commit(self, kind: str, name: str, repository: Repository, branch: str) -> None:
        lines = [json.loads(line) for line in self.data.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
            raise _Answer(
                412, {"error": "The branch has moved"}, X_Error_Message="A commit has happened since"
            )
        files = dict(repository.files(branch))
        for line in lines[1:]:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "deletedFile":
                del files[path]
            elif line["key"] == "lfsFile":
                files[path] = self.server.objects[value["oid"]]
            else:
                assert line["key"] == "file"
                files[path] = base64.b64decode(value["content"])
        sha = repository.commit(files, branch, header["summary"])
        url = f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}/commit/{sha}"
        raise _Answer(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def log_message(self, *_: Any) -> None:
        """Keep stderr clean."""


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "oid": blob_id(data), "size": len(data), "path": path}
    if is_large(path):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


def _mode(file: dict[str, Any], there: Files) -> dict[str, Any]:
    path, large = file["path"], is_large(file["path"])
    answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    if path in there:
        data = there[path]
        answer["oid"] = hashlib.sha256(data).hexdigest() if large else blob_id(data)
    return answer
