"""The words everything else is written in: domain types, ports, errors.

Standard library only (numpy appears in annotations alone), so importing it costs nothing.
"""
