"""Makes the table of a folder of results from its JSON files: python results/table.py results/first-run"""

import json
import sys
from pathlib import Path

START, END = "<!-- table: python results/table.py {} -->", "<!-- end of table -->"


def load(folder):
    """The run records of a folder, in the order of its index."""
    order = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in order}


def table(records):
    """A Markdown table: one row a run."""
    lines = [
        "| method | noise | epochs | test accuracy, % | 95% interval | agreement with teacher, % | ECE | NLL |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        config, results = record["config"], record["results"]
        low, high = results["accuracy_interval"]
        agreement = f"{100 * results['agreement']:.1f}" if "agreement" in results else "-"
        lines.append(
            f"| {name} | {_noise(config)} | {config['epochs']} | {100 * results['accuracy']:.1f} "
            f"| {100 * low:.1f} to {100 * high:.1f} | {agreement} | {results['expected_calibration_error']:.3f} "
            f"| {results['negative_log_likelihood']:.3f} |"
        )
    return "\n".join(lines)


def _noise(config):
    found = [f"{key} {config[key]}" for key in ("sigma", "rate") if config[key]]
    if config["method"] == "ft" or (config["method"] == "baseline" and config["dropout"]):
        found.append(f"dropout {config['dropout']}")
    return ", ".join(found) or "-"


def rebuild(folder, page):
    """The text of a page with its table made anew from the JSON files."""
    start = START.format(f"results/{folder.name}")
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(END)
    return f"{before}{start}\n{table(load(folder))}\n{END}{after}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    readme = target / "README.md"
    readme.write_text(rebuild(target, readme.read_text(encoding="utf-8")), encoding="utf-8")
