"""Does `standard` find the truth by itself? Small replicas of defenses whose figures collapsed.

    OMP_NUM_THREADS=1 PYTHONPATH=benchmarks python -m broken_defenses --models nets.py

`replicas` holds the modules as an outsider would write them, and `networks` trains what they need. `cases`
says how each was attacked in its paper, and which attack broke it. `__main__` measures, and prints the table.
"""
