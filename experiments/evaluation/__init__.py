"""Evaluation: metrics, evaluators, tables and plots."""
