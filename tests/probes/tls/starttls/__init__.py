"""
Dialogues before TLS: scripted ones, and those with the real servers.
"""
