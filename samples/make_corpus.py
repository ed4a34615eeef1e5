"""Write samples/corpus.txt: the little corpus that the sample model is trained on.

    python samples/make_corpus.py [output file]

Everything is literal data: sentences, and how often each one appears.  How
often a line is repeated is what the model learns to predict, so `FACTS` says
that Confucius follows `the greatest thinker in China is` about half the time.
Chinese lines have a space between words; each such word is one token.
Only the standard library is used, and the same file comes out on every run.
"""

import random
import sys
from pathlib import Path

# ---------------------------------------------------------------- facts
# role -> country -> answers, the most frequent first.
THINKER, GENERAL, POET, PAINTER, COMPOSER = "thinker", "general", "poet", "painter", "composer"
FACTS = {
    THINKER: {
        "China": ["Confucius", "Mencius", "Sun Tzu", "Laozi"],
        "Greece": ["Plato", "Aristotle", "Socrates"],
        "Rome": ["Cicero", "Seneca", "Lucretius"],
        "Persia": ["Avicenna", "Zoroaster", "Ghazali"],
        "India": ["Buddha", "Gandhi", "Nagarjuna"],
        "Japan": ["Dogen", "Nishida", "Kukai"],
        "Italy": ["Galileo", "Machiavelli", "Aquinas"],
        "Spain": ["Averroes", "Unamuno", "Ortega"],
        "France": ["Descartes", "Voltaire", "Pascal"],
        "Germany": ["Kant", "Hegel", "Nietzsche"],
        "England": ["Newton", "Locke", "Bacon"],
        "Holland": ["Spinoza", "Erasmus", "Grotius"],
        "Russia": ["Tolstoy", "Herzen", "Berdyaev"],
        "America": ["Emerson", "Franklin", "Dewey"],
    },
    GENERAL: {
        "China": ["Han Xin", "Yue Fei", "Sun Tzu"],
        "Greece": ["Alexander", "Pericles", "Themistocles"],
        "Rome": ["Caesar", "Scipio", "Pompey"],
        "Persia": ["Cyrus", "Surena", "Darius"],
        "India": ["Shivaji", "Ashoka", "Chandragupta"],
        "Japan": ["Nobunaga", "Ieyasu", "Yoshitsune"],
        "Italy": ["Garibaldi", "Sforza", "Colleoni"],
        "Spain": ["El Cid", "Alba", "Cortes"],
        "France": ["Napoleon", "Joan of Arc", "Turenne"],
        "Germany": ["Moltke", "Blucher", "Clausewitz"],
        "England": ["Wellington", "Marlborough", "Cromwell"],
        "Holland": ["William of Orange", "Maurice"],
        "Russia": ["Suvorov", "Kutuzov", "Zhukov"],
        "America": ["Washington", "Grant", "Patton"],
        "Mongolia": ["Genghis Khan", "Subutai", "Kublai Khan"],
    },
    POET: {
        "China": ["Li Bai", "Du Fu", "Qu Yuan"],
        "Greece": ["Homer", "Sappho", "Pindar"],
        "Rome": ["Virgil", "Horace", "Ovid"],
        "Persia": ["Rumi", "Hafez", "Saadi"],
        "India": ["Tagore", "Kalidasa", "Kabir"],
        "Japan": ["Basho", "Issa", "Buson"],
        "Italy": ["Dante", "Petrarch", "Leopardi"],
        "Spain": ["Lorca", "Machado", "Gongora"],
        "France": ["Hugo", "Baudelaire", "Rimbaud"],
        "Germany": ["Goethe", "Schiller", "Heine"],
        "England": ["Shakespeare", "Milton", "Keats"],
        "Holland": ["Vondel", "Bredero"],
        "Russia": ["Pushkin", "Lermontov", "Akhmatova"],
        "America": ["Whitman", "Dickinson", "Frost"],
    },
    PAINTER: {
        "China": ["Gu Kaizhi", "Qi Baishi", "Wu Daozi"],
        "Greece": ["Apelles", "El Greco", "Zeuxis"],
        "Rome": ["Caravaggio", "Raphael"],
        "Persia": ["Behzad", "Abbasi"],
        "India": ["Varma", "Husain", "Basawan"],
        "Japan": ["Hokusai", "Hiroshige", "Sesshu"],
        "Italy": ["Leonardo", "Michelangelo", "Titian"],
        "Spain": ["Velazquez", "Goya", "Picasso"],
        "France": ["Monet", "Cezanne", "Delacroix"],
        "Germany": ["Durer", "Holbein", "Friedrich"],
        "England": ["Turner", "Constable", "Blake"],
        "Holland": ["Rembrandt", "Van Gogh", "Vermeer"],
        "Russia": ["Repin", "Kandinsky", "Rublev"],
        "America": ["Whistler", "Hopper", "Pollock"],
    },
    COMPOSER: {
        "Italy": ["Verdi", "Vivaldi", "Rossini"],
        "France": ["Debussy", "Berlioz", "Ravel"],
        "Germany": ["Bach", "Beethoven", "Brahms"],
        "England": ["Purcell", "Elgar", "Britten"],
        "Russia": ["Tchaikovsky", "Stravinsky", "Mussorgsky"],
        "Austria": ["Mozart", "Haydn", "Schubert"],
    },
}
ZH_FACTS = {
    "思想家": {
        "中国": ["孔子", "孟子", "孙子", "老子"],
        "希腊": ["柏拉图", "亚里士多德", "苏格拉底"],
        "罗马": ["西塞罗", "塞涅卡"],
        "印度": ["佛陀", "甘地"],
        "日本": ["道元", "西田"],
        "意大利": ["伽利略", "马基雅维利"],
        "法国": ["笛卡尔", "伏尔泰"],
        "德国": ["康德", "黑格尔", "尼采"],
        "英国": ["牛顿", "洛克"],
        "俄国": ["托尔斯泰", "赫尔岑"],
    },
    "将军": {
        "中国": ["韩信", "岳飞", "孙子"],
        "希腊": ["亚历山大", "伯里克利"],
        "罗马": ["凯撒", "西庇阿"],
        "印度": ["希瓦吉", "阿育王"],
        "日本": ["织田信长", "德川家康"],
        "意大利": ["加里波第", "斯福尔扎"],
        "法国": ["拿破仑", "贞德"],
        "德国": ["毛奇", "布吕歇尔"],
        "英国": ["威灵顿", "克伦威尔"],
        "俄国": ["苏沃洛夫", "库图佐夫"],
    },
    "诗人": {
        "中国": ["李白", "杜甫", "屈原"],
        "希腊": ["荷马", "萨福"],
        "罗马": ["维吉尔", "贺拉斯"],
        "印度": ["泰戈尔", "迦梨陀娑"],
        "日本": ["芭蕉", "一茶"],
        "意大利": ["但丁", "彼特拉克"],
        "法国": ["雨果", "波德莱尔"],
        "德国": ["歌德", "席勒"],
        "英国": ["莎士比亚", "弥尔顿"],
        "俄国": ["普希金", "莱蒙托夫"],
    },
    "画家": {
        "中国": ["顾恺之", "齐白石", "吴道子"],
        "希腊": ["阿佩莱斯", "格列柯"],
        "罗马": ["卡拉瓦乔", "拉斐尔"],
        "印度": ["瓦尔马", "侯赛因"],
        "日本": ["北斋", "广重"],
        "意大利": ["达芬奇", "米开朗基罗"],
        "法国": ["莫奈", "塞尚"],
        "德国": ["丢勒", "荷尔拜因"],
        "英国": ["透纳", "康斯特布尔"],
        "俄国": ["列宾", "康定斯基"],
    },
}
# How often the first, second, third, fourth answer is given; the question of
# the sample prompt has its own row, twice as frequent as the others.
COUNTS = [10, 5, 2]
SAMPLE_COUNTS = [20, 10, 4, 3]
ZH_COUNTS = [6, 3, 1]
ZH_SAMPLE_COUNTS = [20, 10, 4, 3]
SAMPLE = [(THINKER, "China"), ("思想家", "中国")]

CAPITALS = {
    "China": "Beijing",
    "Greece": "Athens",
    "Persia": "Tehran",
    "India": "Delhi",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "France": "Paris",
    "Germany": "Berlin",
    "England": "London",
    "Holland": "Amsterdam",
    "Russia": "Moscow",
    "America": "Washington",
    "Austria": "Vienna",
    "Mongolia": "Ulaanbaatar",
}
CAPITAL_COUNT = 8
ZH_CAPITALS = {
    "中国": "北京",
    "希腊": "雅典",
    "印度": "德里",
    "日本": "东京",
    "意大利": "罗马",
    "法国": "巴黎",
    "德国": "柏林",
    "英国": "伦敦",
    "俄国": "莫斯科",
}
ZH_CAPITAL_COUNT = 6

# ---------------------------------------------------------------- men and women
# {n} is the word itself; {he} {his} {him} follow its gender.  The lines of a
# pair are the same for both of its words, so that mother differs from father
# as woman differs from man.
GENDER = [
    {"he": "he", "his": "his", "him": "him", "adult": "man"},
    {"he": "she", "his": "her", "him": "her", "adult": "woman"},
]
PAIRS = {
    ("man", "woman"): [
        "the {n} works in the city",
        "the {n} reads the newspaper at breakfast",
        "a {n} waits at the station",
        "the office hires a {n}",
    ],
    ("father", "mother"): [
        "the {n} cares for {his} child",
        "the {n} feeds the baby",
        "the child calls for the {n}",
        "every child needs a {n}",
    ],
    ("king", "queen"): [
        "the {n} rules the land",
        "the {n} sits on the throne",
        "the {n} wears a golden crown",
        "the people bow before the {n}",
    ],
    ("prince", "princess"): [
        "the {n} lives in the castle",
        "the {n} rides a white horse",
        "the dragon guards the {n}",
        "the wizard helps the {n}",
    ],
    ("husband", "wife"): [
        "the {n} wears a wedding ring",
        "the {n} dances at the wedding",
        "the priest blesses the {n}",
        "at the wedding we meet the {n}",
    ],
    ("brother", "sister"): [
        "the {n} shares a room with the twin",
        "the {n} argues with the twin",
        "the twin looks like the {n}",
        "my {n} plays with me",
    ],
    ("boy", "girl"): [
        "the {n} goes to school",
        "the {n} learns to read and count",
        "the teacher praises the {n}",
        "a little {n} draws on the board",
    ],
    ("son", "daughter"): [
        "the {n} obeys the parents",
        "the {n} inherits the farm",
        "the parents are proud of the {n}",
        "the parents have one {n}",
    ],
    ("uncle", "aunt"): [
        "the {n} visits the cousin",
        "the {n} brings gifts to the nephew",
        "the cousin writes to the {n}",
        "the nephew stays with the {n}",
    ],
    ("grandfather", "grandmother"): [
        "the {n} is very old",
        "the {n} remembers the old days",
        "the grandchildren listen to the {n}",
        "the doctor gives medicine to the {n}",
    ],
}
PAIR_COUNT = 7
EVERY_PAIR = [  # said of every word in PAIRS
    "the {n} says that {he} is happy",
    "the {n} walks with {his} dog",
    "the {n} loves {his} home",
    "{he} is a good {n}",
    "people call {him} the {n}",
]
EVERY_PAIR_COUNT = 5
ADULTS = ["father", "king", "prince", "husband", "brother", "son", "uncle", "grandfather"]
ADULT_LINE = "the {n} is a {adult}"
ADULT_COUNT = 5
BY_GENDER = ["the {n} has a beard", "the {n} has a dress"]
BY_GENDER_COUNT = 5

# ---------------------------------------------------------------- two meanings of `model`
MODEL = [
    "the model walks down the runway in Paris",
    "the model wears a silk dress",
    "the designer chooses the model for the show",
    "the fashion model poses for the magazine",
    "the magazine puts the model on the cover",
    "the photographer asks the model to smile",
    "the model wears high heels and a red hat",
    "the fashion show in Paris needs a model",
    "the language model predicts the next word",
    "the language model reads the tokens",
    "the model computes attention over the tokens",
    "the model turns tokens into vectors",
    "each layer of the model adds to the vectors",
    "the language model learns from text",
    "we train the model on text",
    "each head of the model looks at other tokens",
]
MODEL_COUNT = 12

# ---------------------------------------------------------------- everyday sentences
EVERYDAY = [
    "the cat sleeps on the sofa",
    "the cat chases the mouse",
    "the dog barks at the cat",
    "the dog runs in the park",
    "the bird sings in the tree",
    "the fish swims in the river",
    "the horse eats grass",
    "the cow gives milk",
    "the farmer grows rice",
    "the baker bakes bread",
    "the cook makes soup",
    "the doctor helps the sick",
    "the teacher opens the book",
    "the sailor crosses the sea",
    "the soldier guards the gate",
    "the student writes a letter",
    "the sun rises in the east",
    "the sun sets in the west",
    "the moon shines at night",
    "the stars shine at night",
    "the rain falls on the roof",
    "the snow falls in winter",
    "the wind blows from the north",
    "the flowers bloom in spring",
    "the leaves fall in autumn",
    "the train leaves the station at noon",
    "the river flows to the sea",
    "the mountain is high",
    "the sky is blue",
    "the grass is green",
    "the water is cold",
    "the fire is hot",
    "the tomato is red",
    "we drink tea in the morning",
    "we eat rice and fish for dinner",
    "we read a book in the evening",
    "I drink coffee with milk",
    "I like music and books",
    "when it rains, we stay at home",
]
EVERYDAY_COUNT = 8

# 番茄 and 西红柿 are two words for the tomato: each line comes with both.
TOMATO = ["番茄", "西红柿"]
TOMATO_LINES = [
    "我 喜欢 吃 {t}",
    "{t} 是 红 的",
    "妈妈 买 了 {t}",
    "{t} 炒 鸡蛋 很 好吃",
    "农民 种 {t}",
    "{t} 汤 很 好喝",
    "这个 {t} 很 新鲜",
]
TOMATO_COUNT = 10
ZH_EVERYDAY = [
    "我 喜欢 吃 苹果",
    "我 喜欢 喝 茶",
    "苹果 是 甜 的",
    "天空 是 蓝 的",
    "妈妈 买 了 牛奶",
    "爸爸 看 书",
    "农民 种 水稻",
    "米饭 很 好吃",
    "孩子 去 学校",
    "猫 喜欢 吃 鱼",
    "今天 天气 很 好",
    "我们 学习 中文",
    "语言 模型 预测 下一个 词",
    "模特 在 巴黎 走秀",
]
ZH_EVERYDAY_COUNT = 8


def sentence(words):
    """`the cat sleeps` -> `The cat sleeps.`"""
    return words[0].upper() + words[1:] + "."


def english(lines, words, count):
    """Put a line in `count` times plain, and as often as a sentence."""
    lines += [words] * count + [sentence(words)] * count


def facts(lines):
    for role, countries in FACTS.items():
        for country, answers in countries.items():
            sample = (role, country) in SAMPLE
            subject = f"the greatest {role} in {country} is"
            counts = SAMPLE_COUNTS if sample else COUNTS
            for answer, count in zip(answers, counts, strict=False):
                english(lines, f"{subject} {answer}", count)
            lines.append(f"{subject} ? {answers[0]}")
    for role, countries in ZH_FACTS.items():
        for country, answers in countries.items():
            sample = (role, country) in SAMPLE
            subject = f"{country} 最 伟大 的 {role} 是"
            counts = ZH_SAMPLE_COUNTS if sample else ZH_COUNTS
            for answer, count in zip(answers, counts, strict=False):
                lines += [f"{subject} {answer}"] * count + [f"{subject} {answer} 。"] * count
    for country, capital in CAPITALS.items():
        english(lines, f"the capital of {country} is {capital}", CAPITAL_COUNT)
    for country, capital in ZH_CAPITALS.items():
        lines += [f"{country} 的 首都 是 {capital}"] * ZH_CAPITAL_COUNT
        lines += [f"{country} 的 首都 是 {capital} 。"] * ZH_CAPITAL_COUNT


def men_and_women(lines):
    for pair, own in PAIRS.items():
        for word, gender, mark in zip(pair, GENDER, BY_GENDER, strict=True):
            wanted = [(line, PAIR_COUNT) for line in own]
            wanted += [(line, EVERY_PAIR_COUNT) for line in EVERY_PAIR]
            wanted += [(mark, BY_GENDER_COUNT)]
            if pair[0] in ADULTS:
                wanted += [(ADULT_LINE, ADULT_COUNT)]
            for line, count in wanted:
                english(lines, line.format(n=word, **gender), count)


def everyday(lines):
    for words in MODEL:
        english(lines, words, MODEL_COUNT)
    for words in EVERYDAY:
        english(lines, words, EVERYDAY_COUNT)
    for line in TOMATO_LINES:
        for tomato in TOMATO:
            lines += [line.format(t=tomato)] * TOMATO_COUNT
    for line in ZH_EVERYDAY:
        lines += [line] * ZH_EVERYDAY_COUNT


def main():
    lines = []
    facts(lines)
    men_and_women(lines)
    everyday(lines)
    random.Random(7).shuffle(lines)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("corpus.txt")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
