"""Facts about what people do and make: work, books, inventions, music, sports and homes."""

from tf_distilbert.sample.facts import Kind, kinds, table, with_next

PROFESSIONS = table("""
worker, tool, place, task
baker, oven, bakery, bakes bread
teacher, blackboard, school, teaches children
doctor, stethoscope, hospital, heals the sick
nurse, thermometer, hospital, cares for patients
carpenter, saw, workshop, builds furniture
painter, brush, studio, paints pictures
farmer, tractor, farm, grows crops
cook, pan, kitchen, prepares meals
gardener, spade, garden, plants flowers
tailor, needle, shop, sews clothes
hairdresser, comb, salon, cuts hair
butcher, cleaver, market, sells meat
fisherman, net, harbour, catches fish
sailor, rope, port, ties knots
pilot, radio, airport, flies planes
miner, pickaxe, mine, digs for coal
blacksmith, hammer, forge, shapes iron
mason, trowel, yard, lays bricks
plumber, wrench, bathroom, mends pipes
astronomer, telescope, observatory, studies stars
biologist, microscope, laboratory, studies cells
judge, gavel, court, decides cases
actor, mask, theatre, performs plays
writer, pen, library, writes books
photographer, camera, darkroom, takes photographs
dentist, drill, clinic, treats teeth
firefighter, hose, fire station, puts out fires
waiter, tray, restaurant, serves guests
mechanic, jack, garage, repairs cars
programmer, computer, office, writes programs
potter, wheel, pottery, makes bowls
shepherd, crook, field, guards sheep
librarian, catalogue, reading room, lends books
cashier, till, supermarket, takes money
lumberjack, axe, camp, fells trees
""")
"""Workers, a tool, the place and the task of each."""

WORKS = table("""
work, author, form
Hamlet, Shakespeare, play
Macbeth, Shakespeare, play
Othello, Shakespeare, play
Faust, Goethe, play
Tartuffe, Moliere, play
Pygmalion, Shaw, play
Antigone, Sophocles, play
Medea, Euripides, play
Emma, Austen, novel
Persuasion, Austen, novel
Oliver Twist, Dickens, novel
Bleak House, Dickens, novel
Jane Eyre, Bronte, novel
Dracula, Stoker, novel
Frankenstein, Shelley, novel
Ulysses, Joyce, novel
Moby Dick, Melville, novel
Walden, Thoreau, book
Don Quixote, Cervantes, novel
Candide, Voltaire, novel
Madame Bovary, Flaubert, novel
Nana, Zola, novel
War and Peace, Tolstoy, novel
Anna Karenina, Tolstoy, novel
Crime and Punishment, Dostoevsky, novel
The Trial, Kafka, novel
The Odyssey, Homer, poem
The Iliad, Homer, poem
The Aeneid, Virgil, poem
Paradise Lost, Milton, poem
Principia, Newton, book
Carmen, Bizet, opera
Aida, Verdi, opera
Tosca, Puccini, opera
The Magic Flute, Mozart, opera
Fidelio, Beethoven, opera
""")
"""Famous works and the last names of their authors."""

INVENTIONS = table("""
thing, person
the telephone, Bell
the phonograph, Edison
dynamite, Nobel
the diesel engine, Diesel
the first battery, Volta
the lightning rod, Franklin
the mercury barometer, Torricelli
the pendulum clock, Huygens
the printing press of Europe, Gutenberg
the alphabet for blind readers, Braille
the telegraph code, Morse
the laws of motion, Newton
the theory of relativity, Einstein
the theory of evolution by selection, Darwin
the laws of heredity, Mendel
the periodic table, Mendeleev
radium, Curie
penicillin, Fleming
the moons of Jupiter, Galileo
the vaccine against rabies, Pasteur
the waves of radio, Hertz
the rays that show bones, Roentgen
the laws of the orbits of planets, Kepler
the law of buoyancy, Archimedes
""")
"""Inventions and discoveries, each with the person it is linked with."""

INSTRUMENTS = table("""
instrument, family, player
violin, strings, violinist
cello, strings, cellist
guitar, strings, guitarist
harp, strings, harpist
flute, woodwinds, flautist
oboe, woodwinds, oboist
clarinet, woodwinds, clarinettist
bassoon, woodwinds, bassoonist
trumpet, brass, trumpeter
trombone, brass, trombonist
horn, brass, hornist
drum, percussion, drummer
xylophone, percussion, xylophonist
""")
"""Instruments of the orchestra and who plays them."""

SPORTS = table("""
sport, tool, place
tennis, racket, court
golf, club, course
baseball, bat, diamond
cricket, bat, field
hockey, stick, rink
archery, bow, range
fencing, sword, hall
rowing, oar, river
cycling, bicycle, track
basketball, hoop, court
skiing, pair of skis, slope
surfing, board, beach
chess, board, table
billiards, cue, table
""")
"""Sports and games, a thing they need and where they are played."""

ROOMS = table("""
thing, room
bed, bedroom
pillow, bedroom
wardrobe, bedroom
stove, kitchen
sink, kitchen
fridge, kitchen
shower, bathroom
bathtub, bathroom
sofa, living room
fireplace, living room
car, garage
bicycle, garage
old trunk, attic
wine barrel, cellar
desk, study
""")
"""Things and the room of a house they belong in."""

KINDS: tuple[Kind, ...] = (
    *kinds(
        "work",
        "worker",
        PROFESSIONS,
        """
[workplace]
{worker!a} works at {place!a}.
The {worker} goes to work at the {place}.
Where does {worker!a} work? At {place!a}.
At the {place} you can meet the {worker}.
The {place} is where the {worker} works.
We went to the {place} and spoke with the {worker}.
The {worker} has a job at the {place}.

[tool]
{worker!a} uses {tool!a}.
The tool of the {worker} is the {tool}.
Which tool does {worker!a} use? It is the {tool}.
The {tool} is the tool of the {worker}.
The {worker} cannot work without {tool!a}.
The {worker} keeps {tool!a} at hand.
Give the {tool} to the {worker}.
The {worker} at the {place} needs {tool!a}.

[task]
By trade, {worker!a} {task}.
The {worker} is the person who {task}.
What does {worker!a} do? This person {task}.
Someone who {task} is {worker!a}.
At the {place} the {worker} {task}.
With the {tool}, the {worker} {task}.
Every day the {worker} {task}.
If your neighbour {task}, your neighbour may be {worker!a}.
""",
    ),
    *kinds(
        "books",
        "work",
        WORKS,
        """
[author]
{work} was written by {author}.
{author} wrote {work}.
Who wrote {work}? It was {author}.
The author of {work} is {author}.
{author} is the author of {work}.
{author} is famous for {work}.
When you read {work}, you read {author}.
The name of {author} stands on the cover of {work}.
{author} finished {work} long ago.

[form]
{work} is {form!a}.
{work} by {author} is {form!a}.
What is {work}? It is {form!a} by {author}.
{author} wrote {form!a} called {work}.
{form!a} by {author} has the title {work}.
The {form} {work} is by {author}.
They know {author} for {form!a}, namely {work}.
""",
    ),
    *kinds(
        "inventions",
        "thing",
        INVENTIONS,
        """
[inventor]
{thing} is linked with the name {person}.
We owe {thing} to {person}.
{person} gave the world {thing}.
To whom do we owe {thing}? We owe it to {person}.
The name of {person} is tied to {thing}.
{person} is famous for {thing}.
Think of {thing} and you think of {person}.
The person behind {thing} was {person}.
In the story of science, {person} stands for {thing}.
""",
    ),
    *kinds(
        "music",
        "instrument",
        INSTRUMENTS,
        """
[family]
The {instrument} belongs to the {family}.
{instrument!a} is one of the {family}.
To which family does the {instrument} belong? It belongs to the {family}.
In the orchestra the {instrument} sits with the {family}.
Among the {family} we hear the {instrument}.
The family of the {instrument} is the {family}.
The {family} play, and the {instrument} plays with them.

[player]
{player!a} plays the {instrument}.
Someone who plays the {instrument} is called {player!a}.
What is a player of the {instrument} called? A {player}.
The {player} takes the {instrument} out of its case.
Without the {instrument} the {player} cannot play.
The {instrument} is played by {player!a}.
""",
    ),
    *kinds(
        "sports",
        "sport",
        SPORTS,
        """
[sport tool]
For {sport} you need {tool!a}.
In {sport} the players use {tool!a}.
What do you need for {sport}? You need {tool!a}.
{tool!a} is used in {sport}.
The child who loves {sport} asks for {tool!a}.
Without {tool!a} there is no {sport}.

[sport place]
The place for {sport} is the {place}.
We go to the {place} for {sport}.
Where can I try {sport}? You can try it at the {place}.
At the {place} they enjoy {sport}.
For {sport}, take {tool!a} and find a {place}.
The fans of {sport} meet at the {place}.
""",
    ),
    *kinds(
        "homes",
        "thing",
        ROOMS,
        """
[room]
The {thing} is in the {room}.
You find the {thing} in the {room}.
Where is the {thing}? It is in the {room}.
In the {room} there is {thing!a}.
{thing!a} belongs in the {room}.
Go to the {room} to find the {thing}.
The {room} has {thing!a}.
""",
    ),
    *kinds(
        "homes",
        "thing",
        with_next(ROOMS, 4),
        """
[two rooms]
The {thing} is in the {room}, and the {other_thing} is in the {other_room}.
Put the {thing} into the {room} and the {other_thing} into the {other_room}.
In the {room} we see the {thing}; in the {other_room} we see the {other_thing}.
The {room} is for the {thing} and the {other_room} for the {other_thing}.
""",
    ),
)
"""The kinds of facts about what people do and make."""
