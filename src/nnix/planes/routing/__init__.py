"""Routing: sessions, route servers, and the policy by which routes reach whom."""
