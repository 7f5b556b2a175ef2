"""Pictures of a study, as matplotlib figures of their own: no backend is chosen, no global state is touched.

figure = bo.plot.overview(study)
figure.savefig("study.png")
"""

# A module is never named after the function in it: loading it again would put itself in the function's place.
try:
    from bayesopt.plot.belief_panels import beliefs
    from bayesopt.plot.constraint_panels import feasibility
    from bayesopt.plot.importance_bars import importance
    from bayesopt.plot.page import overview
    from bayesopt.plot.parallel_lines import parallel_coordinates
    from bayesopt.plot.progress import best_so_far
    from bayesopt.plot.region_panel import feasible_region
    from bayesopt.plot.slice_panels import slices
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "matplotlib":
        raise
    raise ModuleNotFoundError(
        "bayesopt.plot needs matplotlib: pip install 'priorwise[plot]'.", name=error.name
    ) from None

__all__ = [
    "beliefs",
    "best_so_far",
    "feasibility",
    "feasible_region",
    "importance",
    "overview",
    "parallel_coordinates",
    "slices",
]
