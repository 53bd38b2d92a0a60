"""plan.json (docs/plan.md) as Python sees it."""
import json
import os
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Union

_SCHEMA = "moesaic.plan/1"


@dataclass(frozen=True)
class Plan:
    """A plan. Slots of a GPU are neighbours, GPUs of a node are neighbours: slot s lies on GPU s // slots_per_gpu."""

    model: str
    layers: List[int]  #: MoE layers by model index, ascending
    experts: int
    top_k: int
    nodes: int
    gpus_per_node: int
    slots_per_gpu: int
    physical_to_logical: List[List[int]]  #: [MoE layers, slots]: the expert in each slot
    attention: str
    dispatch: str
    constraints_met: bool
    label: str
    notes: List[str]
    score: dict  #: on requests the plan was not made on, baselines beside it (docs/schemas)
    homes: Dict[str, int] = field(repr=False)  #: of the requests it was made on

    def logical_to_physical(self) -> List[List[List[int]]]:
        """[MoE layers, experts]: the slots of every expert, ascending."""
        out = []
        for row in self.physical_to_logical:
            slots: List[List[int]] = [[] for _ in range(self.experts)]
            for slot, expert in enumerate(row):
                slots[expert].append(slot)
            out.append(slots)
        return out

    def gpus_of(self, layer: int, expert: int) -> List[int]:
        """GPUs that hold a copy of the expert, ascending; `layer` by model index."""
        row = self.physical_to_logical[self.layers.index(layer)]
        return sorted({slot // self.slots_per_gpu for slot, held in enumerate(row) if held == expert})

    def home(self, request: str) -> Optional[int]:
        """Home of a request the plan was made on (a GPU, or a node under tensor-parallel attention); None of others."""
        return self.homes.get(request)


def load_plan(path: Union[str, "os.PathLike[str]"]) -> Plan:
    """Reads what `moesaic plan` wrote. Raises OSError, or ValueError where it is no plan of this version."""
    with open(path, encoding="utf-8") as file:
        try:
            told = json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: no JSON: {error}") from error
    if not isinstance(told, dict) or told.get("schema") != _SCHEMA:
        found = told.get("schema") if isinstance(told, dict) else None
        raise ValueError(f"{path}: expected schema {_SCHEMA}, found {found!r}; give a file that `moesaic plan` wrote.")
    model, topology, placement = told["model"], told["topology"], told["placement"]
    return Plan(model=model["name"], layers=model["layers"], experts=model["experts"], top_k=model["top_k"],
                nodes=topology["nodes"], gpus_per_node=topology["gpus_per_node"],
                slots_per_gpu=placement["slots_per_gpu"], physical_to_logical=placement["slots"],
                attention=told["attention"], dispatch=told["dispatch"], constraints_met=told["constraints_met"],
                label=told["label"], notes=told["notes"], score=told["score"], homes=told["homes"])
