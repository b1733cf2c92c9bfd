"""lb: a load balancer and API gateway for Linux."""

__version__ = "0.1.0"
