"""Run the program moesaic from Python, and read the plans it makes. Standard library only.

    import moesaic
    moesaic.run("import", "dumps/", output="trace.zarr")
    scores = moesaic.run("plan", "trace.zarr", nodes=4, gpus_per_node=8, output="plan.json").json
    plan = moesaic.load_plan("plan.json")
    torch.tensor(plan.physical_to_logical)      # [MoE layers, slots], as engines take it
"""
from ._plan import Plan, load_plan
from ._program import MoesaicError, Result, run

__all__ = ["MoesaicError", "Plan", "Result", "load_plan", "run"]
