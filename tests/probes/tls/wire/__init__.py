"""
The wire probe against real servers on loopback: sweep, memory and judgement included.
"""
