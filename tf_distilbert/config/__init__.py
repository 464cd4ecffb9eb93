"""The settings of a run: frozen dataclasses with all defaults, and the YAML files that fill them.

What a setting does lies elsewhere: losses, layers and data take plain arguments, and only the
functions that begin a job ever see these classes. It imports `models` (an architecture checks
itself) and `errors`.
"""
