"""Tests.  A package, because one of the dependencies installs a package ``tests`` of its own that would hide it."""
