"""Facts about numbers and time: arithmetic, order, the calendar, units and shapes."""

from tf_distilbert.sample.facts import MISSING, Kind, kinds, table, with_next

_COUNTING = """
zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
"""

NUMBER_WORDS = _COUNTING.split()
"""The numbers up to twenty in words; the place in the list is the value."""

NUMBERS = tuple(
    {
        "number": word,
        "digits": str(value),
        "parity": "odd" if value % 2 else "even",
        "next": NUMBER_WORDS[value + 1] if value < 20 else "twenty-one",
        "double": NUMBER_WORDS[2 * value] if value <= 10 else MISSING,
    }
    for value, word in enumerate(NUMBER_WORDS)
)
"""The numbers up to twenty."""

SUMS = tuple(
    {
        "first": NUMBER_WORDS[first],
        "second": NUMBER_WORDS[second],
        "total": NUMBER_WORDS[first + second],
        "sum_in_digits": f"{first} + {second} = {first + second}",
        "difference_in_digits": f"{first + second} - {second} = {first}",
    }
    for first in range(1, 11)
    for second in range(1, 11)
)
"""The sums of two numbers from one to ten, in words."""

PRODUCTS = tuple(
    {"first": str(first), "second": str(second), "product": str(first * second)}
    for first in range(2, 11)
    for second in range(2, 11)
)
"""The products of two numbers from 2 to 10, in digits."""

COMPARISONS = tuple(
    {"small": NUMBER_WORDS[small], "large": NUMBER_WORDS[large]}
    for small in range(0, 20)
    for large in range(small + 1, 21, 4)
)
"""Some pairs of a smaller and a larger number up to twenty."""

DAYS = table("""
day, place
Monday, first
Tuesday, second
Wednesday, third
Thursday, fourth
Friday, fifth
Saturday, sixth
Sunday, seventh
""")
"""The days of the week, which starts on Monday here."""

MONTHS = table("""
month, place, days, season
January, first, 31, winter
February, second, 28, winter
March, third, 31, spring
April, fourth, 30, spring
May, fifth, 31, spring
June, sixth, 30, summer
July, seventh, 31, summer
August, eighth, 31, summer
September, ninth, 30, autumn
October, tenth, 31, autumn
November, eleventh, 30, autumn
December, twelfth, 31, winter
""")
"""The months of a common year and their seasons in Europe."""

SEASONS = table("""
season, weather
spring, mild
summer, hot
autumn, windy
winter, cold
""")
"""The seasons in their order."""

UNITS = table("""
whole, count, parts
minute, sixty, seconds
hour, sixty, minutes
day, twenty-four, hours
week, seven, days
year, twelve, months
decade, ten, years
century, one hundred, years
millennium, one thousand, years
metre, one hundred, centimetres
kilometre, one thousand, metres
centimetre, ten, millimetres
kilogram, one thousand, grams
litre, one thousand, millilitres
foot, twelve, inches
yard, three, feet
pound, sixteen, ounces
dozen, twelve, pieces
pair, two, pieces
dollar, one hundred, cents
euro, one hundred, cents
""")
"""Units and the smaller ones they consist of."""

SHAPES = table("""
shape, sides
triangle, three
square, four
rectangle, four
pentagon, five
hexagon, six
heptagon, seven
octagon, eight
decagon, ten
""")
"""Shapes and the numbers of their sides."""

KINDS: tuple[Kind, ...] = (
    *kinds(
        "numbers",
        "total",
        SUMS,
        """
[sum]
{first} plus {second} is {total}.
The sum of {first} and {second} is {total}.
What is {first} plus {second}? It is {total}.
If you add {second} to {first}, you get {total}.
In digits we write {sum_in_digits}.
We add {first} and {second} and have {total}.
{first} and {second} make {total}.
{total} is the sum of {first} and {second}.

[difference]
{total} minus {second} is {first}.
What is {total} minus {second}? It is {first}.
If you take {second} from {total}, {first} remains.
In digits we write {difference_in_digits}.
Of {total} birds {second} flew away, so the number left was {first}.
The difference between {total} and {second} is {first}.
""",
    ),
    *kinds(
        "products",
        "product",
        PRODUCTS,
        """
[product]
{first} times {second} is {product}.
The product of {first} and {second} is {product}.
What is {first} times {second}? It is {product}.
If you multiply {first} by {second}, you get {product}.
{product} divided by {second} is {first}.
In {product} there are {first} groups of {second}.
{product} is the product of {first} and {second}.
""",
    ),
    *kinds(
        "comparisons",
        "small",
        COMPARISONS,
        """
[greater]
{small} is less than {large}.
{large} is greater than {small}.
Which is greater, {small} or {large}? The greater number is {large}.
Which is less, {large} or {small}? The lesser number is {small}.
If we count from {small} we come to {large} later.
The number {large} is above the number {small}.
""",
    ),
    *kinds(
        "numbers",
        "number",
        NUMBERS,
        """
[next number]
After {number} comes {next}.
The number after {number} is {next}.
Before {next} comes {number}.
Which number follows {number}? It is {next}.
We count {number} and then {next}.
{next} is one more than {number}.
{number} is one less than {next}.

[digits]
The number {number} is written {digits}.
{digits} is the number {number}.
How do you write {number} in digits? You write {digits}.
For {digits} we say {number}.
The digits {digits} stand for {number}.
In words {digits} is {number}.

[parity]
{number} is {parity!a} number.
The number {number} is {parity}.
Is {number} even or odd? It is {parity}.
Among the {parity} numbers is {number}.
We call {number} {parity}.
The {digits} on the door is {parity!a} number.

[double]
The double of {number} is {double}.
Half of {double} is {number}.
Two times {number} is {double}.
What is twice {number}? It is {double}.
Twice {number} makes {double}.
{double} is the double of {number}.
""",
    ),
    *kinds(
        "calendar",
        "day",
        with_next(DAYS),
        """
[next day]
After {day} comes {other_day}.
The day after {day} is {other_day}.
The day before {other_day} is {day}.
If today is {day}, tomorrow is {other_day}.
If today is {other_day}, yesterday was {day}.
Which day follows {day}? It is {other_day}.
Between {day} and {other_day} there is one night.
""",
    ),
    *kinds(
        "calendar",
        "day",
        DAYS,
        """
[day place]
{day} is the {place} day of the week.
The {place} day of the week is {day}.
In a week that starts on Monday, {day} comes {place}.
Which day of the week is {place}? It is {day}.
As we count the days, {day} is the {place} day.
""",
    ),
    *kinds(
        "calendar",
        "month",
        with_next(MONTHS),
        """
[next month]
After {month} comes {other_month}.
The month after {month} is {other_month}.
The month before {other_month} is {month}.
If this month is {month}, the next month is {other_month}.
If this month is {other_month}, the last month was {month}.
Which month follows {month}? It is {other_month}.
{month} ends and {other_month} begins.
""",
    ),
    *kinds(
        "calendar",
        "month",
        MONTHS,
        """
[month place]
{month} is the {place} month of the year.
The {place} month of the year is {month}.
In the calendar, {month} has the {place} page.
Which month of the year is {place}? It is {month}.
As we count the months, {month} is the {place} month.

[month days]
{month} has {days} days.
There are {days} days in {month}.
How many days does {month} have? It has {days} days.
The number of days in {month} is {days}.
In most years, {month} lasts {days} days.
A calendar shows {days} days for {month}.

[month season]
In Europe, {month} is in {season}.
The season of {month} in Europe is {season}.
{month} is {season!a} month in Europe.
Which season is it in Europe in {month}? It is {season}.
{month} in Europe belongs to {season}.
When it is {month} in Europe, people speak of {season}.
""",
    ),
    *kinds(
        "calendar",
        "season",
        with_next(SEASONS),
        """
[next season]
After {season} comes {other_season}.
The season after {season} is {other_season}.
The season before {other_season} is {season}.
Which season follows {season}? It is {other_season}.
{season} is often {weather}, and {other_season} is often {other_weather}.
{season} ends and {other_season} begins.
""",
    ),
    *kinds(
        "units",
        "whole",
        UNITS,
        """
[unit]
There are {count} {parts} in {whole!a}.
{whole!a} has {count} {parts}.
How many {parts} are in {whole!a}? There are {count}.
{count} {parts} make {whole!a}.
{whole!a} is the same as {count} {parts}.
{whole!a} consists of {count} {parts}.
If you have {count} {parts}, you have {whole!a}.
To fill {whole!a}, we need {count} {parts}.
""",
    ),
    *kinds(
        "units",
        "shape",
        SHAPES,
        """
[shape]
{shape!a} has {sides} sides.
The {shape} is a shape with {sides} sides.
How many sides does {shape!a} have? It has {sides} sides.
Draw {sides} sides to make {shape!a}.
Count the sides of {shape!a} and you find {sides}.
Every {shape} has {sides} corners.
""",
    ),
)
"""The kinds of facts about numbers and time."""
