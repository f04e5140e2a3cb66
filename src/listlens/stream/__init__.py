"""The worker: events of the store's inbox in, answers and announcements out, each once.

`worker.py` takes events through the steps bring, look, answer and settle; the last one commits
results, announcements and the ends of the events together. Events get into the inbox by
`pipeline/event_door.py`.
"""
