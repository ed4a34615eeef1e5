"""Makes the word-piece tokenizer of a corpus: its words, and pieces to spell any other text."""

from collections.abc import Iterable
from typing import NamedTuple

from attn_cli.tokens.token import PREFIX, Around
from attn_cli.tokens.wordpiece import UNKNOWN, file_of, is_han, split_words

# Frequent pieces of English words: starts, whole words and roots, endings, syllables.
_ENGLISH = """
un re pre dis over inter in im en ex con com de sub pro per mis non out under up trans anti be for
the and that this with from have not you are was all can our will what when who how one two new
th sh ch wh st tr pl br cr fr gr cl sp str qu ca co di ma mo ne no pa po ra ro sa se so ta te to
man work time day way play look light long part port form act hand head house book water
##ing ##ed ##er ##est ##ly ##tion ##sion ##s ##es ##ment ##ness ##able ##ible ##ful ##less ##ous
##ive ##al ##ial ##ity ##ty ##ance ##ence ##ant ##ent ##ate ##ize ##ise ##ism ##ist ##ic ##ical
##age ##ure ##ship ##ward ##ish ##en ##ers ##ings ##ight ##ound ##ong ##ork ##ook
##an ##ar ##as ##at ##el ##et ##id ##il ##in ##is ##it ##le ##ll ##nd ##nt ##ol ##on ##op ##or
##ot ##ow ##ra ##re ##ri ##ro ##se ##ss ##st ##te ##th ##ter ##un ##ur ##us ##ve ##ch ##ck ##ain
##and ##ea ##ee ##oo ##ou ##ay ##ake ##ome ##ide ##ine ##ore
"""


class Form(NamedTuple):
    """The special tokens in the order of their ids, `[UNK]` among them, and which stand around."""

    special: tuple[str, ...]
    around: Around = Around()


# The forms of GPT-2, BERT and T5.
DECODER = Form((UNKNOWN, "<|endoftext|>"))
ENCODER = Form(
    ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]"),
    Around(("[CLS]",), ("[SEP]",), (), ("[SEP]",), type=1),
)
TRANSLATOR = Form(("<pad>", "</s>", UNKNOWN), Around((), ("</s>",), (), ("</s>",)))


def build(words: Iterable[str], form: Form = DECODER) -> dict:
    """The contents of the `tokenizer.json` for a corpus given as its words, or as its lines.

    Ids: the form's special tokens, the corpus's words in order of first appearance, then what lets
    any other English text be spelled. Words with a Han character also become added tokens, so that
    they are found in text written without spaces.
    """
    vocab = {token: id for id, token in enumerate(form.special)}
    added = dict.fromkeys(form.special, True)
    for text in words:
        for start, end in () if text in form.special else split_words(text):
            word = text[start:end]
            if word not in vocab and any(map(is_han, word)):
                added[word] = False
            vocab.setdefault(word, len(vocab))
    printable = [chr(code) for code in range(0x21, 0x7F)]
    for piece in printable + [PREFIX + c for c in printable if c.isalnum()] + _ENGLISH.split():
        vocab.setdefault(piece, len(vocab))
    return file_of(vocab, added, form.around)
