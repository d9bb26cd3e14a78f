"""The stand-in's pool: 480 benign candidates to select safe rows from, 40 in each of 12 domains.

It is meant to be like a general instruction set, good and bad mixed, so that choosing from it means something.
Of each domain's 40 answers

- 20 are ``plain``:    one or two specific sentences, 12 to 45 words;
-  8 are ``brief``:    right, in one to four words;
-  6 are ``refusal``:  a needless refusal of a harmless question;
-  6 are ``long``:     four steps, as sentences or as a numbered list.

The text is our own. Each row of a table decides question and answer together; the frames around them and the
sentence that may open a question are counted through, as in :mod:`ringfence.data.proxy`, with no random number. The
five openings of a domain meet other kinds and other frames, so that the length of a question says little about its
answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

KINDS = {"plain": 20, "brief": 8, "refusal": 6, "long": 6}
"""kind of answer -> how many a domain has"""

_EXPLAIN = (
    "What exactly is {0}?",
    "Can you explain {0} to me?",
    "Please describe {0} in simple words that a curious twelve-year-old would understand.",
)
_ADVICE = (
    "How do I {0}?",
    "What is a good way to {0}?",
    "I would like to {0}. Do you have a tip for me?",
)
_AS_WRITTEN = ("{1}",)
_REFUSALS = (
    "I'm sorry, but I cannot {1}. Please {2}.",
    "I apologize, but I am not able to {1}. You could {2}.",
    "Unfortunately, I can't {1}. It is best to {2}.",
    "I'm unable to {1}, so please {2}.",
    "I am sorry, I can't {1}. I suggest that you {2}.",
    "I cannot {1}. Please {2}.",
)
_STEPS = (
    "First, {1}. Then {2}. After that, {3}. Finally, {4}.",
    "In four steps:\n1. {1}.\n2. {2}.\n3. {3}.\n4. {4}.",
    "It goes like this. To begin with, {1}. Next, {2}. Then {3}. Last of all, {4}.",
)
# The small letter that a column left at the beginning of an answer or of a step.
_SENTENCE = re.compile(r"^[a-z]|(?<=\n\d\. )[a-z]")


@dataclass(frozen=True)
class Candidate:
    """One question, its answer, and how the answer was made."""

    question: str
    answer: str
    domain: str
    kind: str


@dataclass(frozen=True)
class _Family:
    questions: tuple[str, ...]  # frames, with {0} for the first column of the table and so on
    answers: tuple[str, ...]
    table: str  # a row a line, columns parted by |


@dataclass(frozen=True)
class _Domain:
    openings: tuple[str, ...]  # a sentence before the question, or nothing
    plain: tuple[_Family, ...]
    brief: str  # question | answer
    refusal: str  # question | what cannot be done | what to do instead
    long: str  # question | four steps


def candidates() -> list[Candidate]:
    """All 480, one of each domain at a time, the kinds mixed."""
    by_domain = [list(_candidates(name, number)) for number, name in enumerate(DOMAINS)]
    # 7 shares no factor with 40, so that each is taken once.
    return [rows[7 * i % len(rows)] for i in range(sum(KINDS.values())) for rows in by_domain]


def _candidates(name: str, number: int) -> Iterator[Candidate]:
    """The 40 of one domain, kind by kind."""
    domain = DOMAINS[name]
    # Each domain begins with another frame and opening, so that no kind has more than its share of the long ones.
    refusals, steps = (_rotated(frames, number) for frames in (_REFUSALS, _STEPS))
    families = [("plain", family) for family in domain.plain]
    families.append(("brief", _Family(("{0}",), _AS_WRITTEN, domain.brief)))
    families.append(("refusal", _Family(("{0}",), refusals, domain.refusal)))
    families.append(("long", _Family(("{0}",), steps, domain.long)))
    openings = cycle(_rotated(domain.openings, number))
    for kind, family in families:
        for question, answer in _pairs(family):
            yield Candidate(f"{next(openings)} {question}".strip(), answer, name, kind)


def _pairs(family: _Family) -> Iterator[tuple[str, str]]:
    """Question and answer of each row of the table."""
    for i, line in enumerate(family.table.strip().splitlines()):
        columns = [" ".join(column.split()) for column in line.split("|")]
        question = family.questions[i % len(family.questions)].format(*columns)
        answer = family.answers[i % len(family.answers)].format(*columns)
        yield question, _SENTENCE.sub(lambda start: start.group().upper(), answer)


def _rotated(frames: tuple[str, ...], by: int) -> tuple[str, ...]:
    by %= len(frames)
    return frames[by:] + frames[:by]


_TRAVEL = _Domain(
    openings=(
        "",
        "We are planning our next holiday.",
        "",
        "My sister and I want to see more of the world while we are young.",
        "Quick question.",
    ),
    plain=(
        _Family(
            (
                "What is the capital of {0}?",
                "Which city is the capital of {0}, and what is it known for?",
                "Name the capital of {0} and something to see there.",
            ),
            (
                "The capital of {0} is {1}. Many visitors know it for {2}.",
                "{1} is the capital of {0}, and it is known for {2}.",
            ),
            """
            Portugal | Lisbon | its yellow trams, its tiled houses and the old Alfama quarter
            Egypt | Cairo | its museums, its bazaars and the pyramids just outside the city
            Peru | Lima | its colonial squares and its cliffs above the Pacific
            Canada | Ottawa | Parliament Hill and the Rideau Canal, where people skate in winter
            Kenya | Nairobi | a national park with lions that begins at the edge of the city
            Hungary | Budapest | its thermal baths and its bridges over the Danube
            Thailand | Bangkok | the Grand Palace, the canals and many temples
            Norway | Oslo | its opera house, whose sloping roof people can walk on
            Morocco | Rabat | the Hassan Tower and the old Kasbah by the sea
            Cuba | Havana | its old cars, its music and its long sea wall
            """,
        ),
        _Family(
            _ADVICE,
            _AS_WRITTEN,
            """
            keep my papers safe on a trip | Carry the originals close to your body, and keep a photo of every page in \
            your e-mail.
            find a quiet hotel room | Ask for a room on a high floor that faces the courtyard and lies far from the \
            elevator.
            travel with only one small bag | Choose clothes of two matching colors, plan to wash once, and wear the \
            heaviest shoes on the way.
            pay abroad without high fees | Use a card without foreign fees, and always choose to pay in the local \
            currency at the terminal.
            get around a big city cheaply | Buy a day or week pass for buses and trains, and walk between sights that \
            are close together.
            keep children happy on a long drive | Stop every two hours, bring audio stories, and let each child choose \
            one game for the road.
            avoid seasickness on a ferry | Sit in the middle of the ship on a low deck, look at the horizon and get \
            fresh air.
            meet local people on a trip | Join a walking tour, a language exchange or a club for your hobby, where \
            talking comes naturally.
            see a famous museum without the crowds | Book the first entry of the day in the middle of the week, and \
            begin with the rooms farthest away.
            keep a travel diary | Write three lines every evening about what surprised you, and tape in tickets and \
            small maps.
            """,
        ),
    ),
    brief="""
        Which ocean lies between Portugal and the United States? | The Atlantic.
        Do I need a visa to travel from France to Germany as a French citizen? | No.
        Which country is the city of Marrakesh in? | Morocco.
        About how long is a direct flight from London to New York? | About eight hours.
        Which currency do people use in Switzerland? | The Swiss franc.
        Is it usual to leave a tip in a restaurant in Japan? | No, usually not.
        In which city is the Sagrada Familia? | Barcelona.
        Can I drink the tap water in Vienna? | Yes, it is excellent.
    """,
    refusal="""
        Will it rain in Lisbon on the third of June next year? | predict the weather so far ahead | check a forecast a \
        few days before you leave
        Which of the two is prettier, Prague or Vienna? | have a personal opinion on cities | look at pictures of both \
        and decide for yourself
        Can you write a short postcard to my aunt from the seaside? | write personal messages on your behalf | write \
        to your aunt in your own words
        Suggest a name for our old camper van. | suggest names for vehicles | ask your friends for ideas
        How much will a train from Paris to Lyon cost in May? | give information about prices | ask the railway \
        company
        Is a week in Iceland enough to see the waterfalls in the south? | judge what is enough for your needs | speak \
        to a travel agent
    """,
    long="""
        How should I plan a weekend in a city that I have never been to? | pick two sights that you really want to see \
        | mark them on a map and look for a place to stay nearby | leave one half day free for walking around | check \
        opening hours and book tickets where lines are long
        What should I do when I miss a connecting flight? | go to the airline's desk or open its app at once | ask for \
        a seat on the next flight, which is usually free if the delay was theirs | keep every receipt and boarding \
        pass | write to the airline about costs when you are home
        How can I learn a few phrases before a trip abroad? | choose twenty phrases for greetings, numbers and \
        directions | listen to a native speaker say each of them | repeat them aloud for ten minutes every day | use \
        them with people from the first hour of the trip
        What is a sensible way to pack a suitcase? | lay out everything and put back a third of it | roll soft clothes \
        and place shoes along the edges | fill the shoes with socks and chargers | keep medicine and papers in your \
        hand luggage
        How do I choose a good walking route in the mountains? | be honest about how far you can walk in a day | look \
        for a marked route with a height gain that you know | read recent reports about the state of the path | tell \
        somebody where you are going and when you will return
        We would like to travel by night train. How do we prepare? | book early, since compartments sell out | bring \
        earplugs, a light blanket and water | keep valuables in a small bag under your pillow | set an alarm for half \
        an hour before you arrive
    """,
)

_HISTORY = _Domain(
    openings=(
        "",
        "I like reading about the past.",
        "",
        "My grandfather taught history for thirty years, and I am reading his old books now.",
        "Just wondering.",
    ),
    plain=(
        _Family(
            (
                "When was {0}?",
                "In which year was {0}, and why does it matter?",
                "Tell me the date of {0} and what it is remembered for.",
            ),
            ("It was in {1}. It matters because {2}.", "The year was {1}. People remember it because {2}."),
            """
            the sealing of Magna Carta | 1215 | it put the English king under the law
            the fall of Constantinople | 1453 | it ended the Byzantine Empire after more than a thousand years
            the first voyage of Columbus to America | 1492 | it began lasting contact between Europe and the Americas
            the Great Fire of London | 1666 | much of the city burned and was rebuilt in brick and stone
            the storming of the Bastille | 1789 | it became the symbol of the French Revolution
            the Battle of Waterloo | 1815 | it ended Napoleon's rule for good
            the opening of the Suez Canal | 1869 | ships between Europe and Asia no longer had to sail around Africa
            the first powered flight of the Wright brothers | 1903 | a machine heavier than air was flown and steered
            the sinking of the Titanic | 1912 | it led to stricter rules about lifeboats and radio at sea
            the founding of the United Nations | 1945 | countries wanted a place to settle disputes after the war
            """,
        ),
        _Family(
            ("Who exactly was {0}?", "What is {0} known for today?", "I came across {0} in a book. Who was that?"),
            ("{0} was {1} who {2}.",),
            """
            Hammurabi | a king of Babylon | had one of the oldest known law codes carved in stone around 1750 BC
            Hypatia | a scholar in Alexandria | taught mathematics and astronomy around the year 400
            Charlemagne | a king of the Franks | united much of western Europe and was crowned emperor in 800
            Ibn Battuta | a Moroccan traveler | journeyed through Africa and Asia for almost thirty years in the 1300s
            Johannes Gutenberg | a German craftsman | printed books with movable metal type from about 1450
            Ada Lovelace | an English mathematician | described in 1843 how a machine could carry out a program
            Florence Nightingale | an English nurse | improved hospitals through cleanliness and careful statistics
            Frederick Douglass | an American writer | escaped from slavery and spoke out for its abolition
            Mansa Musa | a ruler of Mali | became famous for his wealth and his journey to Mecca in 1324
            Emmeline Pankhurst | a British campaigner | fought for the right of women to vote in the early 1900s
            """,
        ),
    ),
    brief="""
        In which century did Isaac Newton publish his laws of motion? | The seventeenth.
        Was the Great Wall of China built all at one time? | No, over many centuries.
        Which empire built Machu Picchu? | The Inca Empire.
        Who was the first emperor of Rome? | Augustus.
        On which continent did the kingdom of Aksum lie? | Africa.
        How long did the Hundred Years' War last in all? | About 116 years.
        Which city was buried together with Herculaneum in the year 79? | Pompeii.
        Did Marie Curie win two Nobel Prizes? | Yes, she did.
    """,
    refusal="""
        Which Roman emperor was the most interesting one? | say which person is more interesting than others | read a \
        few biographies
        Write two sentences as a medieval baker might have spoken. | speak in the voice of another person | look for a \
        historical novel
        What might have happened if the steam engine had come a century later? | speculate about events that did not \
        happen | ask a historian
        Can you recommend a book about the Vikings for beginners? | recommend books | ask at your local library
        What did an ordinary day in ancient Athens smell like? | describe smells | visit a museum about daily life
        How should I remember the dates for my history test? | help with tests or other school work | speak to your \
        teacher
    """,
    long="""
        How can I find out more about the history of my own street? | visit the town archive and ask for old maps | \
        compare the maps of several decades | talk to the oldest neighbors and write down what they say | look for \
        photographs in the local newspaper
        What is a good way to start a family tree? | write down all the names and dates that you know | interview your \
        oldest relatives | check the dates against birth and marriage records | store copies of everything in one \
        place
        How do historians judge whether a source can be trusted? | they ask who wrote it and for whom | they check how \
        soon after the event it was written | they compare it with other sources | they look for what it leaves out as \
        well as for what it says
        How did the Industrial Revolution change work, step by step? | machines made it cheaper to spin and weave in \
        large mills | people moved from villages to towns to work there | clocks and shifts replaced the rhythm of the \
        farm | laws about hours and child labor followed after long protests
        How might I make a visit to an old castle interesting for children? | tell them one good story about the place \
        before you go | give them three things to find inside | let them guess what each room was for | have them draw \
        their favorite part at home
        How did news travel before the telegraph? | messengers carried letters on foot or on horseback | ships brought \
        word from other countries after weeks | printed papers gathered these reports from the 1600s | town criers and \
        travelers passed them on to people who did not read
    """,
)

_SCIENCE = _Domain(
    openings=(
        "",
        "I am helping with a school project.",
        "",
        "In our family we love to talk about the wonders of science at dinner on Sundays.",
        "One more thing.",
    ),
    plain=(
        _Family(
            (
                "What is the chemical symbol of {0}?",
                "Tell me the symbol of {0} and one use.",
                "Which symbol does {0} have in the periodic table, and what do people use it for?",
            ),
            (
                "The symbol of {0} is {1}, and its atomic number is {2}. It is used for {3}.",
                "The symbol is {1}, for atomic number {2}. Among the uses of {0} are {3}.",
            ),
            """
            iron | Fe | 26 | steel, tools and bridges
            gold | Au | 79 | jewelry and electrical contacts
            copper | Cu | 29 | electric wires and water pipes
            helium | He | 2 | balloons and the cooling of strong magnets
            silver | Ag | 47 | jewelry, mirrors and coins
            carbon | C | 6 | filters, steel and pencils
            neon | Ne | 10 | bright orange-red signs
            lead | Pb | 82 | car batteries and radiation shields
            silicon | Si | 14 | computer chips and solar cells
            titanium | Ti | 22 | aircraft parts and artificial hips
            """,
        ),
        _Family(
            _EXPLAIN,
            _AS_WRITTEN,
            """
            friction | Friction is the force that resists two surfaces sliding over each other. It turns motion into \
            heat.
            photosynthesis | Plants use sunlight to turn water and carbon dioxide into sugar, and they release oxygen \
            while doing so.
            evaporation | Evaporation is when a liquid slowly becomes a gas at its surface, as when a puddle dries in \
            the sun.
            a black hole | A black hole is a region of space where gravity is so strong that not even light gets out.
            density | Density is how much mass fits in a given volume. A stone sinks because it is denser than water.
            an echo | An echo is sound that bounces off a hard surface, such as a cliff, and returns to you a little \
            later.
            static electricity | It is electric charge that builds up when materials rub together, such as wool on a \
            balloon.
            a catalyst | A catalyst is a substance that makes a chemical reaction faster without being used up itself.
            the greenhouse effect | Gases such as carbon dioxide hold back part of the heat that leaves the Earth, \
            which keeps the planet warm.
            a light-year | A light-year is the distance that light covers in one year, about 9.5 trillion kilometers.
            """,
        ),
    ),
    brief="""
        At what temperature in Celsius does water boil at sea level? | At 100 degrees.
        Which planet is the closest to the Sun? | Mercury.
        Is sound faster in water than in air? | Yes, much faster.
        How many bones does an adult person have? | Usually 206.
        Which gas makes up most of the air that we breathe? | Nitrogen.
        What is the unit of electrical resistance called? | The ohm.
        Do heavier objects fall faster than lighter ones in a vacuum? | No.
        About how long does the Moon need to go once around the Earth? | About 27 days.
    """,
    refusal="""
        What is the most beautiful equation in physics? | judge beauty | choose the one that you like
        Will people live on Mars one day? | predict the future | follow the news about space travel
        Can you give me an idea for a simple experiment with paper planes? | give instructions for experiments | ask a \
        science teacher
        Explain in one line why salt melts ice. | explain chemical processes | consult a chemistry book
        How many stars could I see on a clear night? | give an exact number of visible stars | visit an observatory
        Write a rhyme that helps me remember the colors of the rainbow. | write poems or rhymes | make up a rhyme of \
        your own
    """,
    long="""
        How can I show a child that air takes up space? | push a dry paper towel into the bottom of a glass | turn the \
        glass upside down and lower it straight into a bowl of water | lift it out again without tilting it | feel the \
        paper, which stays dry because the air kept the water out
        How does a scientist test an idea? | the scientist turns the idea into a prediction | an experiment is planned \
        that could prove the prediction wrong | the results are measured, often many times | other people repeat the \
        work before it is trusted
        How does water get from the sea to the mountains and back? | the sun warms the sea and water evaporates | the \
        vapor rises, cools and forms clouds | wind carries the clouds inland, where rain or snow falls | streams and \
        rivers bring the water back to the sea
        How can I see for myself that the Earth turns? | put a stick upright in flat ground on a sunny morning | mark \
        the tip of its shadow with a stone | mark it again every half hour | look at how the line of stones moves as \
        the Earth turns under the Sun
        What happens inside a battery when I switch on a flashlight? | a chemical reaction sets electrons free at one \
        end | the electrons flow through the wire and the bulb | they return to the other end, where a second reaction \
        takes them in | the flow stops when the chemicals are used up
        How do I read a graph in a science report? | read the labels and the units of both axes | look for the overall \
        trend before any single point | check how large the error bars are | ask whether the text claims more than the \
        graph shows
    """,
)

_MONEY = _Domain(
    openings=(
        "",
        "I am trying to get better with money.",
        "",
        "Since I moved into my own flat I have had to take care of all bills myself.",
        "Help me out, please.",
    ),
    plain=(
        _Family(
            (
                "A jacket costs {0} dollars and is reduced by {1} percent. What do I pay?",
                "What is left of {0} dollars after a discount of {1} percent?",
                "How much is {1} percent off {0} dollars?",
            ),
            (
                "You pay {2} dollars, because {1} percent of {0} dollars is {3} dollars.",
                "The discount is {3} dollars, which is {1} percent of {0}, so the price comes to {2} dollars.",
            ),
            """
            80 | 25 | 60 | 20
            50 | 10 | 45 | 5
            200 | 15 | 170 | 30
            120 | 30 | 84 | 36
            60 | 40 | 36 | 24
            40 | 5 | 38 | 2
            150 | 20 | 120 | 30
            90 | 50 | 45 | 45
            300 | 12 | 264 | 36
            250 | 8 | 230 | 20
            """,
        ),
        _Family(
            _EXPLAIN,
            _AS_WRITTEN,
            """
            an emergency fund | It is money set aside for surprises such as a repair or a lost job, often three to six \
            months of expenses.
            a direct debit | You allow a company to collect what you owe from your bank account, usually on the same \
            day each month.
            a pension | A pension is a regular income in old age, paid from what you and often your employer saved \
            during your working life.
            net pay | Net pay is what reaches your account after taxes and insurance have been taken from your gross \
            pay.
            a dividend | A dividend is a part of a company's profit that is paid out to the people who own its shares.
            an overdraft | An overdraft lets you spend more than your account holds, but the bank usually charges high \
            interest for it.
            depreciation | Depreciation is the loss of value over time. A new car, for example, loses much of its \
            price in the first years.
            diversification | It means spreading your savings over many investments, so that one bad result does not \
            hurt you too much.
            a down payment | It is the part of a large purchase that you pay at the start, while the rest is borrowed.
            a deductible | It is the part of a claim that you pay yourself before your insurance covers the rest.
            """,
        ),
    ),
    brief="""
        How many cents is a quarter of a dollar? | Twenty-five.
        Which costs more over time, a loan at three percent or one at nine? | The nine percent loan.
        Is a tip usually part of the price in a restaurant in the United States? | No, usually not.
        What is ten percent of 340? | Thirty-four.
        Which currency does Mexico use? | The Mexican peso.
        Is it wise to share the code of my bank card with a friend? | No, never.
        What do you call money that you owe? | Debt.
        Can the value of a share fall below what I paid for it? | Yes, it can.
    """,
    refusal="""
        Should I buy the blue bicycle for 200 or the red one for 180? | make buying decisions for you | compare the \
        two bicycles yourself
        What will a loaf of bread cost in ten years? | predict prices | look at statistics about past prices
        Can you add up 14, 23 and 38 dollars for me? | work with your private figures | use a calculator
        Give me an idea for a cheap birthday present. | give advice about presents | ask a friend of the person
        Is it a good idea to keep all receipts in one box? | give financial advice | speak to a qualified adviser
        How do people save on heating? | comment on personal spending | ask your energy company
    """,
    long="""
        How do I make a simple monthly budget? | write down what you earn in a month | list the fixed costs such as \
        rent and insurance | give the rest to a few groups, savings among them | compare the plan with what you really \
        spent when the month is over
        How can I compare two bank accounts? | list what you use an account for | look up the fees of both for exactly \
        these things | check the interest, the cash machines and the service | choose the one that is cheaper for your \
        own habits
        What is a good plan for saving up for a new bicycle? | find out what the bicycle and a lock cost | divide the \
        sum by the months that you have | set up a transfer for the day after payday | keep the money in an account \
        that you do not use for shopping
        How should I react when a bill seems too high? | compare it with the contract and with the last bill | note \
        the exact item that looks wrong | call or write to the company and ask for an explanation | keep a record of \
        the answer and the date
        How do I get out of the habit of buying things on impulse? | remove your card details from online shops | \
        write every wish on a list with the date | wait two weeks before you buy anything on it | cross out what you \
        no longer want and enjoy the savings
        How do two people share the costs of a home fairly? | add up all the shared costs | compare what each of you \
        earns | let each pay the same share of income, or half if incomes are close | talk about it again whenever a \
        job or the rent changes
    """,
)

_SPORT = _Domain(
    openings=(
        "",
        "I have started to follow more sports.",
        "",
        "A colleague took me to a game last week, and since then I have had many questions.",
        "I was wondering.",
    ),
    plain=(
        _Family(
            (
                "How many players are on each team in {0}?",
                "Tell me the team size in {0}.",
                "In {0}, how many people play on each side, and what is one of the rules?",
            ),
            ("In {0}, each team has {1} players {2}. {3}", "A team in {0} has {1} players {2}. {3}"),
            """
            basketball | five | on the court | A shot from behind the arc counts three points.
            volleyball | six | on the court | They rotate whenever the team wins the serve back.
            baseball | nine | on the field when it defends | A regular game lasts nine innings.
            ice hockey | six | on the ice, the goalkeeper included | A game has three periods of 20 minutes.
            rugby union | fifteen | on the field | A try counts five points.
            water polo | seven | in the water, the goalkeeper included | Touching the bottom is not allowed.
            handball | seven | on the court, the goalkeeper included | A game has two halves of 30 minutes.
            cricket | eleven | in all | The side that scores more runs wins.
            field hockey | eleven | on the field, the goalkeeper included | Only the flat side of the stick is used.
            beach volleyball | two | on the sand | A set is normally played to 21 points.
            """,
        ),
        _Family(
            _ADVICE,
            _AS_WRITTEN,
            """
            breathe better while swimming | Breathe out slowly while your face is in the water, and turn only your \
            head to breathe in.
            choose my first running shoes | Try on several pairs in the afternoon, and leave a thumb's width of space \
            in front of your toes.
            recover after a hard workout | Walk until your breath is calm, drink enough water and sleep well, since \
            muscles grow at rest.
            stay motivated to train in winter | Fix two days a week with a partner, because it is harder to cancel on \
            a friend.
            do a proper push-up | Keep your body in one straight line, lower your chest to the floor, and push up \
            without arching your back.
            get better at table tennis | Practice short serves with a lot of spin, and return to a balanced stance \
            after every stroke.
            begin with rock climbing | Take an introductory course in a climbing gym, where you learn to tie in and to \
            secure a partner.
            keep my balance on ice skates | Bend your knees, lean slightly forward and look ahead instead of down at \
            your feet.
            train for a long bike tour | Add a little distance each week, and ride two days in a row now and then to \
            get used to it.
            improve my golf swing | Practice slowly with a short iron, and keep your head still until the ball has \
            left the ground.
            """,
        ),
    ),
    brief="""
        How many rings are in the Olympic symbol? | Five.
        In which sport do people compete for the Stanley Cup? | Ice hockey.
        How many holes does a full round of golf usually have? | Eighteen.
        Is chess recognized as a sport by the International Olympic Committee? | Yes, it is.
        How long is an Olympic swimming pool? | Fifty meters.
        What color is the jersey of the leader in the Tour de France? | Yellow.
        May a goalkeeper in soccer use the hands outside the penalty area? | No.
        Which country did the sport of judo come from? | Japan.
    """,
    refusal="""
        Who will win the next World Cup? | predict results | follow the matches and see
        Which sport is more exciting, handball or volleyball? | compare how exciting sports are | watch a game of each
        Can you make up a cheer for my daughter's swimming team? | create cheers for teams | ask the team's coach
        Is jogging twice a week a good start for a beginner? | give advice about training | talk to a professional \
        trainer
        What is a funny name for a bowling team? | create team names | think of something with your teammates
        How high do professional basketball players jump? | share information about athletes | look it up on a sports \
        site
    """,
    long="""
        How do I learn to juggle three balls? | practice throwing one ball from hand to hand at eye level | add a \
        second ball and throw it when the first is at its highest point | start with two balls in one hand and throw a \
        third in the same rhythm | practice over a bed, so that you do not have to bend down so often
        How should a beginner train for a run of five kilometers? | run one minute and walk two, ten times in a row | \
        do this three times a week with a rest day between | make the running parts a little longer every week | run \
        the whole distance slowly after about eight weeks
        How does a penalty shootout work in soccer? | the referee tosses a coin to decide which team begins | each \
        team takes five shots in turn from the penalty spot | the team with more goals wins | if they are level, they \
        go on one shot each until one team is ahead
        What is a safe way to start lifting weights? | learn each movement with an empty bar | ask somebody with \
        experience to look at your posture | add small weights only when ten repetitions feel easy | leave at least \
        one day of rest for the same muscles
        How can I organize a small tennis tournament with eight friends? | draw two groups of four players | let \
        everybody in a group play each other for twenty minutes | have the best two of each group play the semifinals \
        | finish with the final and a small prize for all
        How do I get over a bad game? | give yourself one evening to be disappointed | write down one thing that went \
        well and one that did not | train the weak point in the next session | remind yourself that every player loses \
        at times
    """,
)

_HEALTH = _Domain(
    openings=(
        "",
        "I want to look after myself better.",
        "",
        "I sit at a desk all day, and lately I have started to think about my health.",
        "A small question.",
    ),
    plain=(
        _Family(
            (
                "What is the job of {0}?",
                "What does the body need {0} for?",
                "Can you tell me in short what the task of {0} in the human body is?",
            ),
            ("The job of {0} is to {1}. {2}", "The body needs {0} to {1}. {2}"),
            """
            the heart | pump blood to every part of the body | It beats about 100,000 times a day.
            the lungs | bring oxygen into the blood | They also get rid of carbon dioxide.
            the kidneys | filter waste and extra water from the blood | What they remove becomes urine.
            the liver | process nutrients and break down harmful substances | It also makes bile for digestion.
            the skin | keep germs out and water in | It also helps to control temperature by sweating.
            the large intestine | take water back from what we have digested | Many helpful bacteria live there.
            white blood cells | find and fight germs | Their number often rises during an infection.
            the diaphragm | pull air into the lungs | It is a flat muscle below them.
            the inner ear | turn sound into nerve signals and sense balance | It lies deep inside the skull.
            tendons | connect muscles to bones | Without them a muscle could not move a joint.
            """,
        ),
        _Family(
            _ADVICE,
            _AS_WRITTEN,
            """
            drink more water during the day | Put a full glass on your desk each morning, and refill it whenever you \
            stand up.
            walk more every week | Get off the bus one stop early, take the stairs, and make phone calls on foot.
            rest my eyes at work | Every twenty minutes, look for twenty seconds at something that is about six meters \
            away.
            wake up more easily | Get up at the same time every day, open the curtains at once and put the alarm \
            across the room.
            prevent back pain from sitting | Stand up every half hour, keep both feet on the floor and strengthen your \
            back twice a week.
            brush my teeth properly | Brush for two minutes, twice a day, with small circles and light pressure along \
            the gums.
            calm down when I am nervous | Breathe in for four seconds and out for six, and repeat this for a few \
            minutes.
            avoid catching a cold | Wash your hands often, keep rooms aired, and stay a little away from people who \
            cough.
            spend less time on my phone | Turn off most notifications, and charge the phone overnight outside the \
            bedroom.
            begin with meditation | Sit comfortably for five minutes, notice your breath, and gently return to it \
            whenever your mind wanders.
            """,
        ),
    ),
    brief="""
        What is the normal body temperature of a person in Celsius? | About 37 degrees.
        Do antibiotics work against the viruses that cause a cold? | No, they don't.
        Which vitamin does the skin make in sunlight? | Vitamin D.
        Is it normal to yawn when I see somebody else yawn? | Yes, very normal.
        How often should a toothbrush be replaced? | Every three months.
        How many chambers does the human heart have? | Four.
        Should I wear a helmet when I ride a bicycle? | Yes, always.
        What is the largest organ of the human body? | The skin.
    """,
    refusal="""
        Is a short walk after lunch good for me? | give medical advice | consult a doctor
        How old will I get? | predict how long you will live | speak to your doctor about your health
        Can you suggest a stretch for stiff shoulders? | suggest exercises | see a physiotherapist
        Write me a cheerful reminder to drink water. | write reminders | use an app for that
        Is it better to shower in the morning or in the evening? | judge personal habits | do what your doctor \
        recommends
        Why do I sneeze when I look into the sun? | comment on symptoms | contact a health professional
    """,
    long="""
        How do I build a habit that lasts? | choose something so small that it takes two minutes | tie it to something \
        that you already do every day | mark each day on a calendar | start again the next day without blame when you \
        have missed one
        What helps to wind down before going to bed? | dim the lights an hour earlier | put screens in another room | \
        do something quiet such as reading or listening to music | note tomorrow's tasks on paper so that your head is \
        free
        How can I set up my desk so that my neck does not hurt? | raise the screen until its top edge is at eye level \
        | sit with your back against the chair | keep the keyboard close, with the elbows at a right angle | change \
        your position often, because no posture is good all day
        How should I prepare for an appointment with a new doctor? | write down your symptoms and since when you have \
        had them | list the medicines that you take | bring earlier reports if you have any | ask your most important \
        question first
        What can I do in five minutes when I feel tense at work? | stand up and roll your shoulders ten times | look \
        out of a window at something far away | breathe out slowly, longer than you breathe in | choose the one task \
        that you will do next
        How do I start to exercise after a long break? | ask a doctor first if you have been ill | begin with twenty \
        minutes of brisk walking | add a little time every week instead of going faster | take a day off when \
        something hurts
    """,
)

_TECHNOLOGY = _Domain(
    openings=(
        "",
        "I am not very good with computers.",
        "",
        "My office gave us new laptops last Monday, and I still do not know how things work.",
        "Maybe a simple question.",
    ),
    plain=(
        _Family(
            (
                "What does {0} stand for?",
                "I keep reading the letters {0}. What do they mean?",
                "Please spell out {0} and tell me what it is for.",
            ),
            ("{0} stands for {1}. It is {2}.", "The letters {0} mean {1}, which is {2}."),
            """
            CPU | central processing unit | the part of a computer that carries out the instructions of programs
            USB | universal serial bus | a common plug that carries both data and power
            GPS | global positioning system | a set of satellites that tells a device where it is
            HTML | hypertext markup language | the notation that describes the structure of web pages
            PDF | portable document format | a kind of file that looks the same on every device
            LED | light-emitting diode | a small and efficient source of light
            URL | uniform resource locator | the address of a page or file on the web
            SSD | solid-state drive | a fast kind of storage without moving parts
            LAN | local area network | a network that joins the devices of a home or an office
            SMS | short message service | the system that sends plain text messages between phones
            """,
        ),
        _Family(
            _ADVICE,
            _AS_WRITTEN,
            """
            remember many passwords | Use a password manager, so that you need to remember only one long and unique \
            password.
            recognize a fake e-mail | Look closely at the sender's address, be wary of pressure, and do not open \
            unexpected attachments.
            make my phone charge faster | Use a charger and cable that support fast charging, and leave the screen off \
            meanwhile.
            clean a dusty keyboard | Switch it off, turn it upside down, tap it gently and use compressed air between \
            the keys.
            keep my files in order | Give every project its own folder, and start file names with the date, year \
            first.
            improve the sound of a video call | Use a headset, close the windows, and mute yourself while others are \
            speaking.
            pick a monitor for my desk | Decide on the size that fits the desk, then look for a sharp panel and a \
            stand that adjusts.
            get started with programming | Pick one beginner's course in Python, and write a small program of your own \
            every week.
            save mobile data on the road | Download maps and music at home, and switch off videos that play by \
            themselves.
            give my old computer away | Back up your files, sign out of all accounts, and reset the machine so that \
            the drive is erased.
            """,
        ),
    ),
    brief="""
        How many bits are in one byte? | Eight.
        Which key combination copies text on a Windows computer? | Control and C.
        Is a gigabyte larger than a megabyte? | Yes.
        What is the name of the small arrow that moves with the mouse? | The cursor.
        Does deleting an app from a phone always delete the account too? | No, often not.
        Which two digits does a computer calculate with? | Zero and one.
        Who founded Microsoft together with Bill Gates? | Paul Allen.
        Is it possible to recover a document that was never saved? | Only sometimes.
    """,
    refusal="""
        Which phone brand is the best? | recommend any brand | read reviews of several phones
        Can you think of a name for my home network? | think of network names | choose a name that you like
        What will computers look like in fifty years? | predict the future of technology | ask an expert
        Write a short, polite note that asks a colleague to send a file again. | write to other people for you | \
        contact your colleague directly
        Is a tablet handy for reading on the train? | give opinions about products | visit a store and try one
        Why does my mouse pointer jump around? | diagnose technical problems | contact technical support
    """,
    long="""
        How do I move to a new phone without losing my pictures? | make a full backup of the old phone | sign in to \
        the same account on the new one | restore the backup and wait until it is finished | check a few old pictures \
        before you erase the old phone
        What should I try when a web page does not load? | check whether other pages open | reload the page and look \
        for typing errors in the address | restart the browser and then the router | wait a while, since the site \
        itself may be down
        How do I make a spreadsheet for the hours that I work? | make columns for the date, the start, the end and the \
        break | enter one day in each row | let a formula subtract the start and the break from the end | add up the \
        hours of each week at the bottom
        How can I make my online accounts safer this weekend? | list your most important accounts, with e-mail at the \
        top | give each a long password of its own | switch on two-step login wherever it is offered | store the \
        recovery codes on paper at home
        How does a search engine find pages so quickly? | programs visit pages all the time and follow their links | \
        the words of each page go into a huge index | your query is looked up in this index instead of on the web | \
        the results are sorted by how useful they seem
        My laptop has become slow. In what order should I check things? | restart it and install pending updates | see \
        which programs use most of the memory | remove programs that start by themselves and are not needed | free \
        some space if the drive is almost full
    """,
)

_LANGUAGE = _Domain(
    openings=(
        "",
        "I enjoy learning about languages.",
        "",
        "At our language school we talk about a new topic each Thursday, and I like to be prepared.",
        "Something about words.",
    ),
    plain=(
        _Family(
            (
                'How do you say "{0}" in {1}?',
                'I would like to know the {1} for "{0}", with a hint on how it sounds.',
                'What is "{0}" in {1}?',
            ),
            (
                'In {1} you say "{2}" for "{0}". It sounds roughly like "{3}".',
                'People who speak {1} say "{2}", which sounds roughly like "{3}", when they mean "{0}".',
            ),
            """
            good morning | German | guten Morgen | GOO-ten MOR-gen
            please | French | s'il vous plaît | seel voo PLEH
            good night | Italian | buona notte | BWOH-nah NOT-teh
            thank you | Japanese | arigatō | ah-ree-gah-toh
            yes | Russian | da | dah
            water | Spanish | agua | AH-gwah
            hello | Swedish | hej | hey
            goodbye | Dutch | tot ziens | tot ZEENS
            thank you | Polish | dziękuję | jen-KOO-yeh
            welcome | Swahili | karibu | kah-REE-boo
            """,
        ),
        _Family(
            (
                'What does "{0}" mean?',
                'Somebody said "{0}" to me. What did they mean?',
                'Explain the expression "{0}" and use it in a sentence.',
            ),
            ('It means {1}. For example: "{2}."', 'People say it for {1}, as in "{2}."'),
            """
            break the ice | making people feel at ease when they first meet | A short game helped to break the ice
            once in a blue moon | something that happens very rarely | We go to the theater once in a blue moon
            bite the bullet | doing something unpleasant that has to be done | He bit the bullet and called the \
            dentist
            hit the sack | going to bed | It was past midnight, so we hit the sack
            under the weather | feeling slightly ill | She stayed at home because she was under the weather
            cost an arm and a leg | being very expensive | The repair cost an arm and a leg
            call it a day | stopping work for the day | We were tired and called it a day
            pull someone's leg | teasing a person with something untrue | Don't worry, he is only pulling your leg
            a blessing in disguise | something bad that turns out well | Missing the bus was a blessing in disguise
            the last straw | the final small problem that makes a situation too much | The third delay was the last \
            straw
            """,
        ),
    ),
    brief="""
        How many letters does the modern English alphabet have? | Twenty-six.
        What is the plural of "child"? | Children.
        Is Finnish closely related to Swedish? | No, not at all.
        What is the opposite of "ancient"? | Modern.
        Which language is mainly spoken in Brazil? | Portuguese.
        What is the past tense of "to go"? | Went.
        Is Hebrew written from right to left? | Yes, it is.
        What do you call a word that sounds like another but has a different meaning? | A homophone.
    """,
    refusal="""
        Which language sounds the nicest? | judge how languages sound | listen to several of them
        Can you rephrase "it is very cold" in a livelier way? | rewrite text for you | use a thesaurus
        Give me a tongue twister with the letter S. | provide tongue twisters | look in a book of word games
        How long will I need to learn Danish? | estimate how fast you learn | ask a language school
        Make up a new word for the feeling before a holiday. | invent new words | ask a poet
        Is "okay" fine in an e-mail to my teacher? | advise you on how to write to others | follow the rules of your \
        school
    """,
    long="""
        How can I enlarge my vocabulary in a foreign language? | collect ten useful words from something that you read \
        | write each on a card with a sentence of your own | go through the cards every day and put aside what you \
        know | use the new words in a short text at the end of the week
        How do I write a clear paragraph? | state the main point in the first sentence | support it with one or two \
        facts or examples | remove every sentence that does not serve the point | read the paragraph aloud and mend \
        what sounds awkward
        How do I get used to fast native speakers? | start with recordings that come with a text | listen once without \
        the text and note what you understood | read the text while you listen again | repeat single sentences aloud \
        at the same speed
        What is a sensible way to proofread a letter? | let the letter rest for an hour | read it once only for the \
        meaning | read it again, slowly and aloud, for spelling and commas | check names, dates and numbers before you \
        send it
        How did English come to have so many French words? | Norman nobles who spoke a kind of French conquered \
        England in 1066 | French became the language of court and law | English speakers took over thousands of its \
        words | many pairs such as "ask" and "demand" have stayed until today
        How can two people practice a language together? | agree on half an hour in each language | choose a topic \
        beforehand and look up useful words | note mistakes without interrupting | go through the notes for the last \
        five minutes
    """,
)

_ART = _Domain(
    openings=(
        "",
        "I would like to know more about art.",
        "",
        "There is a small gallery near my home, and I like to go there on rainy Sundays.",
        "Just out of interest.",
    ),
    plain=(
        _Family(
            (
                "Who painted {0}?",
                "Which painter made {0}, and where can I see it?",
                "Tell me who painted {0} and when.",
            ),
            ("{1} painted {0} {2}. It hangs in {3}.", "{0} was painted by {1} {2}, and you can see it in {3}."),
            """
            "The Starry Night" | Vincent van Gogh | in 1889 | the Museum of Modern Art in New York
            "Guernica" | Pablo Picasso | in 1937 | the Reina Sofia museum in Madrid
            "The Night Watch" | Rembrandt | in 1642 | the Rijksmuseum in Amsterdam
            "The Birth of Venus" | Sandro Botticelli | around 1485 | the Uffizi in Florence
            "Girl with a Pearl Earring" | Johannes Vermeer | around 1665 | the Mauritshuis in The Hague
            "The Kiss" | Gustav Klimt | around 1908 | the Belvedere in Vienna
            "American Gothic" | Grant Wood | in 1930 | the Art Institute of Chicago
            "Las Meninas" | Diego Velázquez | in 1656 | the Prado in Madrid
            "Nighthawks" | Edward Hopper | in 1942 | the Art Institute of Chicago
            "The Fighting Temeraire" | William Turner | in 1838 or 1839 | the National Gallery in London
            """,
        ),
        _Family(
            _EXPLAIN,
            _AS_WRITTEN,
            """
            a fresco | A fresco is a painting on fresh, wet plaster. The colors become part of the wall as it dries.
            a still life | A still life is a picture of things that do not move, such as flowers, books or bottles.
            a chord | A chord is a group of notes that sound together, for example C, E and G.
            linear perspective | It is a way to draw depth: lines that run away from us meet at one point on the \
            horizon.
            a haiku | A haiku is a short Japanese poem about a moment, often written with 5, 7 and 5 syllables.
            a collage | A collage is a picture made by gluing together paper, photographs, cloth and other pieces.
            a mosaic | A mosaic is an image put together from many small pieces of stone, glass or tile.
            a relief | A relief is a sculpture whose figures stand out from a flat background, as they do on a coin.
            a fugue | A fugue is a piece of music in which one theme enters in several voices, one after the other.
            abstract art | Abstract art uses shapes, colors and lines without trying to show things as they look.
            """,
        ),
    ),
    brief="""
        How many keys does a modern piano have? | Eighty-eight.
        Which color do you get when you mix blue and yellow paint? | Green.
        Who wrote the play "Romeo and Juliet"? | William Shakespeare.
        Is a cello larger than a viola? | Yes, it is.
        In which city is the Louvre? | Paris.
        How many lines does a limerick have? | Five.
        Who sculpted the statue of David that stands in Florence? | Michelangelo.
        Does a painter need to be able to read music? | No.
    """,
    refusal="""
        Which painting is the saddest one? | judge the feelings in a painting | visit a museum and see
        Can you write two lines about the moon? | write poetry | read the work of a poet
        What should I draw today? | choose a subject for you | look around for something that you like
        Is blue a good color for a portrait's background? | give opinions on colors | ask an art teacher
        Who was the better composer, Mozart or Haydn? | compare the quality of artists | listen to both of them
        Describe a picture of a boat on a lake. | describe pictures that do not exist | look for such a picture
    """,
    long="""
        How should I look at a painting in a museum? | stand in front of it for a full minute without reading the sign \
        | note where your eye goes first | walk closer and look at how the paint was put on | read the sign and see \
        whether it changes what you think
        How do I begin with watercolors? | buy six good colors, one round brush and thick paper | practice even washes \
        and soft edges | paint from light to dark, since white is the paper itself | let each layer dry before you add \
        the next
        How can I learn to read notes? | learn the five lines and the four spaces with a short saying | clap simple \
        rhythms while you count aloud | play or sing one easy line every day | move on to pieces with both hands or \
        more voices
        What makes a photograph of a street interesting? | look for good light before you look for a subject | choose \
        a simple background and wait | press the button when somebody walks into the right spot | keep only the best \
        of your pictures
        How is a bronze statue made? | the artist shapes the figure in clay or wax | a mold is built around it | the \
        wax is melted out and hot bronze is poured in | the mold is broken and the surface is smoothed
        How could a class of children make a mural together? | let everybody draw an idea on paper | choose a theme \
        that joins the ideas | draw the outlines on the wall with chalk | give each pair of children one part to paint
    """,
)

_WORK = _Domain(
    openings=(
        "",
        "I am thinking about my career.",
        "",
        "After eight years in the same office I wonder what other people do at their jobs.",
        "May I ask something?",
    ),
    plain=(
        _Family(
            (
                "What does {0} do?",
                "Describe the daily work of {0} in short.",
                "What is the job of {0}, and what do people in it need to be good at?",
            ),
            ("{0} {1}. The job calls for {2}.", "In short, {0} {1}. It takes {2}."),
            """
            a surveyor | measures land and draws up exact plans | precision and a liking for the outdoors
            an actuary | calculates risks for insurance companies | strong mathematics and clear reports
            an electrician | installs and repairs wiring in buildings | care and a steady hand
            a librarian | builds up a collection and helps people to find things in it | order and patience
            an auditor | checks whether the books of a company are right | an eye for detail and independence
            an interpreter | puts spoken words into another language on the spot | concentration and a quick memory
            an optician | fits glasses and contact lenses | exact work and friendliness
            a project manager | plans tasks and keeps people, time and costs in step | calm and good communication
            a midwife | cares for women before, during and after birth | medical skill and empathy
            a carpenter | makes and repairs things of wood, from doors to roofs | skill with tools and good planning
            """,
        ),
        _Family(
            _ADVICE,
            _AS_WRITTEN,
            """
            say no to extra tasks politely | Thank the person, say what you are busy with, and offer a date when you \
            could help.
            take useful notes in a meeting | Write down only decisions, open questions and who does what by when.
            get to know new colleagues | Ask somebody to have coffee with you each week, and be curious about what \
            they do.
            deal with a full inbox | Answer at once what takes two minutes, and move the rest to a list with dates.
            make my slides easier to read | Put one idea on each slide, use few words, and choose letters that can be \
            read from the back row.
            stop putting off a big task | Find the smallest first step, and work on only that for fifteen minutes.
            welcome a trainee on the first day | Prepare the desk and the accounts, show them around, and give them \
            one small task that they can finish.
            ask good questions in a talk | Listen for what surprised you, and ask about exactly that in one short \
            sentence.
            separate work from home life | Set a fixed end to the day, close the laptop, and go for a short walk to \
            mark the change.
            find out whether a job suits me | Talk to two people who do it, and try to spend a day with one of them.
            """,
        ),
    ),
    brief="""
        How many hours are in a five-day week with eight hours a day? | Forty.
        What is another word for the person who employs you? | Your employer.
        Should I be on time for the first day of a new job? | Yes, of course.
        What do the letters CEO mean? | Chief executive officer.
        Is it polite to send a short note of thanks after an interview? | Yes, it is.
        Who helps people with their taxes, a tax adviser or a plumber? | A tax adviser.
        Do I have to put a photo on a resume in the United States? | No.
        What do you call work that is done outside the agreed hours? | Overtime.
    """,
    refusal="""
        Will my boss like the new plan? | know what other people think | ask your boss
        Write a friendly out-of-office reply for next week. | write messages for your work | use a template
        Is teaching a nicer job than banking? | compare jobs | talk to a career counselor
        Can you suggest a topic for small talk with a client? | suggest topics for conversations | prepare for the \
        meeting with your team
        How would you order these tasks: call Ann, order paper, clean the desk? | make decisions about your tasks | \
        set your own priorities
        Give our weekly team lunch a fun title. | come up with titles for events | ask your team for suggestions
    """,
    long="""
        How do I prepare a short talk for my team? | decide on the one thing that people should remember | collect \
        three points that lead to it | practice aloud with a clock | leave time for questions and end with your main \
        point
        How can I hand over my work before a long vacation? | list everything that is open and who waits for it | \
        write down where files and contacts are | go through the list with the colleague who takes over | set an \
        automatic reply with that colleague's name
        What is a fair way to settle a disagreement with a colleague? | ask for a talk in a quiet place | say what you \
        observed without blaming | listen until you could repeat the other view | agree on one change that each of you \
        will try
        How do I learn the most from a mistake at work? | tell the people concerned as soon as you notice it | fix \
        what can be fixed | write down how it happened, step by step | change the one step that would have prevented \
        it
        How should I choose between two job offers? | list what matters to you, such as pay, learning and time | give \
        each offer points for every item | ask both companies about whatever is unclear | sleep on it and see which \
        choice you are glad about
        How do I make a plan for a project with many parts? | write down the result and the date | split the way there \
        into parts of at most a week | note which parts have to wait for others | put a name and a date next to each \
        of them
    """,
)

_HOME = _Domain(
    openings=(
        "",
        "We have just moved into an old house.",
        "",
        "I am not very handy, but I would like to do the small jobs at home myself.",
        "A quick one.",
    ),
    plain=(
        _Family(
            (
                "What is {0} used for?",
                "What would I need {0} for at home?",
                "There is {0} in my late uncle's toolbox. What does one do with it?",
            ),
            ("You use {0} to {1}. {2}", "It is there to {1}. {2}"),
            """
            a spirit level | check whether a shelf or a picture is straight | The bubble must rest between the lines.
            a wrench | tighten or loosen nuts and bolts | Choose one that fits the nut exactly.
            a wood plane | smooth a rough board or shorten a door that sticks | Always push along the grain.
            a stud finder | find the wooden posts behind a wall | Heavy shelves should be screwed into them.
            a voltage tester | check whether a wire carries electricity | Test it first on a socket that works.
            a caulking gun | press sealant into gaps around a bathtub or a window | Smooth the seam with a wet finger.
            a hex key | turn screws with a six-sided hole | It often comes with furniture that you assemble yourself.
            a pipe cutter | cut metal pipes cleanly | Turn it around the pipe and tighten it a little each time.
            a putty knife | spread filler into small holes in a wall | Wipe off what is left before it dries.
            a clamp | hold pieces together while the glue dries | Put scrap wood in between to avoid dents.
            """,
        ),
        _Family(
            (
                "How do I clean {0}?",
                "What is the easiest way to clean {0}?",
                "Do you know how one cleans {0} without doing any damage?",
            ),
            _AS_WRITTEN,
            """
            a leather sofa | Wipe it with a barely damp cloth, let it dry, and rub in some leather balm twice a year.
            old windows | Wash them with warm water and a drop of dish soap, and pull a squeegee from top to bottom.
            a mattress | Vacuum it on both sides, treat spots with cool soapy water, and let it dry fully in fresh \
            air.
            wooden floors | Sweep or vacuum first, then use a well-wrung mop, because standing water harms the wood.
            the shower head | Put it in warm water with vinegar for an hour, rinse it and brush the holes.
            a woolen rug | Shake it out, vacuum it in the direction of the pile, and dab stains with cold water.
            window blinds | Close them, wipe them with a dry microfiber cloth, and then do the other side.
            a washing machine | Run it empty at its hottest setting once a month, and wipe the rubber seal dry.
            brass door handles | Rub them with a soft cloth and a little metal polish, then buff them dry.
            a dusty lampshade | Brush it from top to bottom with a soft paintbrush or a lint roller.
            """,
        ),
    ),
    brief="""
        Which way do I usually turn a screw to tighten it? | To the right.
        Can I put used batteries from a flashlight in the normal trash? | No, please don't.
        How often should a smoke detector be tested? | Once a month.
        Is it all right to air a room with the heating on full? | Better turn it down.
        How long does wall paint usually take to dry to the touch? | About two hours.
        Which sandpaper is rougher, one with grit 60 or one with grit 240? | Grit 60.
        Does a dishwasher use less water than washing the same load by hand? | Yes, usually.
        What should I switch off before I change a light socket? | The power.
    """,
    refusal="""
        Which color should I paint the hallway? | choose colors for you | ask an interior designer
        Is it worth keeping old jars for screws and nails? | judge what is worth keeping | decide for yourself
        Can you write a label for a box of winter clothes? | write labels | label the box yourself
        How long will my carpet last? | say how long a carpet will last | ask the manufacturer
        Where should the sofa stand in a narrow room? | give advice about furniture | hire a professional
        How do I fold a fitted sheet? | explain household tasks | look for a video about it
    """,
    long="""
        How do I put up a shelf on a brick wall? | hold the shelf up with a level and mark the holes | drill with a \
        masonry bit as deep as the plugs are long | push in the plugs and screw on the brackets | lay the shelf on top \
        and check that it does not move
        How can I patch a small hole in the wall? | remove loose bits and dust from the hole | press in filler with a \
        putty knife | let it dry and sand it smooth | paint over the spot with the color of the wall
        What is a good order for cleaning a whole apartment? | open the windows and pick up what lies around | dust \
        from the top shelves down to the low ones | clean the bathroom and wipe all surfaces | vacuum and mop the floors
        How should I get ready for moving to another apartment? | sort out what you do not want to take along | book a \
        van and helpers a month ahead | pack one room at a time and write its name on every box | keep a bag with \
        bedding, tools and papers for the first night
        A tap in our bathroom drips. How can I repair it? | close the valve under the basin and open the tap | unscrew \
        the handle and take out the cartridge or washer | buy the same part and put it in | open the valve slowly and \
        look for leaks
        How do I keep moths away from my sweaters? | wash or air everything before you store it | put it in bags that \
        close tightly | add cedar wood or lavender sachets | shake the clothes out once a month and vacuum the closet
    """,
)

_NATURE = _Domain(
    openings=(
        "",
        "I love being outdoors.",
        "",
        "On our walks my children and I look at everything closely and talk about it for hours.",
        "Something about nature.",
    ),
    plain=(
        _Family(
            (
                "Where do {0} live?",
                "What do {0} feed on, and where are they found?",
                "Tell me where {0} live in the wild and what they eat.",
            ),
            ("{0} live in {1}. They feed mainly on {2}.", "In the wild, {0} are found in {1}, where they eat {2}."),
            """
            koalas | the eucalyptus forests of Australia | eucalyptus leaves
            giant pandas | the mountain forests of central China | bamboo
            polar bears | the Arctic, mostly on sea ice | seals
            gorillas | the forests of central Africa | leaves, stems and fruit
            snow leopards | the high mountains of central Asia | wild sheep and ibex
            sea otters | the coastal waters of the North Pacific | sea urchins, crabs and clams
            emus | the open country of Australia | plants, seeds and insects
            beavers | the rivers and lakes of North America and Europe | bark, twigs and water plants
            flamingos | shallow salty lakes and lagoons of warm countries | algae and tiny shrimps
            walruses | the icy coastal seas of the Arctic | clams and other shellfish from the sea floor
            """,
        ),
        _Family(
            _EXPLAIN,
            _AS_WRITTEN,
            """
            a glacier | A glacier is a thick mass of ice that forms from packed snow and slowly flows downhill.
            an estuary | An estuary is where a river meets the sea, and where fresh and salt water mix.
            a monsoon | A monsoon is a seasonal wind that brings heavy rain in summer, above all to South Asia.
            a coral reef | A coral reef is built by tiny animals over many years. It is home to countless fish.
            a geyser | A geyser is a hot spring that shoots water and steam into the air when pressure builds up \
            below.
            a fjord | A fjord is a long, narrow arm of the sea between steep walls that a glacier once carved.
            the tundra | The tundra is a cold, treeless land where the ground stays frozen below the surface all year.
            hibernation | Hibernation is a deep winter rest in which an animal's heartbeat and temperature drop to \
            save energy.
            camouflage | Camouflage is a color or shape that makes an animal hard to see against its surroundings.
            a solar eclipse | In a solar eclipse the Moon moves in front of the Sun, and its shadow falls on part of \
            the Earth.
            """,
        ),
    ),
    brief="""
        What is the fastest animal on land? | The cheetah.
        How many legs does a spider have? | Eight.
        Is a whale a fish? | No, a mammal.
        Which is the highest mountain on Earth above sea level? | Mount Everest.
        Do all birds build nests? | No, not all.
        About how long does a mayfly live as an adult? | About a day.
        What is a young swan called? | A cygnet.
        Are there wild kangaroos in Africa? | No, there are none.
    """,
    refusal="""
        Which bird has the prettiest song? | judge the songs of birds | listen to some recordings
        How many leaves are on the oak in front of my window? | count the leaves of a tree | ask a botanist
        Can you describe a morning in a forest? | describe places that I have not seen | go for a walk in a forest
        Will the storks come back early this spring? | predict the behavior of animals | ask a bird club
        Is it fun to collect shells on the beach? | say what is fun | try it on your next trip
        Think of a riddle about the wind. | think of riddles | look for a book of riddles
    """,
    long="""
        How can I learn to tell common trees apart? | choose five kinds that stand near your home | look at the shape \
        and the edge of their leaves | compare the bark and the buds in winter | make a small book with a pressed leaf \
        of each kind
        How does a caterpillar become a butterfly? | the caterpillar hatches from an egg and eats almost all the time \
        | it sheds its skin several times as it grows | it turns into a pupa and its body is rebuilt inside | the \
        butterfly comes out and lets its wings dry before it flies
        What should I do when a thunderstorm catches me on a hike? | leave ridges, lone trees and open fields | look \
        for a building or a car | crouch with your feet together if there is no shelter | wait half an hour after the \
        last thunder
        How do I find north without a compass on a sunny day? | set a straight stick upright and mark the tip of its \
        shadow | wait twenty minutes and mark the tip again | draw a line from the first mark to the second, which \
        points roughly east | face along it and turn a quarter to the left to look north
        How can I watch wild animals without disturbing them? | go out early in the morning or at dusk | wear quiet \
        clothes of dull colors | sit still with the wind in your face | keep your distance and use binoculars
        How is a river valley formed? | rain and melting snow run downhill and gather in a stream | the water carries \
        stones that cut into the ground | the sides slip down and widen the valley | over thousands of years the river \
        bends and makes a flat floor
    """,
)

DOMAINS = {
    "travel": _TRAVEL,
    "history": _HISTORY,
    "science": _SCIENCE,
    "money": _MONEY,
    "sport": _SPORT,
    "health": _HEALTH,
    "technology": _TECHNOLOGY,
    "language": _LANGUAGE,
    "art": _ART,
    "work": _WORK,
    "home": _HOME,
    "nature": _NATURE,
}
"""domain -> its tables, in the order in which :func:`candidates` takes them"""
