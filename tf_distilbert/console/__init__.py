"""What a user reads while something is under way: lines, bars, the time that is left.

What is said is decided where it is known. It imports nothing of the package.
"""
