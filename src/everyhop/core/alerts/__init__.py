"""Alerts: one alert, one small file with its condition, its severity, its route and its runbook."""
