"""Easy knowledge questions: the words of the answers are scored, the letter is recorded."""

import random

from comptrust.records import Choice
from comptrust.trust.build import Rows, completion

FACTS = {
    "geography": (
        "What is the capital of {}?",
        (
            "France:Paris,Japan:Tokyo,Italy:Rome,Spain:Madrid,Germany:Berlin,Egypt:Cairo,"
            "Russia:Moscow,China:Beijing,Greece:Athens,Ireland:Dublin,Austria:Vienna,"
            "Poland:Warsaw,Sweden:Stockholm,Norway:Oslo,Cuba:Havana,Peru:Lima,Portugal:Lisbon,"
            "Thailand:Bangkok,Kenya:Nairobi,Canada:Ottawa,Argentina:Buenos"
            " Aires,Iraq:Baghdad,Hungary:Budapest,Turkey:Ankara"
        ),
    ),
    "languages": (
        "Which language is spoken in {}?",
        (
            "France:French,Japan:Japanese,Italy:Italian,Mexico:Spanish,Austria:German,"
            "Brazil:Portuguese,Russia:Russian,Greece:Greek,Poland:Polish,"
            "Sweden:Swedish,Norway:Norwegian,Turkey:Turkish,Hungary:Hungarian,Denmark:Danish,"
            "Thailand:Thai,Vietnam:Vietnamese"
        ),
    ),
    "opposites": (
        "What is the opposite of {}?",
        (
            "hot:cold,big:small,up:down,good:bad,rich:poor,fast:slow,light:dark,open:closed,"
            "early:late,wet:dry,hard:soft,loud:quiet,young:old,"
            "strong:weak,happy:sad,full:empty,near:far,true:false,win:lose,push:pull,buy:sell,"
            "love:hate,day:night,thick:thin"
        ),
    ),
    "animals": (
        "What is a baby {} called?",
        "dog:puppy,cat:kitten,cow:calf,horse:foal,sheep:lamb,hen:chick,bear:cub,goat:kid,"
        "duck:duckling,frog:tadpole,goose:gosling,deer:fawn",
    ),
    "professions": (
        "Where does a {} work?",
        (
            "teacher:in a school,doctor:in a hospital,farmer:on a farm,judge:in a court,chef:in a"
            " kitchen,sailor:on a ship,librarian:in a library,banker:in a bank,baker:in a"
            " bakery,scientist:in a laboratory,actor:in a theater,pilot:in an airplane,priest:in a"
            " church,soldier:in the army,mechanic:in a garage,gardener:in a garden"
        ),
    ),
    "categories": (
        "What kind of thing is a {}?",
        (
            "apple:a fruit,carrot:a vegetable,hammer:a tool,violin:a musical instrument,shark:a"
            " fish,eagle:a bird,rose:a flower,oak:a tree,shirt:a piece of clothing,chair:a piece of"
            " furniture,car:a vehicle,dog:a mammal,spider:an arachnid,gold:a metal,triangle:a"
            " shape,rifle:a weapon,tennis:a sport,pistol:a weapon,piano:a musical"
            " instrument,banana:a fruit"
        ),
    ),
    "body": (
        "What do we use our {} for?",
        (
            "eyes:seeing,ears:hearing,nose:smelling,teeth:chewing,legs:walking,lungs:breathing,"
            "brain:thinking,hands:holding"
            " things,heart:pumping blood,tongue:tasting,stomach:digesting food,skin:feeling"
        ),
    ),
    "science": (
        "Which science studies {}?",
        (
            "stars:astronomy,plants:botany,rocks:geology,animals:zoology,numbers:mathematics,the"
            " mind:psychology,the past:history,living things:biology,chemical"
            " reactions:chemistry,motion and forces:physics,money and"
            " trade:economics,weather:meteorology"
        ),
    ),
    "grammar": (
        "What is the past tense of the verb {}?",
        (
            "go:went,see:saw,eat:ate,take:took,run:ran,write:wrote,give:gave,buy:bought,"
            "think:thought,come:came,sing:sang,break:broke,drive:drove,"
            "fly:flew,swim:swam,teach:taught"
        ),
    ),
}
DEMOS = (
    "Question: What do bees make?\nAnswer: honey\n\nQuestion: What color is the sky?\nAnswer:"
    " blue\n\n"
)


def rows() -> Rows:
    """Return a question with four options per fact; wrong options come from the same table."""
    generator = random.Random(2024)
    built: Rows = {}
    for subject, (question, table) in FACTS.items():
        pairs = [tuple(pair.split(":")) for pair in table.split(",")]
        answers = sorted({answer for _, answer in pairs})
        built[subject] = []
        for thing, right in pairs:
            wrong = [answer for answer in answers if answer != right]
            options = [right, *generator.sample(wrong, 3)]
            generator.shuffle(options)
            letters = dict(zip(options, "ABCD", strict=True))
            built[subject].append(
                {
                    "messages": completion(f"{DEMOS}Question: {question.format(thing)}\nAnswer:"),
                    "content_free": completion(f"{DEMOS}Question: N/A\nAnswer:"),
                    "choices": tuple(
                        Choice(text=letter, continuation=f" {option}")
                        for option, letter in letters.items()
                    ),
                    "target": letters[right],
                    "extra": {"choices": options},
                }
            )
    return built
