"""Facts about nature: chemical elements, animals, colours, materials, food and the body."""

from tf_distilbert.sample.facts import Kind, kind, table, with_next

ELEMENTS = table("""
element, symbol, number, nature
hydrogen, H, 1, gas
helium, He, 2, gas
lithium, Li, 3, metal
beryllium, Be, 4, metal
boron, B, 5, -
carbon, C, 6, nonmetal
nitrogen, N, 7, gas
oxygen, O, 8, gas
fluorine, F, 9, gas
neon, Ne, 10, gas
sodium, Na, 11, metal
magnesium, Mg, 12, metal
aluminium, Al, 13, metal
silicon, Si, 14, -
phosphorus, P, 15, nonmetal
sulfur, S, 16, nonmetal
chlorine, Cl, 17, gas
argon, Ar, 18, gas
potassium, K, 19, metal
calcium, Ca, 20, metal
scandium, Sc, 21, metal
titanium, Ti, 22, metal
vanadium, V, 23, metal
chromium, Cr, 24, metal
manganese, Mn, 25, metal
iron, Fe, 26, metal
cobalt, Co, 27, metal
nickel, Ni, 28, metal
copper, Cu, 29, metal
zinc, Zn, 30, metal
bromine, Br, 35, liquid
krypton, Kr, 36, gas
silver, Ag, 47, metal
tin, Sn, 50, metal
iodine, I, 53, nonmetal
xenon, Xe, 54, gas
tungsten, W, 74, metal
platinum, Pt, 78, metal
gold, Au, 79, metal
mercury, Hg, 80, liquid
lead, Pb, 82, metal
radon, Rn, 86, gas
uranium, U, 92, metal
""")

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

COLOURS = table("""
thing, colour
grass, green
snow, white
coal, black
blood, red
milk, white
chocolate, brown
the clear sky, blue
the night sky, black
the sun, yellow
a banana, yellow
a lemon, yellow
a ripe tomato, red
a strawberry, red
a cherry, red
a carrot, orange
a pumpkin, orange
a cucumber, green
a pea, green
a leaf in summer, green
a frog, green
a crow, black
a polar bear, white
a swan, white
a flamingo, pink
a pig, pink
an elephant, grey
a rain cloud, grey
ash, grey
soil, brown
a chestnut, brown
a sapphire, blue
a ruby, red
an emerald, green
lavender, purple
a plum, purple
rice, white
cotton, white
a fire engine, red
""")

MATERIALS = table("""
object, material, source
window, glass, sand
bottle, glass, sand
book, paper, wood
newspaper, paper, wood
table, wood, trees
ladder, wood, trees
shirt, cotton, plants
towel, cotton, plants
sweater, wool, sheep
scarf, wool, sheep
shoe, leather, hides
saddle, leather, hides
wall, brick, clay
chimney, brick, clay
tyre, rubber, sap
candle, wax, bees
nail, steel, iron
bridge, steel, iron
ring, gold, mines
coin, metal, mines
statue, marble, quarries
""")

FOODS = table("""
food, group
apple, fruit
pear, fruit
peach, fruit
orange, fruit
lemon, fruit
cherry, fruit
plum, fruit
strawberry, fruit
melon, fruit
grape, fruit
carrot, vegetable
beet, vegetable
turnip, vegetable
radish, vegetable
cabbage, vegetable
leek, vegetable
cauliflower, vegetable
onion, vegetable
walnut, nut
hazelnut, nut
almond, nut
""")

BODY = table("""
part, action
eyes, see
ears, hear
nose, smell
tongue, taste
teeth, chew
lungs, breathe
brain, think
legs, walk
hands, hold
fingers, touch
throat, swallow
""")

KINDS: tuple[Kind, ...] = (
    kind("symbol", "elements", "element", ELEMENTS, """
The symbol of {element} is {symbol}.
{symbol} is the chemical symbol of {element}.
Chemists write {symbol} for {element}.
Which symbol stands for {element}? It is {symbol}.
Which element has the symbol {symbol}? It is {element}.
In a formula, {symbol} stands for {element}.
In the table of elements, {element} is written {symbol}.
The element {element} has the symbol {symbol}.
{element} is shortened to {symbol}.
"""),
    kind("atomic number", "elements", "element", ELEMENTS, """
The atomic number of {element} is {number}.
{element} has atomic number {number}.
Element number {number} is {element}.
What is the atomic number of {element}? It is {number}.
Which element has atomic number {number}? It is {element}.
An atom of {element} has a charge of {number} in its nucleus.
In the table of elements, place {number} belongs to {element}.
The element {element}, written {symbol}, is number {number}.
"""),
    kind("element nature", "elements", "element", ELEMENTS, """
{element} is a {nature}.
The element {element} is a {nature}.
In a room at normal heat, {element} is a {nature}.
What is {element}? It is a {nature}.
{element}, with the symbol {symbol}, is a {nature}.
Chemists call {element} a {nature}.
We count {element} as a {nature}.
"""),
    kind("element order", "elements", "element", with_next(ELEMENTS)[:29], """
After {element} comes {other_element}.
The element after {element} is {other_element}.
{element} stands just before {other_element} in the table of elements.
{element} has number {number} and {other_element} has number {other_number}.
{symbol} is {element} and {other_symbol} is {other_element}.
An atom of {element} is followed by an atom of {other_element} in the table.
"""),
    kind("young", "animals", "animal", ANIMALS, """
A young {animal} is called {young!a}.
{young!a} is a young {animal}.
{young!a} grows up to be {animal!a}.
The baby of {animal!a} is {young!a}.
What do we call a young {animal}? We call it {young!a}.
What will {young!a} be one day? It will be {animal!a}.
Every {animal} was once {young!a}.
The mother of {young!a} can be {animal!a}.
Before it was {animal!a}, it was {young!a}.
"""),
    kind("sound", "animals", "animal", ANIMALS, """
{animal!a} {sound}.
The {animal} is an animal that {sound}.
Listen to the {animal}: it {sound}.
When it makes a sound, {animal!a} {sound}.
What does {animal!a} do to be heard? It {sound}.
In the story, the {animal} {sound} all night.
In the film, the {animal} {sound}.
If it {sound}, it may be {animal!a}.
"""),
    kind("class", "animals", "animal", ANIMALS, """
{animal!a} is {class!a}.
The {animal} is {class!a}.
The {animal} belongs to the class of the {class}.
What kind of animal is {animal!a}? It is {class!a}.
Every {animal} is {class!a}.
A good example of {class!a} is the {animal}.
Among the animals, {animal!a} counts as {class!a}.
"""),
    kind("legs", "animals", "animal", ANIMALS, """
{animal!a} has {legs} legs.
The {animal} has {legs} legs.
How many legs does {animal!a} have? It has {legs} legs.
Count the legs of {animal!a}: there are {legs} legs.
Every healthy {animal} has {legs} legs.
An animal with {legs} legs is the {animal}.
A drawing of {animal!a} shows {legs} legs.
"""),
    kind("home", "animals", "animal", ANIMALS, """
{animal!a} lives {home}.
The {animal} has its home {home}.
Where does {animal!a} live? It lives {home}.
You may find {animal!a} {home}.
We saw {animal!a} {home}.
The {animal} sleeps {home}.
The {animal} is at home {home}.
"""),
    kind("diet", "animals", "animal", ANIMALS, """
{animal!a} eats {diet}.
The {animal} likes to eat {diet}.
What does {animal!a} eat? It eats {diet}.
The food of the {animal} is {diet}.
A hungry {animal} looks for {diet}.
The {animal} feeds on {diet}.
With some {diet}, the {animal} has enough to eat.
"""),
    kind("colour", "colours", "thing", COLOURS, """
The colour of {thing} is {colour}.
{thing} is {colour}.
What colour is {thing}? It is {colour}.
If you paint {thing}, use {colour} paint.
In the picture {thing} looks {colour}.
As everyone knows, {thing} is {colour}.
For {thing} the child takes the {colour} pencil.
We say as {colour} as {thing}.
"""),
    kind("two colours", "colours", "thing", with_next(COLOURS, 5), """
The colour of {thing} is {colour}, and the colour of {other_thing} is {other_colour}.
While {thing} is {colour}, {other_thing} is {other_colour}.
If {thing} is {colour}, what is {other_thing}? It is {other_colour}.
In the painting {thing} is {colour} and {other_thing} is {other_colour}.
We see {colour} in {thing} and {other_colour} in {other_thing}.
"""),
    kind("material", "materials", "object", MATERIALS, """
The {object} is made of {material}.
{object!a} is often made of {material}.
What is {object!a} made of? It is made of {material}.
From {material} we can make {object!a}.
To make {object!a}, a worker needs {material}.
This {object} is a thing of {material}.
With enough {material} you can make {object!a}.
"""),
    kind("source", "materials", "object", MATERIALS, """
The {material} of the {object} comes from {source}.
The {object} is of {material}, and {material} comes from {source}.
Where does the {material} of {object!a} come from? It comes from {source}.
Without {source} there is no {material} for {object!a}.
From {source} we get {material}, and from {material} the {object}.
We need {source} for {material} and {material} for {object!a}.
"""),
    kind("food group", "food", "food", FOODS, """
{food!a} is a {group}.
The {food} is a kind of {group}.
Is {food!a} a fruit, a vegetable or a nut? It is a {group}.
In the kitchen, {food!a} counts as a {group}.
If you want a {group}, take {food!a}.
My favourite {group} is the {food}.
The shop sells the {food} as a {group}.
"""),
    kind("body", "body", "part", BODY, """
We {action} with our {part}.
By using our {part} we are able to {action}.
With our {part} we {action}.
What do we do with our {part}? We {action}.
To {action}, people use their {part}.
People {action} with the help of their {part}.
Children learn that we {action} with our {part}.
"""),
)
"""The kinds of facts about nature."""
