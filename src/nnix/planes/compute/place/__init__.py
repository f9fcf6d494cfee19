"""Inside a pool: on which machine each piece of work goes, and whose turn it is.

    values.py   what a machine has and what work asks for
    mix.py      what is asked for here, learned from what was asked
    arrays.py   numbers in memory that plain Python and NumPy share
    decide.py   the decision itself, on arrays: as plain Python for a few, compiled for many
    fleet.py    the machines of a pool with what is left on each: place, gang, release, preempt, and why
    queue.py    whose turn it is: priorities, shares, quotas, feedback, backfill, reservations
    pool.py     both together, for a pool whose lots are sold by deals: who begins now and where, who makes room, why the others wait

All of it is pure and exact: whole numbers, and no clock or chance. Names of machines decide nothing; they only tell alike machines apart.

Deliberately not here: prices (market/), starting anything (engines/), and moving work that runs for the sake of tidiness alone. Two moves for
every refusal were tried on a real trace, and were worth a twentieth of a percent.
"""
