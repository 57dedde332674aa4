"""OCI distribution: what there is to find. The tags of a repository, who refers to a manifest."""

import json
import re
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from transom_models.digest import Digest
from transom_models.media_types import OCI_INDEX
from transom_server.errors import InvalidPage, RepositoryNotFound
from transom_server.registry.referrers import list_referrers
from transom_server.registry.repository import parse_repository, same_repository
from transom_server.store import Store
from transom_server.store.keys import is_hidden

# A page of tags; a client that asks for more gets a Link to the next (CVE-2023-2253: no cap).
MAX_TAGS: Final = 1000
_COUNT: Final = re.compile(r"[0-9]{1,10}")


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("tags", __name__)

    @routes.get("/v2/<path:repository>/tags/list")
    def tags(repository: str) -> Response:
        name = parse_repository(repository)
        found = sorted(
            stored.tag
            for stored in store.names()
            if same_repository(stored, name) and not is_hidden(stored)
        )
        if not found:
            raise RepositoryNotFound(f"no repository {repository!r:.160} in this store")
        wanted = min(_count(request.args.get("n")), MAX_TAGS)
        rest = [tag for tag in found if tag > request.args.get("last", "")]
        page = rest[:wanted]
        response = _answer({"name": repository, "tags": page}, "application/json")
        if page and len(rest) > len(page):
            _link_next(response, f"/v2/{repository}/tags/list", n=str(wanted), last=page[-1])
        return response

    @routes.get("/v2/<path:repository>/referrers/<digest>")
    def referrers(repository: str, digest: str) -> Response:
        name = parse_repository(repository)
        kind = request.args.get("artifactType")
        page = list_referrers(store, name, Digest.parse(digest), kind, request.args.get("last", ""))
        response = Response(page.data, content_type=OCI_INDEX)
        response.headers["Cache-Control"] = "no-cache"
        query = {}
        if kind is not None:
            response.headers["OCI-Filters-Applied"] = "artifactType"
            query["artifactType"] = kind
        if page.next is not None:
            _link_next(response, f"/v2/{repository}/referrers/{digest}", **query, last=page.next)
        return response

    return routes


def _count(text: str | None) -> int:
    if text is None:
        return MAX_TAGS
    if _COUNT.fullmatch(text) is None:
        raise InvalidPage(f"n={text!r:.40} is not a number of tags")
    return int(text)


def _answer(value: object, kind: str) -> Response:
    response = Response(json.dumps(value), content_type=kind)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _link_next(response: Response, path: str, **query: str) -> None:
    response.headers["Link"] = f'<{path}?{urlencode(query)}>; rel="next"'
