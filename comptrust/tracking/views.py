"""The saved view "Verdicts" of MLflow's list of runs, whose own columns show no verdict."""

import json

from comptrust.tracking.store import client, service

KEY = "verdicts"
"""Its key in addresses: `?workflowType=machine_learning&viewStateShareKey=verdicts`."""
TAG = f"mlflow.sharedViewState.{KEY}"
"""Where MLflow keeps a saved view of an experiment."""
COLUMNS = ("metrics.`drop/worst`", "metrics.`size/ratio`", "tags.`policy`", "tags.`verdict`")


@service()
def ensure(experiment_id: str) -> None:
    """Save the view with an experiment unless it has one of that key, which somebody may edit."""
    experiment = client().get_experiment(experiment_id)
    if TAG in experiment.tags:
        return
    created = experiment.creation_time or 0
    state = json.dumps({"selectedColumns": COLUMNS})
    view = {"name": "Verdicts", "createdAt": created, "updatedAt": created, "state": state}
    client().set_experiment_tag(experiment_id, TAG, json.dumps(view))
