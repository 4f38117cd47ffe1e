"""What a person schedules, triggers and watches; nothing of it reports home.

Prefect counts its users where it is imported at a terminal, and its servers send a
heartbeat, unless these say no: set before any module here can load it.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
