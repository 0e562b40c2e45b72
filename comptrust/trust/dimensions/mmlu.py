"""MMLU: knowledge and reasoning in 57 subjects, the ability that compression must preserve.

Source: Hendrycks et al. 2021 (Measuring Massive Multitask Language Understanding).
"""

import numpy as np

from comptrust.records import Generation
from comptrust.trust import fields, parsing
from comptrust.trust.base import Aggregate, Dimension, Outcome, Table, mean, over

SUBJECTS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge",
    "college_biology", "college_chemistry", "college_computer_science", "college_mathematics",
    "college_medicine", "college_physics", "computer_security", "conceptual_physics",
    "econometrics", "electrical_engineering", "elementary_mathematics", "formal_logic",
    "global_facts", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_european_history", "high_school_geography", "high_school_government_and_politics",
    "high_school_macroeconomics", "high_school_mathematics", "high_school_microeconomics",
    "high_school_physics", "high_school_psychology", "high_school_statistics",
    "high_school_us_history", "high_school_world_history", "human_aging", "human_sexuality",
    "international_law", "jurisprudence", "logical_fallacies", "machine_learning", "management",
    "marketing", "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios",
    "nutrition", "philosophy", "prehistory", "professional_accounting", "professional_law",
    "professional_medicine", "professional_psychology", "public_relations", "security_studies",
    "sociology", "us_foreign_policy", "virology", "world_religions",
)  # fmt: skip


class Mmlu(Dimension):
    """Accuracy over all questions of all subjects; an unreadable answer is wrong.

    Source: comp-trust, scripts/mmlu_autogptq.py.
    """

    required = SUBJECTS
    pooled = True

    def judge(self, generation: Generation) -> Outcome:
        """Read the answer's first character."""
        target, text = fields.target(generation, *"ABCD"), fields.single(generation)
        letter = parsing.mmlu(text)
        return Outcome(
            prompt_id=generation.id,
            scenario=generation.scenario,
            cluster=fields.cluster(generation),
            answer=letter or "none",
            refusal=float(letter is None),
            values={
                "correct": float(letter == target),
                "lenient": float(parsing.mmlu_letter(text) == target),
            },
        )

    def aggregate(self, table: Table, weights: np.ndarray | None = None) -> Aggregate:
        """Average over questions, so a subject counts in proportion to its size."""
        correct, rows = table.values["correct"], np.arange(len(table.ids))
        return {
            **{name: over(table, correct, [name], weights) for name in table.scenarios()},
            "score": 100 * mean(correct, rows, weights),
            "refusal": 100 * mean(table.refusal, rows, weights),
            "sound/mmlu_sound": 100 * mean(table.values["lenient"], rows, weights),
        }
