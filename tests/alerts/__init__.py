"""
Alerts as they reach a person: rules, notifications, runbooks.
"""
