"""`/metrics` for Prometheus, `/readyz` for whoever sends requests here; and what is counted."""

import time
from collections.abc import Callable

from flask import Blueprint, Flask, Response, g, jsonify, request

from transom_server.engines.native import NativeModels
from transom_server.hosting import uncached
from transom_server.metrics import CONTENT_TYPE, Metrics
from transom_server.upstream.health import Upstreams


def blueprint(
    metrics: Metrics, models: NativeModels, upstreams: Upstreams, ending: Callable[[], bool]
) -> Blueprint:
    """`upstreams`: other servers, whose state is told too; `ending`: whether this server takes no
    more requests."""
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
        text = metrics.text(gauges) + upstreams.figures()
        return uncached(Response(text, content_type=CONTENT_TYPE))

    @routes.get("/readyz")
    def ready() -> Response:
        """Whether one more request would find a place in the line."""
        status = "ending" if ending() else "full" if models.loaded.is_full else "ok"
        body: dict[str, object] = {"status": status, "waiting": models.loaded.waiting}
        if upstreams.all:
            body["upstreams"] = upstreams.states()
        response = uncached(jsonify(body))
        response.status_code = 200 if status == "ok" else 503
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
