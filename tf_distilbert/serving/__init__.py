"""Texts in, answers out: the same computation inside an exported graph and outside of one."""
