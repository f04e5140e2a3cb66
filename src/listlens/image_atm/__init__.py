"""Image ATM's jobs, run with listlens: its configuration in, its artefacts' equivalents out.

`config.py` reads and checks the YAML file, `job.py` runs its steps.
"""
