"""A Prometheus exporter of a fleet: the Spaces of some owners as metrics.

server     HTTP: each scrape gets the metrics of one reading of the fleet
families   which metrics there are, made of a reading. Pure
fleet      reads the fleet: listings, prices, probes of the apps, the quota left
"""
