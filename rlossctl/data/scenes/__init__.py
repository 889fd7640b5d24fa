"""Generating photos with exact masks: data for the demo and the tests."""
