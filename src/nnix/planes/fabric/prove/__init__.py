"""What would happen to the exchange if something failed: worked out on the declared graph, before anything is touched.

network.py  the graph, and what may fail       cuts.py     who is cut off, alone and in pairs     outcome.py  what members lose
circuits.py what circuits lose                 scopes.py   which leave their level, in pairs      mend.py     what to build, and its cost
traffic.py  who sends how much to whom         load.py     what links then carry                  promises.py what was promised and would break
survival.py all of it together
"""
