"""What each package of comptrust may import, exactly; the documents quote this table."""

LAYERS = (
    "models",
    "compression",
    "trust",
    "imports",
    "tracking",
    "gate",
    "claims",
    "report",
    "workflow",
    "api",
    "sweep",
    "search",
    "cli",
)
"""The packages of comptrust; the modules beside them (records, errors, config, ...) are the ground
that all stand on.
"""
ARROWS = {
    "models": set(),
    "compression": {"models"},
    "trust": {"models"},
    "imports": {"trust"},
    "tracking": {"trust"},
    "gate": {"models", "trust"},
    "claims": {"gate"},
    "report": {"trust", "tracking", "gate"},
    "workflow": {
        "models",
        "compression",
        "trust",
        "imports",
        "tracking",
        "gate",
        "claims",
        "report",
    },
    "api": {"models", "compression", "trust", "tracking", "gate", "workflow"},
    "sweep": {"models", "compression", "trust", "tracking", "gate", "workflow"},
    "search": {
        "models",
        "compression",
        "trust",
        "tracking",
        "gate",
        "report",
        "workflow",
        "sweep",
    },
    "cli": {
        "models",
        "compression",
        "trust",
        "tracking",
        "gate",
        "claims",
        "imports",
        "report",
        "workflow",
        "api",
        "sweep",
        "search",
    },
}
"""Every arrow between packages, exactly: one that appears or disappears changes this table."""
