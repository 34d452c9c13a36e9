"""Declarations of the pipeline: tables, fields, marks, priorities, cookies, groups and addresses, each said once."""
