"""Does `standard` find the truth by itself? Small replicas of defenses whose figures collapsed.

    OMP_NUM_THREADS=1 PYTHONPATH=benchmarks python -m broken_defenses --models nets.py

`replicas` holds the modules as an outsider would write them, `networks` trains what they need, `cases` says how
each was attacked in its paper and which attack broke it, and `__main__` measures all three and prints the table.
"""
