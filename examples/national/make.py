"""Makes examples/national: an exchange of a whole country, with 33 sites and 300 members. Always the same.

    python examples/national/make.py            write the files beside this one
    python examples/national/make.py FOLDER     write them elsewhere

Shape: a hub and two backbone connect points in a triangle; eight regional nodes, each joined to the two nearest of these three; all other
nodes, each joined to the two nearest of these eleven. The two lines of a site belong to two carriers, so that no line, no carrier and no other
site cuts it off. What is invented, and which numbers stand for networks, is told in SOURCE.txt.

To see an exchange of another size, change the lists below and run this again: nothing else has to be edited.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from pathlib import Path
from typing import NamedTuple


class City(NamedTuple):
    """name, Chinese name, degrees north and east, country."""

    name: str
    chinese: str
    latitude: float
    longitude: float
    country: str = "CN"


HUB = City("wuhan", "武汉", 30.59, 114.30)
BACKBONE = (City("beijing", "北京", 39.90, 116.40), City("guangzhou", "广州", 23.13, 113.26))
REGIONAL = (
    City("shenyang", "沈阳", 41.80, 123.43),
    City("shanghai", "上海", 31.23, 121.47),
    City("nanjing", "南京", 32.06, 118.80),
    City("zhengzhou", "郑州", 34.75, 113.62),
    City("changsha", "长沙", 28.23, 112.94),
    City("xian", "西安", 34.34, 108.94),
    City("chengdu", "成都", 30.57, 104.07),
    City("lanzhou", "兰州", 36.06, 103.83),
)
NODES = (
    City("harbin", "哈尔滨", 45.80, 126.53),
    City("changchun", "长春", 43.82, 125.32),
    City("hohhot", "呼和浩特", 40.84, 111.75),
    City("tianjin", "天津", 39.13, 117.20),
    City("shijiazhuang", "石家庄", 38.04, 114.51),
    City("taiyuan", "太原", 37.87, 112.55),
    City("jinan", "济南", 36.65, 117.12),
    City("hefei", "合肥", 31.82, 117.23),
    City("hangzhou", "杭州", 30.27, 120.15),
    City("nanchang", "南昌", 28.68, 115.86),
    City("fuzhou", "福州", 26.07, 119.30),
    City("nanning", "南宁", 22.82, 108.37),
    City("haikou", "海口", 20.04, 110.34),
    City("chongqing", "重庆", 29.56, 106.55),
    City("guiyang", "贵阳", 26.65, 106.63),
    City("kunming", "昆明", 25.04, 102.71),
    City("lhasa", "拉萨", 29.65, 91.14),
    City("xining", "西宁", 36.62, 101.78),
    City("yinchuan", "银川", 38.49, 106.23),
    City("urumqi", "乌鲁木齐", 43.83, 87.62),
    City("singapore", "新加坡", 1.35, 103.82, "SG"),
    City("frankfurt", "法兰克福", 50.11, 8.68, "DE"),
)
CORE = (HUB, *BACKBONE)
CITIES = (*CORE, *REGIONAL, *NODES)

CARRIERS = {"carrier-a": 4100001001, "carrier-b": 4100001002, "carrier-c": 4100001003}
FIRST_ASN = 4100000001
MEMBERS = 300
CLASSES = {  # how many of twenty members are of each class, and how much they buy
    "isp": (4, "40G"),
    "carrier": (1, "400G"),
    "content": (2, "100G"),
    "cdn": (2, "100G"),
    "cloud": (2, "200G"),
    "enterprise": (3, "10G"),
    "sme": (2, "1G"),
    "research": (1, "40G"),
    "government": (1, "10G"),
    "compute": (1, "400G"),
    "satellite": (1, "10G"),
}
KINDS = tuple(name for name, (number, _) in CLASSES.items() for _ in range(number))
COLOURS = {
    **{"amber": "琥珀", "azure": "天青", "bronze": "青铜", "cedar": "雪松", "coral": "珊瑚", "crimson": "绯红", "golden": "金色"},
    **{"indigo": "靛蓝", "ivory": "象牙", "jade": "翡翠", "lilac": "丁香", "ochre": "赭石", "pearl": "珍珠", "plum": "梅子"},
    **{"russet": "赤褐", "silver": "银色", "snow": "雪白", "vermilion": "朱红", "violet": "紫罗兰", "willow": "柳色"},
}
THINGS = {
    **{"bridge": "桥", "canal": "运河", "crane": "鹤", "falcon": "隼", "ferry": "渡", "gate": "门", "harp": "琴", "kite": "风筝"},
    **{"lantern": "灯笼", "mill": "磨坊", "orchard": "果园", "pagoda": "塔", "reed": "芦苇", "sail": "帆", "well": "井"},
}
NAMES = tuple(product(COLOURS, THINGS))  # 20 × 15: as many as members
LAN_V4, LAN_V6 = IPv4Network("198.19.240.0/20"), IPv6Network("3fff:fff::/64")
QUARANTINE_V4, QUARANTINE_V6 = IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:99::/64")
EXCHANGE_ASN = 64496
SECOND_PORT_EVERY = 10  # each tenth member has a second port at another site
TAIL = "mnt-by:         MAINT-NATIONAL\nsource:         NATIONAL\n"


class Member(NamedTuple):
    """A network; `number` counts from 1."""

    number: int

    @property
    def words(self) -> tuple[str, str]:
        # 7 and 300 have no divisor in common, so names are spread and none comes twice.
        return NAMES[self.number * 7 % len(NAMES)]

    @property
    def name(self) -> str:
        return "-".join(self.words)

    @property
    def asn(self) -> int:
        return FIRST_ASN + self.number - 1

    @property
    def kind(self) -> str:
        return KINDS[self.number % len(KINDS)]

    @property
    def sites(self) -> tuple[City, ...]:
        """A third of the members are in the core, the others in all other cities in turn."""
        first = CORE[self.number // 3 % len(CORE)] if self.number % 3 == 0 else CITIES[self.number * 2 // 3 % len(CITIES)]
        if self.number % SECOND_PORT_EVERY:
            return (first,)
        return first, next(each for each in (CITIES[(self.number // 10 + 11) % len(CITIES)], HUB) if each != first)

    @property
    def ports(self) -> tuple[tuple[str, City], ...]:
        """Their names and sites."""
        if len(self.sites) == 1:
            return ((self.name, self.sites[0]),)
        return tuple((f"{self.name}-{index}", site) for index, site in enumerate(self.sites, start=1))

    @property
    def v4(self) -> IPv4Network:
        return IPv4Network((int(IPv4Network("198.18.0.0/15").network_address) + (self.number << 8), 24))

    @property
    def v6(self) -> IPv6Network:
        return IPv6Network((0x3FFF << 112 | self.number << 96, 48))


def kilometres(a: City, b: City) -> float:
    """Along a great circle."""
    north, other = math.radians(a.latitude), math.radians(b.latitude)
    east = math.radians(b.longitude - a.longitude)
    half = math.sin((other - north) / 2) ** 2 + math.cos(north) * math.cos(other) * math.sin(east / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))


def lines() -> Iterator[tuple[City, City, str, str | None]]:
    """Two ends, capacity, and the carrier it is leased from."""
    yield HUB, BACKBONE[0], "1.6T", None
    yield HUB, BACKBONE[1], "1.6T", None
    yield *BACKBONE, "1.6T", None
    for cities, above, capacity in ((REGIONAL, CORE, "800G"), (NODES, (*CORE, *REGIONAL), "400G")):
        for index, city in enumerate(cities):
            nearest = sorted(above, key=lambda other, city=city: kilometres(city, other))
            for nth in (0, 1):
                yield city, nearest[nth], capacity, list(CARRIERS)[(index + nth) % len(CARRIERS)]


def ground() -> Iterator[str]:
    yield f"""# An exchange of a whole country, all of it invented: see SOURCE.txt. Made by make.py; change that, not this.

kind: Exchange
name: national
title:
  en: National lab exchange
  zh: 全国实验交换中心
asn: {EXCHANGE_ASN}
country: CN
city: Wuhan
lab: true
"""
    for name, asn in CARRIERS.items():
        yield f"kind: Carrier\nname: {name}\ntitle:\n  en: Carrier {name[-1].upper()}\n  zh: 运营商 {name[-1].upper()}\nasns: [{asn}]\n"
    yield f"""kind: Lan
name: peering
title:
  en: Peering LAN
  zh: 对等互联网段
v4: {LAN_V4}
v6: {LAN_V6}
vni: 4001
survives: [link, site, carrier]
"""
    yield f"""kind: Lan
name: quarantine
title:
  en: Quarantine LAN
  zh: 隔离测试网段
purpose: quarantine
v4: {QUARANTINE_V4}
v6: {QUARANTINE_V6}
vni: 4099
"""
    yield "kind: RoutingPolicy\nname: standard\nirr_sources: [irr/national.rpsl]\nrpki_sources: [rpki/vrps.json]\n"
    for index, city in enumerate(BACKBONE, start=1):
        yield f"kind: RouteServer\nname: rs{index}\nsite: {city.name}\nlan: peering\npolicy: standard\nv4: {LAN_V4[index]}\nv6: {LAN_V6[index]}\n"


def sites() -> Iterator[str]:
    met: dict[str, list[str]] = {city.name: [] for city in CITIES}
    for a, b, _, carrier in lines():
        for end in (a, b):
            if carrier is not None and carrier not in met[end.name]:
                met[end.name].append(carrier)
    for city in CITIES:
        carriers = list(CARRIERS) if city in CORE else sorted(met[city.name])
        role, english, chinese = ("node", "node", "节点")
        if city in CORE:
            role, english, chinese = ("hub", "hub", "枢纽") if city is HUB else ("backbone", "connect point", "直联点")
        level = "cross-border" if city.country != "CN" else "national" if city in CORE else "province" if city in REGIONAL else "city"
        yield f"""kind: Site
name: {city.name}
title:
  en: {city.name.title()} {english}
  zh: {city.chinese}{chinese}
role: {role}
level: {level}
city: {city.name.title()}
country: {city.country}
latitude: {city.latitude}
longitude: {city.longitude}
carriers: [{", ".join(carriers)}]
"""


def links() -> Iterator[str]:
    """One-way latency: the distance, and four tenths of it for the way a fibre takes, at 5 µs per km."""
    for a, b, capacity, carrier in lines():
        latency = round(kilometres(a, b) * 1.4 * 5 / 10) * 10
        leased = f"carrier: {carrier}\n" if carrier else ""
        yield f"kind: Link\nname: {a.name}-{b.name}\na: {a.name}\nb: {b.name}\ncapacity: {capacity}\nlatency: {latency}us\n{leased}"


def member(each: Member) -> Iterator[str]:
    colour, thing = each.words
    yield f"""kind: Member
name: {each.name}
title:
  en: {colour.title()} {thing.title()}
  zh: {COLOURS[colour]}{THINGS[thing]}
asn: {each.asn}
class: {each.kind}
country: {each.sites[0].country}
as_sets: [AS{each.asn}]
prefixes_max:
  v4: 10
  v6: 10
contact:
  technical: contact:noc-{each.name}
"""
    for name, site in each.ports:
        yield f"kind: Port\nname: {name}\nmember: {each.name}\nsite: {site.name}\nspeed: {CLASSES[each.kind][1]}\n"
    for index, (name, _) in enumerate(each.ports):
        host = 0x100 + 2 * each.number + index
        yield f"kind: Session\nname: {name}\nmember: {each.name}\nlan: peering\nport: {name}\nv4: {LAN_V4[host]}\nv6: {LAN_V6[host]}\n"


def routers(each: Member) -> Iterator[str]:
    for name, _ in each.ports:
        yield f"kind: Router\nname: {name}\nsession: {name}\nannounces:\n  - prefix: {each.v4}\n  - prefix: {each.v6}\n"


def rpsl(members: list[Member]) -> str:
    objects = []
    for each in members:
        objects.append(f"aut-num:        AS{each.asn}\nas-name:        {each.name.upper()}\n{TAIL}")
        objects.append(f"route:          {each.v4}\norigin:         AS{each.asn}\n{TAIL}")
        objects.append(f"route6:         {each.v6}\norigin:         AS{each.asn}\n{TAIL}")
    return "% IRR of the example, made by ../make.py; no registry holds these objects.\n\n" + "\n".join(objects)


def vrps(members: list[Member]) -> str:
    """Every second member has ROAs."""
    rows = [
        json.dumps({"asn": each.asn, "prefix": str(prefix), "maxLength": prefix.prefixlen, "ta": "national-lab"})
        for each in members
        if each.number % 2
        for prefix in (each.v4, each.v6)
    ]
    return '{\n  "metadata": {"vrps": ' + str(len(rows)) + '},\n  "roas": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n"


def documents(head: str, texts: Iterator[str]) -> str:
    return f"# {head} Invented; made by make.py.\n\n" + "---\n".join(texts)


def files() -> dict[str, str]:
    """path → text of everything that is made."""
    members = [Member(number) for number in range(1, MEMBERS + 1)]
    made = {
        "exchange.yaml": "---\n".join(ground()),
        "sites.yaml": documents("The sites: a hub, two backbone connect points, eight regional nodes and the others.", sites()),
        "links.yaml": documents("The lines between them: two for each site, of two carriers.", links()),
        "lab.yaml": documents("The members' routers, as the lab runs them.", (text for each in members for text in routers(each))),
        "irr/national.rpsl": rpsl(members),
        "rpki/vrps.json": vrps(members),
    }
    for kind in CLASSES:
        some = [each for each in members if each.kind == kind]
        made[f"members/{kind}.yaml"] = documents(f"Members of class {kind}.", (text for each in some for text in member(each)))
    return made


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for path, text in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


if __name__ == "__main__":
    main()
