"""Two Ray nodes on one machine, in the environment of Ray: told what to do by lines on stdin.

kill       the second node, at once, with all that runs on it
replicas   on which nodes replicas run, as JSON
apps       names of Serve's applications, as JSON

Prints one line for each, the cluster's address first. Ends with stdin.
"""

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from ray.cluster_utils import Cluster
from ray.exceptions import RayActorError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

# Ray prints warnings to stdout.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
# Room for two small models each; the rest of Ray takes no more than it must.
NODE = {
    "num_cpus": 4,
    "memory": 4 * 10**9,
    "object_store_memory": 80 * 10**6,
    "include_dashboard": False,
}
# A machine that is gone is missed within seconds.
SYSTEM = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}


def main() -> None:
    cluster = Cluster()
    add(cluster, _system_config=SYSTEM)
    second = add(cluster)
    ray.init(address=cluster.address, log_to_driver=False)
    tell(cluster.address)
    try:
        for line in sys.stdin:
            if line == "kill\n":
                cluster.remove_node(second, allow_graceful=False)
                tell("killed")
            elif line == "replicas\n":
                tell(replicas())
            elif line == "apps\n":
                tell(sorted(serve.status().applications))
    finally:
        ray.shutdown()
        cluster.shutdown()


def add(cluster: Cluster, **more: object) -> object:
    """A node. Ray gives it half a minute to come up, which a busy machine may not give it."""
    for _ in range(2):
        try:
            return cluster.add_node(**NODE, **more)
        except Exception as error:
            print(error, file=sys.stderr)
    return cluster.add_node(**NODE, **more)


def replicas() -> list[str]:
    try:
        client = _get_global_client(raise_if_no_controller_running=False)
        details = {"applications": {}} if client is None else client.get_serve_details()
    except (RayActorError, RayServeException):  # Serve was shut down
        return []
    return [
        replica["node_id"]
        for app in details["applications"].values()
        for deployment in app["deployments"].values()
        for replica in deployment["replicas"]
        if replica["state"] == "RUNNING"
    ]


def tell(value: object) -> None:
    print(json.dumps(value), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
