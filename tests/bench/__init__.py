"""`make bench`: measures our tunnel, nginx, ssh and other tunnels in one run. Start reading at scenarios.py."""
