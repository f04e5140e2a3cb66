"""The stream: events about photos and listings in, answers and announcements out, each once.

`door.py` lets events into the store's inbox; `worker.py` takes them from there through the steps
bring, look, answer and settle; the last one commits results, announcements and the ends of the
events together.
"""
