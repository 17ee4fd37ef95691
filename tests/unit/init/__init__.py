"""Tests of ``bridge init``: its judgement and its text."""
