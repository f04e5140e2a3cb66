"""Message brokers: events come in from them, and announcements go out to them.

Each is one module with `inlet(address)` and `outlet(address)`, behind the ports `Inlet` and
`Outlet` of `core/ports.py` and held by one contract suite. `registry.py` says which there are and
what their addresses may say. The inbox and the outbox of the project's own database stay what is
durable: a broker is how messages travel.
"""
