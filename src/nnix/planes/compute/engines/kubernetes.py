"""Kubernetes, as manifests (https://kubernetes.io/docs/concepts/workloads/controllers/job/): for a cluster that is elsewhere.

A gang is a Job of batch/v1 with one indexed completion a rank, none of which is retried by the cluster: it is the agent that starts anew. Devices
are extended resources by the name under which their maker's device plugin announces them. An image is needed, since a cluster runs nothing else.

nnix has been tried with no cluster. What is written here keeps to the published schema of Kubernetes, to which the tests hold it, and that is all
that is claimed: the agent writes the manifest, says where it lies, and refuses to call the job running. All-or-nothing start is left to the
cluster's own scheduler (Kueue, Volcano), for which the gang's size stands in the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnix.planes.compute.engines import Gang, Refused

EXTENDED: Mapping[str, str] = {"nvidia": "nvidia.com/gpu", "huawei": "huawei.com/Ascend910", "amd": "amd.com/gpu"}
"""make → what its device plugin calls its devices"""
OWN = "nnix.cn"


class Kubernetes:
    """Writes manifests into `folder`, for devices of `make`."""

    look_seconds = 5.0

    def __init__(self, folder: Path, device: str) -> None:
        self._folder = folder
        self._device = device

    def start(self, gang: Gang) -> None:
        said = manifest(gang, self._device)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = self._folder / f"{gang.name}.json"
        place.write_text(json.dumps(said, indent=1, sort_keys=True))
        raise Refused(f"no cluster is joined to this pool: its manifest is written, and was not applied ({place})")

    def seen(self) -> Mapping[str, bool]:
        return {}

    def stop(self, name: str, grace_seconds: float) -> None:
        """Nothing runs here."""

    def forget(self, name: str) -> None:
        """Nothing is remembered."""


def manifest(gang: Gang, device: str) -> dict[str, Any]:
    """The manifest of a gang on devices of type `device` (make/model). Raises Refused. Pure."""
    if gang.image is None:
        raise Refused("no image: a cluster runs nothing else; give the job one")
    if gang.devices != int(gang.devices):
        raise Refused("a part of a device: device plugins give out whole ones")
    name = gang.name.replace(".", "-")
    devices = EXTENDED.get(device.split("/", maxsplit=1)[0], f"{OWN}/{device.replace('/', '.')}")
    limits = {"cpu": str(gang.cpus), "memory": f"{gang.memory_gigabytes}G", devices: str(int(gang.devices))}
    container = {
        "name": "rank",
        "image": gang.image,
        "command": list(gang.argv),
        "env": [
            *({"name": key, "value": value} for key, value in sorted(gang.env.items()) if key.startswith("NNIX_")),
            {
                "name": "NNIX_RANK",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}},
            },
        ],
        "resources": {"limits": limits, "requests": limits},
    }
    labels = {f"{OWN}/job": name, f"{OWN}/gang-size": str(gang.ranks)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": gang.ranks,
            "parallelism": gang.ranks,
            "backoffLimit": 0,
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }
