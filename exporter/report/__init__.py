"""
Reports on the endpoints: metrics, status, advice, forecast, calendar, JSON.
"""
