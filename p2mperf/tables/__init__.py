"""Radix tables of every geometry, and what goes into their leaves."""
