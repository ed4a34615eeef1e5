"""Write samples/pairs.txt: English sentences and their Chinese, for the sample translator.

    python samples/make_pairs.py [output file]

One pair to a line, a tab between the two, made from the facts of make_corpus.py that it has in
both languages.  The combinations of role and country in `LEFT_OUT` are in no pair, so that one
can see whether the translator has learnt to combine; their names, roles and countries are in
others.  Only the standard library is used, and the same file comes out on every run.
"""

import sys
from itertools import product
from pathlib import Path

from make_corpus import (
    CAPITALS,
    FACTS,
    GENERAL,
    PAINTER,
    POET,
    THINKER,
    ZH_CAPITALS,
    ZH_FACTS,
    sentence,
)

ROLES = dict(zip((THINKER, GENERAL, POET, PAINTER), ZH_FACTS, strict=True))
COUNTRIES = dict(
    zip(
        ("China", "Greece", "Rome", "India", "Japan", "Italy", "France", "Germany", "England",
         "Russia"),
        ZH_FACTS["思想家"],
        strict=True,
    )
)  # fmt: skip
LEFT_OUT = {
    (THINKER, "Germany"),
    (THINKER, "Greece"),
    (GENERAL, "Rome"),
    (GENERAL, "Japan"),
    (POET, "France"),
    (POET, "England"),
    (PAINTER, "Italy"),
    (PAINTER, "Russia"),
}
# Where the two languages name others, those that both have.
SHARED = {(GENERAL, "England"): ["Wellington", "Cromwell"]}
# Each in both languages; the words change places from the one to the other.
OF_ROLE = (
    "who is the greatest {role} in {country} ?",
    "{zh_country} 最 伟大 的 {zh_role} 是 谁 ？",
)
OF_FACT = [
    (
        "the greatest {role} in {country} is {name}",
        "{zh_country} 最 伟大 的 {zh_role} 是 {zh_name}",
    ),
    (
        "{name} is the greatest {role} in {country}",
        "{zh_name} 是 {zh_country} 最 伟大 的 {zh_role}",
    ),
]
OF_NAME = [
    ("{name} is a {role}", "{zh_name} 是 一位 {zh_role}"),
    ("{country} is proud of {name}", "{zh_country} 以 {zh_name} 为荣"),
]
OF_CAPITAL = [
    ("the capital of {country} is {name}", "{zh_country} 的 首都 是 {zh_name}"),
    ("{name} is the capital of {country}", "{zh_name} 是 {zh_country} 的 首都"),
]


def filled(form, **words):
    """A pair of a form, its words filled in."""
    return form[0].format(**words), form[1].format(**words)


def named(name, zh_name):
    """The words of a name, for a form."""
    return {"name": name, "zh_name": zh_name}


def both(pair):
    """A pair as it is, and as sentences with a full stop."""
    return [pair, (sentence(pair[0]), f"{pair[1]} 。")]


def combinations():
    """(role, country, the words of each name) for all that the facts have in both languages."""
    for (role, zh_role), (country, zh_country) in product(ROLES.items(), COUNTRIES.items()):
        english = SHARED.get((role, country), FACTS[role][country])
        names = zip(english, ZH_FACTS[zh_role][zh_country], strict=False)
        shared = {"role": role, "zh_role": zh_role, "country": country, "zh_country": zh_country}
        yield role, country, [shared | named(*both_names) for both_names in names]


def pairs_of(role, country, names):
    """The pairs in which this role and country meet."""
    found = [filled(OF_ROLE, **names[0])]
    for words, form in product(names, OF_FACT):
        found += both(filled(form, **words))
    return found


def left_out():
    """The pairs that are in no file: those of `LEFT_OUT`."""
    return [pair for c in combinations() if c[:2] in LEFT_OUT for pair in pairs_of(*c)]


def pairs():
    """The pairs of the file, each once."""
    found = []
    for role, country, names in combinations():
        if (role, country) not in LEFT_OUT:
            found += pairs_of(role, country, names)
        for words, form in product(names, OF_NAME):
            found += both(filled(form, **words))
    for country, zh_country in COUNTRIES.items():
        if zh_country in ZH_CAPITALS:
            words = named(CAPITALS[country], ZH_CAPITALS[zh_country])
            for form in OF_CAPITAL:
                found += both(filled(form, country=country, zh_country=zh_country, **words))
    return list(dict.fromkeys(found))


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("pairs.txt")
    lines = [f"{english}\t{chinese}\n" for english, chinese in pairs()]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
