"""Whether the server is up."""

from flask import Blueprint, Response, jsonify


def blueprint() -> Blueprint:
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def health() -> Response:
        response = jsonify({"status": "ok"})
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
