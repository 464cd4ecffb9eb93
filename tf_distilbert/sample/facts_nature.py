"""Facts about nature: chemical elements, colours, materials, food and the body."""

from tf_distilbert.sample.facts import Kind, kinds, table, with_next

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
"""Chemical elements by atomic number; the first thirty without a gap."""

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
"""Things that have one colour in most minds."""

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
"""Objects, what they are made of, and where that comes from."""

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
"""Fruits, vegetables and nuts."""

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
"""Parts of the body and what they are for."""

KINDS: tuple[Kind, ...] = (
    *kinds(
        "elements",
        "element",
        ELEMENTS,
        """
[symbol]
The symbol of {element} is {symbol}.
{symbol} is the chemical symbol of {element}.
Chemists write {symbol} for {element}.
Which symbol stands for {element}? It is {symbol}.
Which element has the symbol {symbol}? It is {element}.
In a formula, {symbol} stands for {element}.
In the table of elements, {element} is written {symbol}.
The element {element} has the symbol {symbol}.
{element} is shortened to {symbol}.

[atomic number]
The atomic number of {element} is {number}.
{element} has atomic number {number}.
Element number {number} is {element}.
What is the atomic number of {element}? It is {number}.
Which element has atomic number {number}? It is {element}.
An atom of {element} has a charge of {number} in its nucleus.
In the table of elements, place {number} belongs to {element}.
The element {element}, written {symbol}, is number {number}.

[element nature]
{element} is a {nature}.
The element {element} is a {nature}.
In a room at normal heat, {element} is a {nature}.
What is {element}? It is a {nature}.
{element}, with the symbol {symbol}, is a {nature}.
Chemists call {element} a {nature}.
We count {element} as a {nature}.
""",
    ),
    *kinds(
        "elements",
        "element",
        with_next(ELEMENTS)[:29],
        """
[element order]
After {element} comes {other_element}.
The element after {element} is {other_element}.
{element} stands just before {other_element} in the table of elements.
{element} has number {number} and {other_element} has number {other_number}.
{symbol} is {element} and {other_symbol} is {other_element}.
An atom of {element} is followed by an atom of {other_element} in the table.
""",
    ),
    *kinds(
        "colours",
        "thing",
        COLOURS,
        """
[colour]
The colour of {thing} is {colour}.
{thing} is {colour}.
What colour is {thing}? It is {colour}.
If you paint {thing}, use {colour} paint.
In the picture {thing} looks {colour}.
As everyone knows, {thing} is {colour}.
For {thing} the child takes the {colour} pencil.
We say as {colour} as {thing}.
""",
    ),
    *kinds(
        "colours",
        "thing",
        with_next(COLOURS, 5),
        """
[two colours]
The colour of {thing} is {colour}, and the colour of {other_thing} is {other_colour}.
While {thing} is {colour}, {other_thing} is {other_colour}.
If {thing} is {colour}, what is {other_thing}? It is {other_colour}.
In the painting {thing} is {colour} and {other_thing} is {other_colour}.
We see {colour} in {thing} and {other_colour} in {other_thing}.
""",
    ),
    *kinds(
        "materials",
        "object",
        MATERIALS,
        """
[material]
The {object} is made of {material}.
{object!a} is often made of {material}.
What is {object!a} made of? It is made of {material}.
From {material} we can make {object!a}.
To make {object!a}, a worker needs {material}.
This {object} is a thing of {material}.
With enough {material} you can make {object!a}.

[source]
The {material} of the {object} comes from {source}.
The {object} is of {material}, and {material} comes from {source}.
Where does the {material} of {object!a} come from? It comes from {source}.
Without {source} there is no {material} for {object!a}.
From {source} we get {material}, and from {material} the {object}.
We need {source} for {material} and {material} for {object!a}.
""",
    ),
    *kinds(
        "food",
        "food",
        FOODS,
        """
[food group]
{food!a} is a {group}.
The {food} is a kind of {group}.
Is {food!a} a fruit, a vegetable or a nut? It is a {group}.
In the kitchen, {food!a} counts as a {group}.
If you want a {group}, take {food!a}.
My favourite {group} is the {food}.
The shop sells the {food} as a {group}.
""",
    ),
    *kinds(
        "body",
        "part",
        BODY,
        """
[body]
We {action} with our {part}.
By using our {part} we are able to {action}.
With our {part} we {action}.
What do we do with our {part}? We {action}.
To {action}, people use their {part}.
People {action} with the help of their {part}.
Children learn that we {action} with our {part}.
""",
    ),
)
"""The kinds of facts about nature without its animals."""
