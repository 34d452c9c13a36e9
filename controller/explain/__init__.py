"""Why a packet goes where it goes: the owner table in Python, and what ``ofproto/trace`` says, told in words."""
