"""
What is reported: metrics, status, advice, forecast, calendar, JSON.
"""
