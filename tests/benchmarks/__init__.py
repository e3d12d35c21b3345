"""
Benchmarks: figures, not tests; the command is in `__main__`.
"""
