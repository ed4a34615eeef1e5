"""A reader with a calculator redoes every number of the page of `attn trace` from the text alone.

The text is parsed as it is printed, at six digits; nothing here asks the package for a number.
"""

import re

import numpy as np
import pytest

MODELS = {
    "tiny": ["the greatest thinker in China is", "--model", "tiny"],
    "llama": ["--ids", "7,0,7,36,2", "--model", "llama-llama3", "--layer", "1", "--head", "2"],
    "gemma": ["--ids", "7,0,7,36,2,11,9", "--model", "gemma2", "--head", "1"],
}
PAGE = ["--parameters", "--full", "--digits", "6", "--top", "4"]
TITLE = re.compile(r"^    (\S.*?)(?:   \d+ × (\d+))?(?:   \d+ keys and the sum)?(?:   rows: .*)?$")


def number(text):
    if text in ("−∞", "·"):
        return -np.inf if text == "−∞" else 0.0
    return float(text.replace("−", "-").replace(",", ""))


def is_number(text):
    return re.fullmatch(r"·|−∞|−?[\d,]+(\.\d+)?(e[-+−]?\d+)?", text) is not None


def columns_of(line):
    """How many columns a line of column names has, or 0 if it is none."""
    words = line.split()
    return len(words) if words and all(re.fullmatch(r"\d+|length|weight", w) for w in words) else 0


class Sheet:
    """The page as a reader has it: tables by name, and sentences joined."""

    def __init__(self, text):
        self.tables, self.labels = {}, {}
        lines = text.split("\n")
        self.text = " ".join(" ".join(lines).split())
        for at, line in enumerate(lines[:-1]):
            title = TITLE.match(line)
            count = int((title and title[2]) or columns_of(lines[at + 1]))
            if count and title and not columns_of(line):
                self.read(title[1], lines[at + 2 :], count)
        for at, line in enumerate(lines):
            if re.match(r"^(─| )+$", line) and "probability" in lines[at - 1]:
                self.candidates = self.shares(lines[at + 1 :])

    def read(self, title, lines, count):
        rows, names = [], []
        for line in lines:
            words = line.split()
            if not set(line) - set("─ ") and words:
                continue
            if len(words) < count or not all(map(is_number, words[-count:])):
                break
            rows.append([number(word) for word in words[-count:]])
            names.append(" ".join(words[:-count]))
        self.tables.setdefault(title, np.array(rows))
        self.labels.setdefault(title, names)

    def shares(self, lines):
        """(logit, e^(logit − top), probability) of each candidate, and the last two of the rest."""
        found = []
        for line in lines:
            words = [word for word in line.split() if is_number(word)]
            if "others" in line:
                return np.array(found), [number(word) for word in words[-2:]]
            found.append([number(word) for word in words[-3:]])
        raise AssertionError("no row of the others")

    def __getitem__(self, name):
        return self.tables[name]

    def has(self, name):
        return name in self.tables

    def after(self, words):
        """The first number after some words of a sentence."""
        assert words in self.text, words
        return number(self.text.split(words, 1)[1].split()[0].rstrip(".,;)"))


@pytest.fixture(params=MODELS)
def sheet(request, golden_path, attn):
    typed = [
        str(golden_path / a) if (golden_path / a).is_dir() else a for a in MODELS[request.param]
    ]
    result = attn("trace", *typed, *PAGE, columns=4000)
    assert result.code == 0
    return Sheet(result.text)


def close(found, wanted, digits=2e-5):
    np.testing.assert_allclose(found, wanted, rtol=digits, atol=digits)


def softmax(row, cap=0.0):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def normed(sheet, x, name):
    """The formula that the page gives for `name`, with its own ε and w_norm."""
    formula = sheet.text.split(f"{name} = ", 1)[1]
    epsilon = number(formula.split("ε = ", 1)[1].split()[0].rstrip(".;("))
    if formula.startswith("(x − mean)"):
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    assert formula.startswith("x ÷ √(mean of x² + ε)")
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)


def biased(sheet, product, name):
    return product + (sheet[name] if sheet.has(name) else 0)


def test_x_is_the_sum_of_its_parts_or_the_scaled_vector(sheet):
    if sheet.has("position_embedding"):
        close(sheet["x = their sum"], sheet["token_embedding"] + sheet["position_embedding"])
    elif sheet.has("token_embedding"):
        close(sheet["x"], sheet["token_embedding"] * sheet.after("token vector × √") ** 0.5)


def entering(sheet):
    return sheet["x = their sum" if sheet.has("x = their sum") else "x"]


def test_normed_is_the_formulas(sheet):
    scaled = normed(sheet, entering(sheet), "normed") * sheet["w_norm"]
    close(sheet["normed"], biased(sheet, scaled, "b_norm"))


def test_queries_keys_and_values_are_the_products(sheet):
    turned = "_unrotated" if sheet.has("q_unrotated") else ""
    for letter, name in (("q", f"q{turned}"), ("k", f"k{turned}"), ("v", "v")):
        close(sheet[name], biased(sheet, sheet["normed"] @ sheet[f"w_{letter}"], f"b_{letter}"))


def test_rotation_is_by_the_angle_that_is_shown(sheet):
    if not sheet.has("angle"):
        assert not sheet.has("q_unrotated")
        return
    last = len(sheet["q"]) - 1
    half = sheet["angle"].shape[1]
    for place in range(last + 1):
        angle = sheet["angle"][0] * place / last
        for letter in "qk":
            a, b = np.split(sheet[f"{letter}_unrotated"][place], [half])
            turned = [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)]
            close(sheet[letter][place], np.concatenate(turned), 5e-5)


def test_scores_are_the_dot_products(sheet):
    close(sheet["scores"], sheet["q"] @ sheet["k"].T, 1e-4)


def test_scaled_is_the_titles_formula(sheet):
    title = re.search(r"scaled = (.*?) masked = ", sheet.text)[1]
    scores = sheet["scores"]
    if root := re.fullmatch(r"scores ÷ √(\d+)", title):
        expected = scores / int(root[1]) ** 0.5
    else:
        cap, scale, _ = re.fullmatch(r"(\S+)·tanh\(scores × (\S+) ÷ (\S+)\)", title).groups()
        expected = float(cap) * np.tanh(scores * float(scale) / float(cap))
    close(sheet["scaled"], expected, 5e-5)


def test_the_mask_hides_as_many_cells_as_the_page_says(sheet):
    hidden = np.isneginf(sheet["masked"])
    assert hidden.sum() == sheet.after("The mask hides")
    assert np.array_equal(sheet["masked"][~hidden], sheet["scaled"][~hidden])


def test_weights_are_shares_of_the_powers(sheet):
    for weights, masked in zip(sheet["weights"], sheet["masked"], strict=True):
        close(weights, softmax(masked))
    row = sheet["masked"][-1]
    close(sheet.after("the largest is"), row.max())
    close(sheet.after("the powers of e add up to"), np.exp(row - row.max()).sum())


def test_the_weighted_sum_adds_up(sheet):
    rows = sheet["weight × v"]
    close(rows[:-1, 0], sheet["weights"][-1])
    close(rows[:-1, 1:], sheet["weights"][-1][:, None] * sheet["v"])
    close(rows[-1], rows[:-1].sum(axis=0), 1e-4)
    close(sheet["z"], sheet["weights"] @ sheet["v"], 1e-4)


def test_the_pull_is_z_through_the_output_projection(sheet):
    close(sheet["head_output"], sheet["z"] @ sheet["w_o"], 1e-4)
    pull, output = sheet["head_output"][-1], sheet["output"][-1]
    close(sheet.after(f"pull on `{last_label(sheet)}`:"), np.linalg.norm(pull), 1e-4)
    close(sheet.after("; of `output`:"), np.linalg.norm(output), 1e-4)
    cosine = pull @ output / np.linalg.norm(pull) / np.linalg.norm(output)
    close(sheet.after("their cosine:"), cosine, 1e-4)


def last_label(sheet):
    return sheet.labels["weights"][-1].split()[-1]


def test_the_way_to_the_next_layer_adds_up(sheet):
    rows = sheet[f"`{last_label(sheet)}`"]
    x, attention, mlp, after = rows[:, 1:]
    close(x, entering(sheet)[-1])
    if "Each of the two first passes its own norm" not in sheet.text:
        close(attention, sheet["output"][-1])
    close(after, x + attention + mlp, 1e-4)
    close(rows[:, 0], np.linalg.norm(rows[:, 1:], axis=1), 1e-4)


def test_logits_and_probabilities_follow_from_the_last_vector(sheet):
    vectors, names = sheet["from x to `final`"], []
    names = sheet.labels["from x to `final`"]
    x, final, weight = vectors[:3]
    expected = normed(sheet, x, "final") * weight
    rest = vectors[3:]
    if "b_norm" in names:
        expected, rest = expected + vectors[3], vectors[4:]
    close(final, expected, 5e-5)
    (logits, powers, shares), (others, share) = sheet.candidates[0].T, sheet.candidates[1]
    dots = rest @ final
    cap = re.search(r"soft cap: (\S+) · tanh", sheet.text)
    close(logits, float(cap[1]) * np.tanh(dots / float(cap[1])) if cap else dots, 2e-4)
    close(powers, np.exp(logits - logits.max()))
    total = powers.sum() + others
    close(sheet.after("powers add up to"), total, 1e-4)
    close(shares, powers / total)
    close(share, others / total)
    close(shares.sum() + share, 1.0)
