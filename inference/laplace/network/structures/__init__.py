"""What is kept of a network's curvature, one file a structure."""

from inference.laplace.network.structures.diagonal import Diagonal
from inference.laplace.network.structures.full import Full
from inference.laplace.network.structures.function_space import FunctionSpace
from inference.laplace.network.structures.kron import Kron
from inference.laplace.network.structures.last_layer_full import LastLayerFull
from inference.laplace.network.structures.low_rank import LowRank
from inference.laplace.network.structures.structure import Structure

__all__ = ["Diagonal", "Full", "FunctionSpace", "Kron", "LastLayerFull", "LowRank", "Structure"]
