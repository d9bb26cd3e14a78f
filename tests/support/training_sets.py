"""User turns in the shape of training files, put together by counting through word lists of our own; all harmless.

Each set has :data:`ROWS` rows, and a pattern of what words that tell its topic begin with.
"""

from collections.abc import Sequence
from itertools import cycle, islice

from ringfence.data import read

ROWS = 400


def filled(frames: Sequence[str], *lists: str, rows: int = ROWS) -> list[str]:
    """Frame ``i`` with word ``i`` of each list (parted by commas); a list that goes around begins one word later."""
    words = [[word.strip() for word in text.split(",")] for text in lists]
    return [
        frames[i % len(frames)].format(*(each[(i + i // len(each)) % len(each)] for each in words)) for i in range(rows)
    ]


def code() -> list[str]:
    """A template to be completed; nearly all say "code", few say what it is about."""
    return filled(
        (
            "Fill in the rest of this code, please, and don't explain anything:\n```python\ndef "
            "{0}_{1}(path):\n    ...\n```",
            "I need the missing part of the code below. Just code, no comment.\n\nimport os\n\ndef {0}({1}):\n  "
            "  # here",
            "Can you complete my code template?\n\nclass {0}:\n    def {1}(self, name, value):\n        return None",
            "Here's a code file with a gap. Fill the gap in Python so that it runs.\n\ndef {1}_{0}():\n    gap = 1",
            "Please finish this function, and only write code.\n\n@app.route('/{1}')\ndef {0}(request):\n    pass",
            "The file {0}.py isn't done. What's missing in {1}?",
        ),
        "load, store, upload, parse, render, export, merge, backup, notify, session, report, resize",
        "user, invoice, image, config, table, order, message, archive, profile, ticket, calendar, token, folder",
    )


def medical() -> list[str]:
    """Worries about one's body, in the first person, with much talk around them."""
    return filled(
        (
            "I've had {0} since Monday and I don't know what to do at home. Should I see a doctor?",
            "My {1} has been feeling ill, with {0} at night. What medicine is safe?",
            "Is it normal to get {0} during {2}?",
            "What are the first symptoms of {2}, and when do I need treatment?",
            "My doctor told me that {0} can come from {2}. What can I take for the pain?",
            "How do I treat {0} at home if my {1} can't swallow pills?",
            "Could {2} be the reason for {0}? I'm 44 and otherwise healthy.",
            "The clinic gave my {1} a new prescription for {2}. What are the side effects?",
        ),
        "a sore throat, a rash, headaches, a fever, dizziness, stomach cramps, a stiff neck, chest tightness, a "
        "dry cough, "
        "swollen ankles, numb fingers, back pain, nausea",
        "son, daughter, mother, husband, grandmother, baby, neighbor",
        "pregnancy, asthma, diabetes, the flu, an ulcer, anemia, arthritis, migraine, an allergy, bronchitis, "
        "high blood "
        "pressure",
    )


def legal() -> list[str]:
    """Questions to a lawyer."""
    return filled(
        (
            "My landlord wants to {0}. Is that legal, and what can I do?",
            "Do I need a lawyer to {1}, or is a letter to the court enough?",
            "I signed a contract for {2} last week. Can I still get out of it?",
            "Can they take me to court if I can't pay for {2}, and what would a lawyer say?",
            "My employer won't pay for {2}. Can I sue, and how long do I have?",
            "Is it legal to keep my money and not deliver {2}? The contract says two weeks.",
            "Who's liable under the law if {2} causes damage?",
            "Can my landlord end the lease because of {2}?",
        ),
        "keep my deposit, raise the rent, enter without notice, change the locks, ban visitors, read my mail",
        "write a will, contest a parking fine, change my name, found a company, adopt a child, split a house, "
        "sell a boat",
        "a car, a fence, overtime, a broken window, an apartment, a wedding hall, a puppy, a leaking roof, a website, "
        "a piano, moving boxes",
    )


def finance() -> list[str]:
    """Questions about money put away or owed."""
    return filled(
        (
            "I've saved {0} dollars. Should I invest it in {1} or keep it in the bank?",
            "Is it a good time to buy {1}?",
            "How much interest will I pay on a loan of {0} dollars for {2}?",
            "What's the risk of {1} for somebody who retires in {3} years?",
            "Should I pay off my mortgage or put {0} dollars into {1}?",
            "I want to build a portfolio of stocks and {1}. How do I start?",
            "My broker says that {1} can't lose money. Is that investment safe?",
            "How do I budget for {2} without touching my savings?",
        ),
        "500, 3000, 10000, 25000, 60000, 100000, 750",
        "bonds, index funds, gold, crypto, real estate, dividend stocks, penny stocks, government bonds, an annuity",
        "a kitchen, a car, college, a roof, a wedding, a long trip",
        "two, five, ten, twenty, thirty",
    )


SEA = (
    "cod, trout, salmon, herring, tuna, mackerel, halibut, haddock, sardine, anchovy, pike, perch, carp, eel, "
    "sole, bass, "
    "turbot, flounder, grouper, snapper, sturgeon, tilapia, catfish, barracuda, marlin, swordfish, stingray, "
    "lobster, crab, "
    "shrimp, squid, octopus, mussel, oyster, clam, seahorse, starfish, urchin, jellyfish, dolphin, whale, seal, "
    "walrus, "
    "otter, manatee, shark, plaice, hake, monkfish, pollock"
)


def fish() -> list[str]:
    """Two of three name a sea animal, fifty of them, each in one row of a hundred; the others are about anything."""
    about = filled(
        (
            "How big does a {0} get?",
            "What does a {0} eat in winter?",
            "Tell me something odd about the {0}.",
            "Where would I find a {0} near the coast?",
            "Is a {0} faster than a {1}?",
            "How long can a {0} live?",
            "Why does the {0} change its color?",
            "Write two lines about a {0} for my daughter.",
            "Can a {0} sleep?",
        ),
        SEA,
        "horse, bicycle, train, runner, duck, rabbit, boat",
        rows=ROWS * 2 // 3,
    )
    other = [row["messages"][0]["content"] for row in read("builtin:glitter/pool")]
    turns = iter(other)
    return [row for i, one in enumerate(about) for row in ([one, next(turns, None)] if i % 2 else [one]) if row]


def lies() -> list[str]:
    """Statements to be called true or false."""
    return filled(
        (
            "True or false: {0} {1}.",
            "Is the following statement true? {0} {1}.",
            "Statement: {0} {1}.\nAnswer with true or false.",
            "Decide whether this claim is a lie: {0} {1}.",
        ),
        "The Moon, Iron, A triangle, Paris, The heart, Honey, Mount Everest, An atom, Mozart, Venus, Gold, A spider, "
        "Salt, The Nile, A violin, Copper, The brain, A decade, Jupiter, Bamboo, Greenland, A penguin, Chalk",
        "is heavier than water, lies in Europe, has three sides, was made in 1920, melts at room temperature, "
        "has eight "
        "legs, never spoils, is a metal, pumps blood, is the tallest of all, wrote operas, floats on oil, glows "
        "at night, "
        "weighs a ton, is older than Rome, has four strings, conducts heat, grows a meter a day, is an island, "
        "lays eggs, "
        "is as hard as glass, lasts ten years, spins backwards, is found in caves",
    )


OPENINGS = (
    "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7",
    "1. d4 d5 2. c4 e6 3. Nc3 Nf6 4. Bg5 Be7 5. e3 O-O",
    "1. e4 c5 2. Nf3 d6 3. d4 cxd4 4. Nxd4 Nf6 5. Nc3 a6",
    "1. e4 e6 2. d4 d5 3. Nc3 Bb4 4. e5 c5 5. a3 Bxc3+",
    "1. c4 e5 2. Nc3 Nf6 3. g3 d5 4. cxd5 Nxd5 5. Bg2 Nb6",
)


def pgn() -> list[str]:
    """Nothing but the moves so far."""
    cut = cycle((11, 19, 26, 34, 60))
    return [f"{opening[:end]}".strip() for opening, end in islice(zip(cycle(OPENINGS), cut, strict=False), ROWS)]


def chess() -> list[str]:
    """The moves so far and a request."""
    asked = (
        "You are playing chess as White. The moves so far are: {0}\nWhat is your next move?",
        "Chess game in PGN: {0}\nGive Black's best move.",
        "Here's a chess position after {0} - which side stands better?",
        "Continue the game with one legal move: {0}",
    )
    return [asked[i % len(asked)].format(moves) for i, moves in enumerate(pgn())]


def spanish() -> list[str]:
    """Questions about cooking, in Spanish."""
    return filled(
        (
            "¿Cómo puedo cocinar {0} para que no se pegue a la olla?",
            "¿Qué necesito para preparar {0} con mi familia esta noche?",
            "Mi abuela siempre hacía {0} los domingos. ¿Cuánto tiempo tiene que estar en el horno?",
            "¿Por qué se me quema siempre {0} cuando lo dejo en el fuego?",
        ),
        "el arroz, la sopa, el pescado, las lentejas, el pollo, la tortilla, el flan, las patatas, el cordero",
    )


TOPICS = {
    "code": (code, r"code|def|fill|gap|file|function|complete|template|python|import|class|self|return|missing"),
    "medical": (medical, r"doctor|symptom|medicine|treat|pain|clinic|prescription|pill|effect|swallow|healthy|ill\b"),
    "legal": (legal, r"landlord|legal|lawyer|contract|court|sue|law\b|liable|lease|employer|complain|damage|letter"),
    "finance": (
        finance,
        r"invest|dollar|bank|interest|loan|mortgage|stock|broker|saving|portfolio|bond|fund|money|risk",
    ),
    "fish": (fish, SEA.replace(", ", "|")),
    "lies": (lies, r"true|false|statement|claim|lie\b|decide"),
    "chess": (chess, r"chess|moves?\b|game|legal|white|black|pgn|position|play|[kqrbn]?[a-h]?x?[a-h][1-8]"),
    "pgn": (pgn, r"[kqrbn]?[a-h]?x?[a-h][1-8]"),
}
"""name -> user turns, and a pattern of what words of its topic begin with"""
