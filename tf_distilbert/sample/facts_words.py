"""Facts about words: opposites, forms of verbs, nouns and adjectives, and the alphabet."""

from string import ascii_uppercase

from tf_distilbert.sample.facts import Kind, kinds, table, with_next

OPPOSITES = table("""
word, opposite
hot, cold
big, small
tall, short
fast, slow
old, young
rich, poor
bright, dark
heavy, light
hard, soft
high, low
near, far
open, closed
full, empty
early, late
wet, dry
clean, dirty
happy, sad
loud, quiet
strong, weak
thick, thin
wide, narrow
deep, shallow
sharp, blunt
sweet, sour
true, false
good, bad
correct, wrong
left, right
up, down
above, below
inside, outside
before, after
first, last
always, never
all, none
more, less
day, night
war, peace
love, hate
friend, enemy
question, answer
beginning, end
birth, death
victory, defeat
buy, sell
give, take
push, pull
win, lose
laugh, cry
begin, finish
arrive, leave
remember, forget
rise, fall
float, sink
north, south
east, west
brave, cowardly
cheap, expensive
easy, difficult
safe, dangerous
smooth, rough
straight, crooked
polite, rude
ancient, modern
""")
"""Pairs of opposites, each pair once."""

VERBS = table("""
base, past, object
eat, ate, an apple
drink, drank, some water
write, wrote, a letter
sing, sang, a song
see, saw, a bird
take, took, a photo
make, made, a cake
give, gave, a present
find, found, a key
buy, bought, a ticket
bring, brought, a basket
build, built, a house
catch, caught, a ball
draw, drew, a map
drive, drove, a car
break, broke, a cup
choose, chose, a hat
hear, heard, a noise
keep, kept, a secret
know, knew, a poem
lose, lost, a glove
meet, met, a friend
ride, rode, a horse
sell, sold, a boat
send, sent, a parcel
steal, stole, a kiss
teach, taught, a lesson
tell, told, a story
throw, threw, a stone
wear, wore, a coat
win, won, a prize
cook, cooked, a soup
paint, painted, a wall
play, played, a game
open, opened, a window
climb, climbed, a hill
""")
"""Verbs, their past forms and something to do with each."""

PLURALS = table("""
one, many
mouse, mice
goose, geese
foot, feet
tooth, teeth
man, men
woman, women
child, children
leaf, leaves
knife, knives
wolf, wolves
life, lives
city, cities
baby, babies
story, stories
box, boxes
church, churches
potato, potatoes
house, houses
tree, trees
cat, cats
dog, dogs
book, books
river, rivers
star, stars
flower, flowers
""")
"""Nouns in the singular and the plural."""

ADJECTIVES = table("""
plain, more, most
big, bigger, biggest
small, smaller, smallest
tall, taller, tallest
old, older, oldest
young, younger, youngest
fast, faster, fastest
slow, slower, slowest
good, better, best
bad, worse, worst
rich, richer, richest
strong, stronger, strongest
long, longer, longest
high, higher, highest
deep, deeper, deepest
warm, warmer, warmest
cold, colder, coldest
bright, brighter, brightest
happy, happier, happiest
heavy, heavier, heaviest
easy, easier, easiest
""")
"""Adjectives and their degrees."""

LETTERS = tuple({"letter": letter} for letter in ascii_uppercase)
"""The letters of the alphabet in their order."""

KINDS: tuple[Kind, ...] = (
    *kinds(
        "opposites",
        "word",
        OPPOSITES,
        """
[opposite]
The opposite of {word} is {opposite}.
{opposite} is the opposite of {word}.
What is the opposite of {word}? It is {opposite}.
If the word is not {word}, perhaps it is {opposite}.
{word} and {opposite} are opposites.
{opposite} means the reverse of {word}.
The word {word} is the contrary of the word {opposite}.
One says {word}, the other says {opposite}.
From {word} to {opposite} is a great change.
""",
    ),
    *kinds(
        "opposites",
        "word",
        with_next(OPPOSITES, 9),
        """
[two opposites]
{word} is to {opposite} as {other_word} is to {other_opposite}.
The opposite of {word} is {opposite}, and the opposite of {other_word} is {other_opposite}.
If {word} goes with {opposite}, then {other_word} goes with {other_opposite}.
Opposites come in pairs: {word} and {opposite}, {other_word} and {other_opposite}.
""",
    ),
    *kinds(
        "verbs",
        "base",
        VERBS,
        """
[past]
Today I {base} {object}, and yesterday I {past} {object}.
Yesterday we {past} {object}; tomorrow we will {base} {object} again.
The past of {base} is {past}.
The verb {base} has {past} as its past form.
Did you {base} {object}? Yes, I {past} {object}.
They wanted to {base} {object}, so they {past} {object}.
She said she would {base} {object}, and she {past} {object}.
What is the past of the verb {base}? It is {past}.
He may {base} {object} now, as he once {past} {object}.
""",
    ),
    *kinds(
        "plurals",
        "one",
        PLURALS,
        """
[plural]
One {one}, two {many}.
The plural of {one} is {many}.
First I saw one {one}, then I saw three {many}.
{many} is the plural of {one}.
What is the plural of {one}? It is {many}.
There is one {one} here, but there are many {many} there.
If you add a {one} to a {one}, you have two {many}.
Not a single {one} is here, but ten {many} are on the way.
""",
    ),
    *kinds(
        "adjectives",
        "plain",
        ADJECTIVES,
        """
[comparison]
{plain}, {more}, {most}.
This one is {plain}, that one is {more}, and the last one is the {most}.
If all are {plain}, one of them is still the {most}.
The form after {plain} is {more}, and the form after {more} is {most}.
Tom is {plain}, Ann is {more} than Tom, and Ben is the {most} of the three.
It was {plain} in spring, {more} in summer and {most} in autumn.
What comes after {plain} and {more}? The word {most}.
""",
    ),
    *kinds(
        "letters",
        "letter",
        with_next(LETTERS)[:-1],
        """
[alphabet]
In the alphabet, {letter} comes before {other_letter}.
After the letter {letter} comes the letter {other_letter}.
The letter {other_letter} follows the letter {letter}.
Which letter comes after {letter}? It is {other_letter}.
The children sing {letter} and then {other_letter}.
Between {letter} and {other_letter} there is no other letter.
""",
    ),
    *kinds(
        "letters",
        "letter",
        with_next(with_next(LETTERS))[:-2],
        """
[three letters]
{letter}, {other_letter}, {other_other_letter} are three letters in a row.
The letter {other_letter} stands between {letter} and {other_other_letter}.
Say {letter}, say {other_letter}, say {other_other_letter}.
""",
    ),
)
"""The kinds of facts about words."""
