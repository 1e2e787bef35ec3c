"""Measures of attribution maps: do they show what the model uses, and where the disease is?"""
