"""Machines that are modelled, not measured."""
