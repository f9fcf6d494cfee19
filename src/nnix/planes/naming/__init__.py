"""Naming: zones that registries entrust to the exchange, verified, served from many sites under one address; and resolvers for members."""
