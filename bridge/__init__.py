"""Offline-conversion bridge: leads and revenue from CRMs, matched to ad clicks, uploaded exactly once."""

__version__ = "0.1.0"
