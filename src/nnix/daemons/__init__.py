"""Daemons: one file (or package) for each, which knows how to quote, check, start, ask, change and reap it; none knows any policy.

Each file holds one `kernel.world.Driver` as a constant (`BIRD`, `FRR`, `GOBGP`, `OPENBGPD`, `SSHD`; `PAPER` is the driver
of nothing). A driver uses its host by `run`, `put` and `get` alone, so what works in a namespace works over SSH.

A daemon owns one folder, `<home>/<driver>/<name>/`, which is its working folder too, so that sockets can be named without
their path (which a Unix socket bounds to 107 bytes, and homes can be long). Nothing of it stands elsewhere:

    the configuration   under the daemon's own usual name
    <comm>.pid          of each process, written by the process itself just before it becomes the daemon
    applied             what the driver last made true: digest of the configuration, the pids, the daemon's own mark of it
    log                 what the daemon prints, trimmed whenever it is started
    sockets, keys       the daemon's own

`@HOME@` in a configuration stands for that folder. The digest in `applied` is what tells a hand edit (file changed,
daemon not told) from an unfinished change (file written, daemon not yet told) from an older wish.

Every action is one shell script, sent whole, because over SSH it is the round trips that cost, and because a script that
has arrived runs to its end even when nnix is killed meanwhile.
"""
