"""The system under the project: files that are written whole or not at all, threads that work ahead, memory.

Each of the three modules stands alone. Nothing here knows of nets, and nothing imports MXNet.

This room may import `errors` and `conventions`.
"""
