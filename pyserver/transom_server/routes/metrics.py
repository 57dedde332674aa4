"""`/metrics` for Prometheus, `/readyz` for whoever sends requests here; and what is counted."""

import time

from flask import Blueprint, Flask, Response, g, jsonify, request

from transom_server.engines.native import NativeModels
from transom_server.hosting import uncached
from transom_server.metrics import CONTENT_TYPE, Metrics


def blueprint(metrics: Metrics, models: NativeModels) -> Blueprint:
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def tell() -> Response:
        rows = models.loaded.rows()
        held = sum(row.resident_bytes for row in rows)
        gauges = {
            "transom_loaded_models": ("Models that are loaded.", float(len(rows))),
            "transom_loaded_bytes": ("Memory that they hold.", float(held)),
            "transom_running_requests": (
                "Requests that have a model.",
                float(models.loaded.running),
            ),
            "transom_waiting_requests": ("Requests in the line.", float(models.loaded.waiting)),
            "transom_model_failures_total": (
                "Loaded models found to have ended by themselves.",
                float(models.loaded.broken),
            ),
        }
        return uncached(Response(metrics.text(gauges), content_type=CONTENT_TYPE))

    @routes.get("/readyz")
    def ready() -> Response:
        """Whether one more request would find a place in the line."""
        response = uncached(jsonify({"status": "ok", "waiting": models.loaded.waiting}))
        if models.loaded.is_full:
            response = uncached(jsonify({"status": "full", "waiting": models.loaded.waiting}))
            response.status_code = 503
        return response

    return routes


def count_answers(app: Flask, metrics: Metrics) -> None:
    """Each answer is counted when it begins, streams at their first frame."""

    @app.before_request
    def begin() -> None:
        g.began = time.monotonic()

    @app.after_request
    def count(response: Response) -> Response:
        began: float = g.get("began", time.monotonic())
        rule = request.url_rule
        route, method = "none" if rule is None else rule.rule, request.method
        # Anybody may make a method up.
        method = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
        metrics.request(route, method, response.status_code, time.monotonic() - began)
        return response
