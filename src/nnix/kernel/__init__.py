"""The kernel: what a change is, who may make it, and what became of it. It knows no Internet noun.

A *resource* is a typed wish. A *snapshot* is all of them at one moment; *rules* say whether it may be. The *ledger*
keeps every change for ever. A *plane* compiles a snapshot into *artifacts* for hosts; *change* turns the difference
between two snapshots into a plan and carries it out; the *loop* keeps the world that way afterwards.
"""
