"""REST on Ryu's WSGI: what is ours, under ``/saga/v1``."""
