"""Easy knowledge questions: the words of the answers are scored, the letter is recorded.

Each option's log-likelihood is compared with that after another question of the same table, whose
answer is none of the options.
"""

import random

from comptrust.records import Choice, Message
from comptrust.trust.build import Rows, completion

FACTS = {
    "geography": (
        "What is the capital of {}?",
        (
            "France:Paris,Japan:Tokyo,Italy:Rome,Spain:Madrid,Germany:Berlin,Egypt:Cairo,"
            "Russia:Moscow,China:Beijing,Greece:Athens,Ireland:Dublin,Austria:Vienna,"
            "Poland:Warsaw,Sweden:Stockholm,Norway:Oslo,Cuba:Havana,Peru:Lima,Portugal:Lisbon,"
            "Thailand:Bangkok,Kenya:Nairobi,Canada:Ottawa,Argentina:Buenos Aires,Iraq:Baghdad,"
            "Hungary:Budapest,Turkey:Ankara,Belgium:Brussels,Denmark:Copenhagen,Finland:Helsinki,"
            "Iran:Tehran,Chile:Santiago,Colombia:Bogota,Ukraine:Kyiv,Scotland:Edinburgh"
        ),
    ),
    "languages": (
        "Which language is spoken in {}?",
        (
            "France:French,Japan:Japanese,Italy:Italian,Mexico:Spanish,Austria:German,"
            "Brazil:Portuguese,Russia:Russian,Greece:Greek,Poland:Polish,Sweden:Swedish,"
            "Norway:Norwegian,Turkey:Turkish,Hungary:Hungarian,Denmark:Danish,Thailand:Thai,"
            "Vietnam:Vietnamese,England:English,Finland:Finnish,Iran:Persian,Israel:Hebrew,"
            "Egypt:Arabic,Korea:Korean"
        ),
    ),
    "continents": (
        "On which continent is {}?",
        (
            "France:Europe,Japan:Asia,Egypt:Africa,Canada:North America,Brazil:South America,"
            "Germany:Europe,China:Asia,Kenya:Africa,Mexico:North America,Peru:South America,"
            "Spain:Europe,India:Asia,Nigeria:Africa,Argentina:South America,Italy:Europe,"
            "Thailand:Asia,Ethiopia:Africa,Chile:South America,Poland:Europe,Vietnam:Asia"
        ),
    ),
    "opposites": (
        "What is the opposite of {}?",
        (
            "hot:cold,big:small,up:down,good:bad,rich:poor,fast:slow,light:dark,open:closed,"
            "early:late,wet:dry,hard:soft,loud:quiet,young:old,strong:weak,happy:sad,full:empty,"
            "near:far,true:false,win:lose,push:pull,buy:sell,love:hate,day:night,thick:thin,"
            "left:right,top:bottom,front:back,inside:outside,north:south,east:west,first:last,"
            "more:less,high:low,long:short,wide:narrow,clean:dirty,sweet:bitter,heavy:weightless,"
            "safe:dangerous,begin:end"
        ),
    ),
    "animals": (
        "What is a baby {} called?",
        (
            "dog:puppy,cat:kitten,cow:calf,horse:foal,sheep:lamb,hen:chick,bear:cub,goat:kid,"
            "duck:duckling,frog:tadpole,goose:gosling,deer:fawn,pig:piglet,kangaroo:joey,"
            "butterfly:caterpillar,human:infant"
        ),
    ),
    "sounds": (
        "What sound does a {} make?",
        (
            "dog:bark,cat:meow,cow:moo,horse:neigh,sheep:baa,duck:quack,lion:roar,snake:hiss,"
            "pig:oink,bee:buzz,owl:hoot,wolf:howl,bell:ring,clock:tick"
        ),
    ),
    "professions": (
        "Where does a {} work?",
        (
            "teacher:in a school,doctor:in a hospital,farmer:on a farm,judge:in a court,"
            "chef:in a kitchen,sailor:on a ship,librarian:in a library,banker:in a bank,"
            "baker:in a bakery,scientist:in a laboratory,actor:in a theater,pilot:in an airplane,"
            "priest:in a church,soldier:in the army,mechanic:in a garage,gardener:in a garden,"
            "miner:in a mine,waiter:in a restaurant,professor:at a university,astronaut:in space,"
            "butcher:in a butcher shop,cashier:in a store,pharmacist:in a pharmacy,"
            "clown:in a circus"
        ),
    ),
    "tools": (
        "What does a {} use for work?",
        (
            "painter:a brush,carpenter:a hammer,photographer:a camera,hairdresser:scissors,"
            "writer:a pen,farmer:a tractor,astronomer:a telescope,fisherman:a net,"
            "drummer:drumsticks,tailor:a needle,firefighter:a hose,surgeon:a scalpel,"
            "lumberjack:an axe,programmer:a computer,cook:a pan,archer:a bow"
        ),
    ),
    "categories": (
        "What kind of thing is a {}?",
        (
            "apple:a fruit,carrot:a vegetable,hammer:a tool,violin:a musical instrument,"
            "shark:a fish,eagle:a bird,rose:a flower,oak:a tree,shirt:a piece of clothing,"
            "chair:a piece of furniture,car:a vehicle,dog:a mammal,spider:an arachnid,"
            "gold:a metal,triangle:a shape,rifle:a weapon,tennis:a sport,pistol:a weapon,"
            "piano:a musical instrument,banana:a fruit,truck:a vehicle,salmon:a fish,"
            "tulip:a flower,sofa:a piece of furniture,jacket:a piece of clothing,"
            "football:a sport,circle:a shape,copper:a metal,parrot:a bird,potato:a vegetable,"
            "pine:a tree,horse:a mammal,ant:an insect,snake:a reptile,ruby:a gemstone,"
            "coffee:a drink,flute:a musical instrument,sword:a weapon,tuna:a fish,pear:a fruit,"
            "square:a shape,iron:a metal,bus:a vehicle,owl:a bird,diamond:a gemstone,"
            "lizard:a reptile,beetle:an insect,tea:a drink,screwdriver:a tool,daisy:a flower"
        ),
    ),
    "colors": (
        "What color is {}?",
        (
            "grass:green,the sky:blue,snow:white,blood:red,coal:black,a banana:yellow,"
            "a carrot:orange,chocolate:brown,milk:white,a lemon:yellow,a tomato:red,"
            "the sun:yellow,the ocean:blue,a pumpkin:orange,an elephant:gray,a flamingo:pink,"
            "an eggplant:purple,a crow:black,a frog:green,a strawberry:red"
        ),
    ),
    "materials": (
        "What is {} made of?",
        (
            "a window:glass,a tire:rubber,a book:paper,a coin:metal,a statue:stone,"
            "a sweater:wool,a candle:wax,a chair:wood,bread:flour,cheese:milk,wine:grapes,"
            "a snowman:snow,a shoe:leather,a brick:clay,a tent:fabric,an omelet:eggs,"
            "french fries:potatoes,ketchup:tomatoes,a knife:steel,a bottle:plastic"
        ),
    ),
    "body": (
        "What do we use our {} for?",
        (
            "eyes:seeing,ears:hearing,nose:smelling,teeth:chewing,legs:walking,lungs:breathing,"
            "brain:thinking,hands:holding things,heart:pumping blood,tongue:tasting,"
            "stomach:digesting food,skin:feeling,mouth:speaking,muscles:moving,fingers:pointing,"
            "kidneys:filtering blood"
        ),
    ),
    "science": (
        "Which science studies {}?",
        (
            "stars:astronomy,plants:botany,rocks:geology,animals:zoology,numbers:mathematics,"
            "the mind:psychology,the past:history,living things:biology,"
            "chemical reactions:chemistry,motion and forces:physics,money and trade:economics,"
            "weather:meteorology,languages:linguistics,societies:sociology,"
            "the oceans:oceanography,maps and countries:geography,insects:entomology,"
            "genes:genetics,government:political science,computers:computer science"
        ),
    ),
    "grammar": (
        "What is the past tense of the verb {}?",
        (
            "go:went,see:saw,eat:ate,take:took,run:ran,write:wrote,give:gave,buy:bought,"
            "think:thought,come:came,sing:sang,break:broke,drive:drove,fly:flew,swim:swam,"
            "teach:taught,know:knew,make:made,find:found,say:said,get:got,tell:told,feel:felt,"
            "keep:kept,leave:left,begin:began,hold:held,bring:brought,stand:stood,lose:lost,"
            "pay:paid,meet:met,speak:spoke,fall:fell,send:sent,build:built,draw:drew,grow:grew,"
            "throw:threw,wear:wore,sleep:slept,forget:forgot,win:won,catch:caught,choose:chose,"
            "steal:stole,drink:drank,hear:heard,sell:sold,ride:rode"
        ),
    ),
    "plurals": (
        "What is the plural of {}?",
        (
            "mouse:mice,foot:feet,tooth:teeth,child:children,man:men,woman:women,goose:geese,"
            "person:people,leaf:leaves,knife:knives,wolf:wolves,city:cities,baby:babies,"
            "box:boxes,ox:oxen,wife:wives,life:lives,half:halves,story:stories,hero:heroes"
        ),
    ),
    "family": (
        "What is the female form of {}?",
        (
            "king:queen,man:woman,boy:girl,father:mother,brother:sister,son:daughter,uncle:aunt,"
            "grandfather:grandmother,prince:princess,husband:wife,actor:actress,waiter:waitress,"
            "bull:cow,rooster:hen,lion:lioness,nephew:niece,hero:heroine,god:goddess,"
            "wizard:witch,emperor:empress"
        ),
    ),
    "calendar": (
        "What comes right after {}?",
        (
            "Monday:Tuesday,Tuesday:Wednesday,Wednesday:Thursday,Thursday:Friday,Friday:Saturday,"
            "Saturday:Sunday,January:February,February:March,March:April,April:May,May:June,"
            "June:July,July:August,August:September,September:October,October:November,"
            "November:December,spring:summer,autumn:winter"
        ),
    ),
    "products": (
        "What do we get from a {}?",
        (
            "cow:milk,sheep:wool,hen:eggs,bee:honey,apple tree:apples,oyster:pearls,bakery:bread,"
            "dairy:cheese,vineyard:wine,coal mine:coal,sawmill:lumber,library:books,"
            "pharmacy:medicine,bank:loans,power plant:electricity"
        ),
    ),
}
DEMOS = (
    "Question: What do bees make?\nAnswer: honey\n\nQuestion: What color is the sea?\nAnswer:"
    " blue\n\n"
)


def rows() -> Rows:
    """Return a question with four options per fact; wrong options come from the same table."""
    generator = random.Random(2024)
    built: Rows = {}
    for subject, (question, table) in FACTS.items():
        facts = [tuple(fact.split(":")) for fact in table.split(",")]
        answers = sorted({answer for _, answer in facts})
        built[subject] = []
        for thing, right in facts:
            wrong = [answer for answer in answers if answer != right]
            options = [right, *generator.sample(wrong, 3)]
            generator.shuffle(options)
            other = generator.choice([name for name, answer in facts if answer not in options])
            built[subject].append(
                {
                    "messages": _ask(question.format(thing)),
                    "reference": _ask(question.format(other)),
                    "choices": tuple(
                        Choice(text=letter, continuation=f" {option}")
                        for letter, option in zip("ABCD", options, strict=True)
                    ),
                    "target": "ABCD"[options.index(right)],
                    "extra": {"choices": options, "chance": 0.25},
                }
            )
    return built


def _ask(question: str) -> tuple[Message, ...]:
    return completion(f"{DEMOS}Question: {question}\nAnswer:")
