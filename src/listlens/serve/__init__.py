"""The server: one process and one port for the HTTP API and the pages.

`app` builds it, `running` starts and stops it. `gate` lets callers in before their body is read,
`answering` turns photos into answers by way of the caches and the one queue to the network, `live`
holds the models in force, `problems` is the one shape of errors.
"""
