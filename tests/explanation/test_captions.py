import pandas as pd

from cxrlab.explanation import captions
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("a", "b", "c"))
FINDINGS = Task.multilabel(("Effusion", "Hernia"))


def case(target: int, explained: int, probability: float, decision: int) -> pd.Series:
    return pd.Series(
        {
            "path": "x.png",
            "target": target,
            "explained": explained,
            "probability": probability,
            "decision": decision,
        }
    )


def test_binary_facts_give_probability_decision_and_threshold():
    facts = captions.prediction_facts(case(1, 1, 0.4321, 0), TWO, (0.55,))
    assert facts == "true PNEUMONIA   p(PNEUMONIA) 0.432 → NORMAL (threshold 0.55)"


def test_facts_of_several_classes_give_the_decided_class_probability():
    facts = captions.prediction_facts(case(0, 2, 0.7, 2), THREE, ())
    assert facts == "true a   p(c) 0.700 → c"


def test_facts_of_a_finding_name_it_and_give_its_own_threshold():
    facts = captions.prediction_facts(case(1, 1, 0.2, 0), FINDINGS, (0.5, 0.25))
    assert facts == "true present   p(Hernia) 0.200 → absent (threshold 0.25)"
    facts = captions.prediction_facts(case(0, 0, 0.6, 1), FINDINGS, (0.5, 0.25))
    assert facts == "true absent   p(Effusion) 0.600 → present (threshold 0.5)"


def test_panel_facts_turn_the_only_logit_into_a_probability():
    two = Task.exclusive(("a", "b"))
    assert captions.panel_facts(0, 1, 0.0, two) == "true a   logit 0.00   p(b) 0.500"
    assert "p(b) 0.000" in captions.panel_facts(0, 1, -1e9, two)
    assert captions.panel_facts(2, 2, 1.5, THREE) == "true c   logit of c 1.50"


def test_panel_facts_of_a_finding_say_present_absent_or_unknown():
    for target, said in ((1.0, "present"), (0.0, "absent"), (float("nan"), "unknown")):
        facts = captions.panel_facts(target, 1, 0.0, FINDINGS)
        assert facts == f"true {said}   logit 0.00   p(Hernia) 0.500"
