"""Facts about the world: countries, rivers, mountains and planets."""

from tf_distilbert.sample.facts import Kind, kinds, table, with_next

COUNTRIES = table("""
country, capital, continent, language, currency, people, neighbour
France, Paris, Europe, French, euro, French, Spain
Germany, Berlin, Europe, German, euro, German, Poland
Italy, Rome, Europe, Italian, euro, Italian, Slovenia
Spain, Madrid, Europe, Spanish, euro, Spanish, Portugal
Portugal, Lisbon, Europe, Portuguese, euro, Portuguese, Spain
Greece, Athens, Europe, Greek, euro, Greek, Albania
Austria, Vienna, Europe, German, euro, Austrian, Germany
Belgium, Brussels, Europe, Dutch, euro, Belgian, France
Switzerland, Bern, Europe, German, franc, Swiss, Italy
England, London, Europe, English, pound, English, Scotland
Ireland, Dublin, Europe, English, euro, Irish, -
Iceland, Reykjavik, Europe, Icelandic, krona, Icelandic, -
Finland, Helsinki, Europe, Finnish, euro, Finnish, Sweden
Sweden, Stockholm, Europe, Swedish, krona, Swedish, Norway
Norway, Oslo, Europe, Norwegian, krone, Norwegian, Sweden
Denmark, Copenhagen, Europe, Danish, krone, Danish, Germany
Poland, Warsaw, Europe, Polish, zloty, Polish, Germany
Hungary, Budapest, Europe, Hungarian, forint, Hungarian, Austria
Romania, Bucharest, Europe, Romanian, leu, Romanian, Hungary
Bulgaria, Sofia, Europe, Bulgarian, -, Bulgarian, Greece
Croatia, Zagreb, Europe, Croatian, euro, Croatian, Slovenia
Slovenia, Ljubljana, Europe, Slovene, euro, Slovenian, Croatia
Slovakia, Bratislava, Europe, Slovak, euro, Slovak, Poland
Serbia, Belgrade, Europe, Serbian, dinar, Serbian, Hungary
Albania, Tirana, Europe, Albanian, lek, Albanian, Greece
Ukraine, Kyiv, Europe, Ukrainian, hryvnia, Ukrainian, Poland
Estonia, Tallinn, Europe, Estonian, euro, Estonian, Latvia
Latvia, Riga, Europe, Latvian, euro, Latvian, Estonia
Lithuania, Vilnius, Europe, Lithuanian, euro, Lithuanian, Latvia
Russia, Moscow, -, Russian, ruble, Russian, Finland
Turkey, Ankara, -, Turkish, lira, Turkish, Greece
Egypt, Cairo, Africa, Arabic, pound, Egyptian, Libya
Libya, Tripoli, Africa, Arabic, dinar, Libyan, Egypt
Tunisia, Tunis, Africa, Arabic, dinar, Tunisian, Algeria
Algeria, Algiers, Africa, Arabic, dinar, Algerian, Tunisia
Morocco, Rabat, Africa, Arabic, dirham, Moroccan, Algeria
Kenya, Nairobi, Africa, Swahili, shilling, Kenyan, Ethiopia
Ethiopia, Addis Ababa, Africa, Amharic, birr, Ethiopian, Kenya
Ghana, Accra, Africa, English, cedi, Ghanaian, Togo
Nigeria, Abuja, Africa, English, naira, Nigerian, Niger
Senegal, Dakar, Africa, -, franc, Senegalese, Mali
Somalia, Mogadishu, Africa, Somali, shilling, Somali, Kenya
Zambia, Lusaka, Africa, -, kwacha, Zambian, Angola
Angola, Luanda, Africa, Portuguese, kwanza, Angolan, Zambia
China, Beijing, Asia, Chinese, yuan, Chinese, Mongolia
Japan, Tokyo, Asia, Japanese, yen, Japanese, -
India, New Delhi, Asia, Hindi, rupee, Indian, Nepal
Nepal, Kathmandu, Asia, Nepali, rupee, Nepalese, India
Pakistan, Islamabad, Asia, Urdu, rupee, Pakistani, Iran
Iran, Tehran, Asia, Persian, rial, Iranian, Iraq
Iraq, Baghdad, Asia, Arabic, dinar, Iraqi, Iran
Jordan, Amman, Asia, Arabic, dinar, Jordanian, Iraq
Thailand, Bangkok, Asia, Thai, baht, Thai, Laos
Vietnam, Hanoi, Asia, Vietnamese, dong, Vietnamese, Laos
Mongolia, Ulaanbaatar, Asia, Mongolian, tugrik, Mongolian, China
Canada, Ottawa, North America, English, dollar, Canadian, -
Cuba, Havana, North America, Spanish, peso, Cuban, -
Jamaica, Kingston, North America, English, dollar, Jamaican, -
Brazil, Brasilia, South America, Portuguese, real, Brazilian, Peru
Argentina, Buenos Aires, South America, Spanish, peso, Argentinian, Chile
Chile, Santiago, South America, Spanish, peso, Chilean, Argentina
Peru, Lima, South America, Spanish, sol, Peruvian, Chile
Colombia, Bogota, South America, Spanish, peso, Colombian, Peru
Ecuador, Quito, South America, Spanish, dollar, Ecuadorian, Peru
Uruguay, Montevideo, South America, Spanish, peso, Uruguayan, Brazil
Australia, Canberra, Oceania, English, dollar, Australian, -
""")
"""Countries with one word for each trait; ``people`` is the adjective for their citizens."""

RIVERS = table("""
river, place, mouth
Nile, Egypt, Mediterranean Sea
Thames, England, North Sea
Seine, France, English Channel
Rhine, Germany, North Sea
Danube, Hungary, Black Sea
Volga, Russia, Caspian Sea
Tiber, Italy, Tyrrhenian Sea
Vistula, Poland, Baltic Sea
Tagus, Portugal, Atlantic Ocean
Ebro, Spain, Mediterranean Sea
Shannon, Ireland, Atlantic Ocean
Ganges, India, Bay of Bengal
Indus, Pakistan, Arabian Sea
Mekong, Vietnam, South China Sea
Yangtze, China, East China Sea
Tigris, Iraq, -
Amazon, Brazil, Atlantic Ocean
Niger, Nigeria, Atlantic Ocean
Murray, Australia, -
""")
"""Rivers, a country each flows through, and the water each ends in."""

MOUNTAINS = table("""
mountain, place, range
Mount Everest, Nepal, Himalayas
Mont Blanc, France, Alps
Mount Olympus, Greece, -
Mount Fuji, Japan, -
Mount Etna, Italy, -
Mount Logan, Canada, -
Mount Elbrus, Russia, Caucasus
Mount Ararat, Turkey, -
Mount Kenya, Kenya, -
Mount Kosciuszko, Australia, -
Aconcagua, Argentina, Andes
Chimborazo, Ecuador, Andes
Huascaran, Peru, Andes
Triglav, Slovenia, Alps
Toubkal, Morocco, Atlas
Hekla, Iceland, -
""")
"""Mountains, the country and the range each stands in."""

PLANETS = table("""
planet, place, nature, moons, feature
Mercury, first, rocky, no moons, the smallest planet
Venus, second, rocky, no moons, the hottest planet
Earth, third, rocky, one moon, the planet with life
Mars, fourth, rocky, two moons, the red planet
Jupiter, fifth, giant, many moons, the largest planet
Saturn, sixth, giant, many moons, the planet with bright rings
Uranus, seventh, giant, many moons, the planet that lies on its side
Neptune, eighth, giant, many moons, the planet farthest from the sun
""")
"""The planets in their order from the sun."""

SIZES = with_next(
    table("""
planet
Jupiter
Saturn
Uranus
Neptune
Earth
Venus
Mars
Mercury
""")
)[:-1]
"""Each planet with the next smaller one."""

KINDS: tuple[Kind, ...] = (
    *kinds(
        "countries",
        "country",
        COUNTRIES,
        """
[capital]
{capital} is the capital of {country}.
The capital of {country} is {capital}.
What is the capital of {country}? It is {capital}.
Which country has {capital} as its capital? It is {country}.
{country} is governed from its capital, {capital}.
The capital city of {country} is called {capital}.
{country} has a capital named {capital}.
To see the capital of {country}, travel to {capital}.
The government of {country} sits in {capital}.
{capital} is a city in {country}, and it is the capital.
A visitor to {capital} stands in the capital of {country}.

[continent]
{country} is a country in {continent}.
{country} lies in {continent}.
On which continent is {country}? It is in {continent}.
The continent of {country} is {continent}.
{country} belongs to the continent of {continent}.
The city of {capital} is in {continent}, because {country} is in {continent}.
On a map of {continent} you can find {country}.
One of the countries of {continent} is {country}.
To reach {country}, you must go to {continent}.

[language]
The main language of {country} is {language}.
People in {country} speak {language}.
{language} is spoken in {country}.
Which language do people speak in {country}? They speak {language}.
In {capital}, the capital of {country}, you hear people speak {language}.
If you move to {country}, you should learn {language}.
Most signs in {country} are written in {language}.
Children in {country} learn to read {language}.
The newspapers of {country} are printed in {language}.

[currency]
The currency of {country} is the {currency}.
In {country} people pay with the {currency}.
The {currency} is the money of {country}.
Which currency is used in {country}? They use the {currency}.
Shops in {country} show their prices in the {currency}.
The money used in {country} is called the {currency}.
The banks of {capital} in {country} count in the {currency}.
Before a trip to {country}, change your money into the {currency}.

[people]
A person from {country} is {people}.
Someone born in {country} is called {people}.
The {people} people live in {country}.
{people} citizens come from {country}.
What do we call a person from {country}? We call that person {people}.
The {people} flag is the flag of {country}.
{people} food comes from the kitchens of {country}.
The {people} team plays for {country}.

[neighbour]
{country} has a border with {neighbour}.
{country} and {neighbour} are neighbours.
{neighbour} is a neighbour of {country}.
Which country is next to {country}? One neighbour is {neighbour}.
You can walk from {country} across the border to {neighbour}.
A road leads from {country} over the border into {neighbour}.
Between {country} and {neighbour} there is a border.
On the map, {country} touches {neighbour}.
""",
    ),
    *kinds(
        "countries",
        "country",
        with_next(COUNTRIES, 7),
        """
[two capitals]
{capital} and {other_capital} are capitals; the first of {country}, the second of {other_country}.
{country} has {capital} as its capital, while {other_country} has {other_capital}.
The capital of {country} is {capital}, but the capital of {other_country} is {other_capital}.
From {capital} in {country} we flew to {other_capital} in {other_country}.
{capital} belongs to {country} and {other_capital} belongs to {other_country}.
{capital} is not in {other_country}; it is in {country}, and {other_capital} is in {other_country}.
Two countries and their capitals: {country}, {capital}; {other_country}, {other_capital}.
""",
    ),
    *kinds(
        "geography",
        "river",
        RIVERS,
        """
[river]
The {river} is a river in {place}.
The {river} flows through {place}.
A great river of {place} is the {river}.
Through which country does the river {river} flow? It flows through {place}.
Boats on the {river} pass through {place}.
In {place} there is a river called the {river}.
The river {river} can be seen in {place}.
People in {place} fish in the {river}.

[mouth]
The {river} flows into the {mouth}.
The river {river} ends in the {mouth}.
Where does the river {river} end? It ends in the {mouth}.
The water of the {river} reaches the {mouth}.
A boat that follows the {river} comes to the {mouth}.
The {mouth} takes in the water of the river {river}.
The mouth of the {river} is at the {mouth}.
""",
    ),
    *kinds(
        "geography",
        "mountain",
        MOUNTAINS,
        """
[mountain]
{mountain} is a mountain in {place}.
{mountain} stands in {place}.
A famous mountain of {place} is {mountain}.
In which country is {mountain}? It is in {place}.
Climbers travel to {place} to see {mountain}.
In {place} there is a high mountain called {mountain}.
Snow can fall on {mountain} in {place}.
If you climb {mountain}, you are in {place}.

[range]
{mountain} is part of the {range}.
{mountain} rises in the {range}.
To which mountains does {mountain} belong? It belongs to the {range}.
Among the peaks of the {range} is {mountain}.
In the {range} climbers come to {mountain}.
Climbers on {mountain} look out over the {range}.
""",
    ),
    *kinds(
        "planets",
        "planet",
        PLANETS,
        """
[planet place]
{planet} is the {place} planet from the sun.
The {place} planet from the sun is {planet}.
Counting from the sun, {planet} is the {place} planet.
Which planet is {place} from the sun? It is {planet}.
In the list of planets, {planet} comes {place}.
{planet} has the {place} place among the planets.
The planet {planet} moves around the sun in the {place} orbit.
If you count the planets, number {place} is {planet}.

[planet nature]
{planet} is a {nature} planet.
The planet {planet} is {nature}.
Among the {nature} planets is {planet}.
{planet} is one of the four {nature} planets.
Is {planet} rocky or giant? It is {nature}.
We call {planet} a {nature} world.

[planet moons]
{planet} is a planet that has {moons}.
The planet {planet} has {moons}.
How many moons does {planet} have? It has {moons}.
With a telescope you can count {moons} at {planet}.
Astronomers know of {moons} around {planet}.

[planet feature]
{planet} is {feature}.
The planet {planet} is known as {feature}.
Which planet is {feature}? It is {planet}.
If someone speaks of {feature}, think of {planet}.
We know {planet} as {feature}.
The name of {feature} is {planet}.
""",
    ),
    *kinds(
        "planets",
        "planet",
        with_next(PLANETS)[:-1],
        """
[planet order]
After {planet} comes {other_planet}.
{planet} is closer to the sun than {other_planet}.
{other_planet} is farther from the sun than {planet}.
The planet after {planet} is {other_planet}.
Just before {other_planet} we find {planet}.
Which planet follows {planet}? It is {other_planet}.
The neighbours {planet} and {other_planet} move around the sun.
""",
    ),
    *kinds(
        "planets",
        "planet",
        SIZES,
        """
[planet size]
{planet} is larger than {other_planet}.
{other_planet} is smaller than {planet}.
The planet {planet} is bigger than the planet {other_planet}.
Which is larger, {planet} or {other_planet}? The larger one is {planet}.
Compared with {planet}, {other_planet} is small.
In size, {other_planet} comes right after {planet}.
""",
    ),
)
"""The kinds of facts about the world."""
