"""Facts about animals: their young, sounds, legs, homes and food."""

from tf_distilbert.sample.facts import Kind, kinds, table

ANIMALS = table("""
animal, young, sound, class, legs, home, diet
dog, puppy, barks, mammal, four, in a kennel, meat
cat, kitten, meows, mammal, four, in a house, meat
cow, calf, moos, mammal, four, in a barn, grass
horse, foal, neighs, mammal, four, in a stable, grass
donkey, foal, brays, mammal, four, in a stable, hay
sheep, lamb, bleats, mammal, four, in a meadow, grass
goat, kid, bleats, mammal, four, on a farm, leaves
pig, piglet, grunts, mammal, four, in a sty, roots
duck, duckling, quacks, bird, two, on a pond, weeds
goose, gosling, honks, bird, two, on a lake, grass
hen, chick, clucks, bird, two, in a coop, grain
owl, owlet, hoots, bird, two, in a tree, mice
eagle, eaglet, screeches, bird, two, on a mountain, fish
swan, cygnet, hisses, bird, two, on a river, weeds
pigeon, squab, coos, bird, two, in a city, seeds
penguin, chick, -, bird, two, on the ice, fish
lion, cub, roars, mammal, four, on the savanna, meat
tiger, cub, growls, mammal, four, in the jungle, meat
bear, cub, growls, mammal, four, in a cave, honey
wolf, pup, howls, mammal, four, in a den, meat
fox, cub, yelps, mammal, four, in a den, rabbits
deer, fawn, -, mammal, four, in the forest, leaves
rabbit, bunny, -, mammal, four, in a burrow, grass
hare, leveret, -, mammal, four, in a field, grass
mouse, -, squeaks, mammal, four, in a hole, grain
squirrel, kit, chatters, mammal, four, in a tree, nuts
elephant, calf, trumpets, mammal, four, on the savanna, leaves
giraffe, calf, -, mammal, four, on the savanna, leaves
zebra, foal, -, mammal, four, on the savanna, grass
camel, calf, -, mammal, four, in the desert, grass
monkey, infant, chatters, mammal, -, in the jungle, fruit
kangaroo, joey, -, mammal, -, on the plain, grass
koala, joey, -, mammal, four, in a tree, leaves
whale, calf, sings, mammal, no, in the ocean, krill
dolphin, calf, clicks, mammal, no, in the ocean, fish
seal, pup, barks, mammal, no, on the coast, fish
frog, tadpole, croaks, amphibian, four, in a pond, flies
toad, tadpole, croaks, amphibian, four, in a garden, slugs
snake, snakelet, hisses, reptile, no, in the desert, mice
crocodile, hatchling, -, reptile, four, in a river, fish
lizard, hatchling, -, reptile, four, on a rock, insects
bee, larva, buzzes, insect, six, in a hive, nectar
butterfly, caterpillar, -, insect, six, in a garden, nectar
cricket, nymph, chirps, insect, six, in the grass, leaves
ant, larva, -, insect, six, in a nest, seeds
fly, maggot, buzzes, insect, six, -, -
spider, spiderling, -, arachnid, eight, in a web, flies
scorpion, -, -, arachnid, eight, in the desert, insects
shark, pup, -, fish, no, in the ocean, fish
eel, elver, -, fish, no, in a river, worms
""")
"""Animals; ``sound`` is the verb for their voice."""

KINDS: tuple[Kind, ...] = kinds(
    "animals",
    "animal",
    ANIMALS,
    """
[young]
A young {animal} is called {young!a}.
{young!a} is a young {animal}.
{young!a} grows up to be {animal!a}.
The baby of {animal!a} is {young!a}.
What do we call a young {animal}? We call it {young!a}.
What will {young!a} be one day? It will be {animal!a}.
Every {animal} was once {young!a}.
The mother of {young!a} can be {animal!a}.
Before it was {animal!a}, it was {young!a}.

[sound]
{animal!a} {sound}.
The {animal} is an animal that {sound}.
Listen to the {animal}: it {sound}.
When it makes a sound, {animal!a} {sound}.
What does {animal!a} do to be heard? It {sound}.
In the story, the {animal} {sound} all night.
In the film, the {animal} {sound}.
If it {sound}, it may be {animal!a}.

[class]
{animal!a} is {class!a}.
The {animal} is {class!a}.
The {animal} belongs to the class of the {class}.
What kind of animal is {animal!a}? It is {class!a}.
Every {animal} is {class!a}.
A good example of {class!a} is the {animal}.
Among the animals, {animal!a} counts as {class!a}.

[legs]
{animal!a} has {legs} legs.
The {animal} has {legs} legs.
How many legs does {animal!a} have? It has {legs} legs.
Count the legs of {animal!a}: there are {legs} legs.
Every healthy {animal} has {legs} legs.
An animal with {legs} legs is the {animal}.
A drawing of {animal!a} shows {legs} legs.

[home]
{animal!a} lives {home}.
The {animal} has its home {home}.
Where does {animal!a} live? It lives {home}.
You may find {animal!a} {home}.
We saw {animal!a} {home}.
The {animal} sleeps {home}.
The {animal} is at home {home}.

[diet]
{animal!a} eats {diet}.
The {animal} likes to eat {diet}.
What does {animal!a} eat? It eats {diet}.
The food of the {animal} is {diet}.
A hungry {animal} looks for {diet}.
The {animal} feeds on {diet}.
With some {diet}, the {animal} has enough to eat.
""",
)
"""The kinds of facts about animals."""
