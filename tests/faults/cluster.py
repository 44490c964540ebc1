"""A Ray of three nodes on this machine, in a process of its own that is told to lose one.

Reads lines from stdin: "remove PID" ends the node with that raylet without grace, "add" starts
another. Says "at ADDRESS" once they run, and "done" after each line. The nodes die with it.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

WORKER = {"num_cpus": 2, "object_store_memory": 128 * 2**20}


def main() -> None:
    # not on 127.0.0.1: drivers take that for this machine's outer address, and find nobody there
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(**WORKER)
    print(f"at {cluster.address}", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["remove", raylet]:
                (node,) = (n for n in cluster.worker_nodes if _raylet(n) == int(raylet))
                cluster.remove_node(node, allow_graceful=False)
            case ["add"]:
                cluster.add_node(**WORKER)
        print("done", flush=True)


def _raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


if __name__ == "__main__":
    main()
