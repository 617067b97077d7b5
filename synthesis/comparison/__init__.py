"""Blind comparison of voices: the same lines by several, heard as level-matched pairs in random order."""
