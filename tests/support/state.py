"""
What is saved of a memory, in one go.
"""

from exporter.engine.memory import Memory
from exporter.engine.snapshots import Snapshot, part, snapshot


def taken(memory: Memory) -> Snapshot:
    """
    Return what is saved of the memory.
    """
    return snapshot([part(*one) for one in memory])
