"""Tables, figures and pages of finished experiments, with the paper's numbers beside ours."""
