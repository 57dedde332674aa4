"""`/openapi.json`: what every route takes and gives."""

from flask import Blueprint, Response

from transom_models.digest import Digest
from transom_server.http.blob_response import REVALIDATE, add_validators, is_current
from transom_server.openapi.document import document_text


def blueprint() -> Blueprint:
    routes = Blueprint("description", __name__)

    @routes.get("/openapi.json")
    def tell() -> Response:
        data = document_text().encode()
        digest = Digest.of(data)
        response = Response(content_type="application/json")
        add_validators(response, digest, REVALIDATE)
        if is_current(digest):
            response.status_code = 304
        else:
            response.set_data(data)
        return response

    return routes
