"""The relay: public addresses, the login in front of them, the links to agents. Start reading at `ingress.exchange`."""
