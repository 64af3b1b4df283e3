"""Aligned face -> identity embedding."""
