"""Other engines drive our strategies: Optuna, Ray Tune, and whatever is a `concurrent.futures.Executor`, as Dask is.

Each module needs the package that it is named after, and none is imported before it is asked for.
"""
