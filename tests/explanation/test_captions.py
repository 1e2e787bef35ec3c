import pandas as pd

from cxrlab.explanation import captions


def test_binary_facts_give_probability_decision_and_threshold():
    row = pd.Series({"target": 1, "decision": 0, "probability": 0.4321})
    facts = captions.prediction_facts(row, ("NORMAL", "PNEUMONIA"), 0.55)
    assert facts == "true PNEUMONIA   p(PNEUMONIA) 0.432 → NORMAL (threshold 0.55)"


def test_facts_of_several_classes_give_the_decided_class_probability():
    row = pd.Series({"target": 0, "decision": 2, "probability_a": 0.1, "probability_c": 0.7})
    assert captions.prediction_facts(row, ("a", "b", "c"), None) == "true a   p(c) 0.700 → c"


def test_panel_facts_turn_the_only_logit_into_a_probability():
    assert captions.panel_facts(0, 0.0, ("a", "b")) == "true a   logit 0.00   p(b) 0.500"
    assert "p(b) 0.000" in captions.panel_facts(0, -1e9, ("a", "b"))
    assert captions.panel_facts(2, 1.5, ("a", "b", "c")) == "true c   logit of c 1.50"
