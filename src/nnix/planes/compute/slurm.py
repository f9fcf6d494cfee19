"""slurm.conf for a pool: what daemons/slurm.py is given.

One machine, with a slurmd for each node of the pool, all on loopback. No user but the agent submits jobs, so there is one partition without limits;
whose turn it is was decided before (serve.py). Cores are handed out and memory is not, which would take cgroups to keep. Slurm keeps an ended job in
mind for an hour, in which an agent that was killed may come back and ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nnix.planes.compute.kinds import Node, Pool

CONTROL_PORT = 6817
NODE_PORT = 6818
MEGABYTES = 1000
DEVICE_FILES = {"nvidia": "/dev/nvidia{}", "huawei": "/dev/davinci{}", "amd": "/dev/dri/renderD{}"}
"""make → the file by which a device is known to Linux. In a lab, and for other makes, a file of the daemon's own stands for it."""
FIRST_NUMBER = {"amd": 128}
"""make → number of its first device, where that is not 0: render nodes begin at 128 (Linux, drivers/gpu/drm/drm_drv.c: 64 × DRM_MINOR_RENDER)"""


def spell(pool: Pool, nodes: Sequence[Node], *, lab: bool) -> str:
    """The whole file."""
    return "\n".join(_lines(pool, nodes, lab=lab)) + "\n"


def _lines(pool: Pool, nodes: Sequence[Node], *, lab: bool) -> Iterator[str]:
    yield f"# pool: {pool.id}"
    yield f"ClusterName={pool.name}"
    yield "SlurmctldHost=localhost(127.0.0.1)"
    yield "SlurmUser=root"
    yield "SlurmdUser=root"
    yield "AuthType=auth/munge"
    yield "AuthInfo=socket=@HOME@/munge.sock"
    yield "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
    yield "StateSaveLocation=@HOME@/state"
    yield "SlurmdSpoolDir=@HOME@/spool-%n"
    yield "SlurmctldPidFile=@HOME@/slurmctld.pid"
    yield "SlurmdPidFile=@HOME@/slurmd-%n.pid"
    yield f"SlurmctldPort={CONTROL_PORT}"
    yield "ProctrackType=proctrack/linuxproc"
    yield "TaskPlugin=task/none"
    yield "JobAcctGatherType=jobacct_gather/none"
    yield "MpiDefault=none"
    yield "SelectType=select/cons_tres"
    yield "SelectTypeParameters=CR_Core"
    yield "SchedulerParameters=batch_sched_delay=0"
    yield "SlurmdParameters=config_overrides"
    yield "ReturnToService=2"
    yield "JobRequeue=0"
    yield "KillWait=5"
    yield "MinJobAge=3600"
    yield "GresTypes=gpu"
    for index, node in enumerate(nodes):
        gres = f" Gres=gpu:{node.devices}" if node.devices else ""
        yield (
            f"NodeName={node.name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={NODE_PORT + index} "
            f"CPUs={node.cpus} RealMemory={node.memory_gigabytes * MEGABYTES}{gres}"
        )
    yield f"PartitionName=main Nodes={','.join(node.name for node in nodes)} Default=YES MaxTime=INFINITE State=UP"
    make = pool.device.split("/", maxsplit=1)[0]
    pattern, number = DEVICE_FILES.get(make), FIRST_NUMBER.get(make, 0)
    for node in nodes:  # parts of one machine: its devices are numbered through, node by node
        for index in range(node.devices):
            if lab or pattern is None:
                yield f"#! device {node.name}-{index}"
                yield f"#! gres NodeName={node.name} Name=gpu File=@HOME@/devices/{node.name}-{index}"
            else:
                yield f"#! gres NodeName={node.name} Name=gpu File={pattern.format(number)}"
            number += 1
