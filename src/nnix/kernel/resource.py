"""Resources: what an operator wants, as frozen typed records.

A *kind* is a class below `Resource`; its fields carry the description, example and secrecy from which schemas, tables,
errors and reference pages are made, so that none of these is written by hand per kind. A field of type `Ref[Other]`
names another resource; from these references come the dangling check, delete protection, order of creation and impact.

Scalars arrive from YAML as text and get their meaning here, from the field's type: `no` is a country where a country is
wanted (ISO 3166), never a boolean by accident. Quantities carry their unit in the value (`100G`, `2.5ms`), so that no
reader has to remember whether a number meant megabits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

Json = dict[str, Any]


class Record(BaseModel):
    """A frozen typed value inside a resource. An unknown field is an error, because a typing slip must not pass silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False, serialize_by_alias=True)


class Resource(Record):
    """What every kind has: a name that is unique within its kind and never changes.

    Subclasses are the kinds. `version` counts the shapes a kind has had; `upgrades[n]` turns the fields of shape n into
    those of shape n+1, purely, so that a ledger of last year can still be read. A `booked` kind is entered order by order, by members and by the
    exchange itself: it stands until withdrawn, and a folder of files that does not speak of it leaves it where it is.
    """

    version: ClassVar[int] = 1
    upgrades: ClassVar[Mapping[int, Callable[[Json], Json]]] = {}
    columns: ClassVar[tuple[str, ...]] = ()
    booked: ClassVar[bool] = False

    name: Name = Field(description="unique within its kind: lower-case letters, digits and hyphens, at most 63", examples=["hz-1"])
    owner: str | None = Field(
        default=None,
        description="set on derived resources only: the resource that it follows from; not for files",
        json_schema_extra={"derived": True},
    )

    @classmethod
    def kind(cls) -> str:
        """The kind as files write it: `RouteServer`."""
        return cls.__name__

    @classmethod
    def slug(cls) -> str:
        """The kind as people type it: `route-server`."""
        return slug_of(cls.__name__)

    @property
    def id(self) -> str:
        """`route-server/rs1`: how messages, plans and the ledger name this resource."""
        return f"{type(self).slug()}/{self.name}"

    def references(self) -> Iterator[tuple[str, Ref[Any]]]:
        """Every (field path, reference) that this resource holds, in the order of its fields."""
        for field in _reference_fields(type(self)):
            yield from _walk(field, getattr(self, field))

    def record(self) -> Json:
        """The whole resource as JSON-ready data, defaults included: what the ledger keeps. Unset optional fields are left out."""
        return {
            "kind": type(self).kind(),
            "version": type(self).version,
            **self.model_dump(mode="json", exclude_none=True, exclude={"owner"} if self.owner is None else None),
        }

    def written(self) -> Json:
        """The resource as a person writes it: without what the defaults already say."""
        return {"kind": type(self).kind(), **self.model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def recorded(cls, record: Json) -> Self:
        """The resource of a `record`, also of an older shape. Raises pydantic's ValidationError."""
        fields = {name: value for name, value in record.items() if name not in ("kind", "version")}
        for shape in range(int(record.get("version", 1)), cls.version):
            fields = cls.upgrades[shape](fields)
        return cls.model_validate(fields)

    def changed(self, **fields: Any) -> Self:
        """A copy with `fields` replaced, validated like any other input."""
        return type(self).model_validate({**{k: getattr(self, k) for k in self.model_fields_set}, **fields}, by_name=True)


@cache
def slug_of(kind: str) -> str:
    """`RouteServer` → `route-server`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower()


R = TypeVar("R", bound=Resource)


class Ref(str, Generic[R]):
    """The name of another resource, together with the kind that it must be."""

    __slots__ = ("target",)
    target: type[R]

    @classmethod
    def to(cls, target: type[R], name: str) -> Ref[R]:
        ref: Ref[R] = cls(name)
        ref.target = target
        return ref

    @property
    def id(self) -> str:
        return f"{self.target.slug()}/{self}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (target,) = get_args(source)

        def known(name: str) -> Ref[R]:
            return cls.to(target, name)

        return core_schema.no_info_after_validator_function(
            known,
            core_schema.str_schema(pattern=NAME_PATTERN),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
            metadata={"target": target},
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        target = schema.get("metadata", {})["target"]
        return {"type": "string", "pattern": NAME_PATTERN, "x-ref": target.kind()}


def _holds_reference(annotation: Any) -> bool:
    if get_origin(annotation) is Ref:
        return True
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return any(_holds_reference(field.annotation) for field in annotation.model_fields.values())
    return any(_holds_reference(inner) for inner in get_args(annotation))


@cache
def _reference_fields(model: type[Record]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if _holds_reference(field.annotation))


def _walk(path: str, value: Any) -> Iterator[tuple[str, Ref[Any]]]:
    if isinstance(value, Ref):
        yield path, value
    elif isinstance(value, Record):
        for field in _reference_fields(type(value)):
            yield from _walk(f"{path}.{field}", getattr(value, field))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _walk(f"{path}.{index}", item)


def kinds_referred(kind: type[Resource]) -> frozenset[type[Resource]]:
    """The kinds that resources of `kind` may point to."""

    def inner(annotation: Any) -> Iterator[type[Resource]]:
        if get_origin(annotation) is Ref:
            yield get_args(annotation)[0]
        elif isinstance(annotation, type) and issubclass(annotation, Record):
            for field in annotation.model_fields.values():
                yield from inner(field.annotation)
        else:
            for argument in get_args(annotation):
                yield from inner(argument)

    return frozenset(found for field in kind.model_fields.values() for found in inner(field.annotation))


AMOUNT_MAX = 10**18
"""of any smallest unit: an exabit per second, thirty thousand years"""


class Quantity(int):
    """A whole number of a smallest unit, written with a unit that people use. Subclasses name the units.

    Text and number are one value: `10G` and `10000M` are equal, and are written back as `10G`.
    """

    units: ClassVar[Mapping[str, int]] = {}
    example: ClassVar[str] = ""

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read `text`. Raises ValueError, saying what would be accepted, when it is no positive amount of a known unit."""
        match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-zµ/]*)\s*", text) if isinstance(text, str) else None
        if match is None or match[2] not in cls.units:
            raise ValueError(f"a number with one of the units {', '.join(filter(None, cls.units))}, like {cls.example}")
        whole, _, fraction = match[1].partition(".")
        unit = cls.units[match[2]]
        scaled, rest = divmod(int(whole + fraction) * unit, 10 ** len(fraction))
        if rest:
            raise ValueError(f"an amount that is a whole number of {next(iter(cls.units))}, like {cls.example}")
        if scaled > AMOUNT_MAX:
            raise ValueError(f"at most {cls(AMOUNT_MAX)}")
        return cls(scaled)

    def __str__(self) -> str:
        for unit, size in sorted(self.units.items(), key=lambda item: -item[1]):
            if self >= size and int(self) * 1000 % size == 0 and unit:
                whole, thousandths = divmod(int(self) * 1000 // size, 1000)
                return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".") + unit
        return f"{int(self)}{next(iter(self.units))}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Quantity:
            return value if isinstance(value, cls) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        units = "|".join(re.escape(unit) for unit in cls.units)
        return {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)?({units})$", "examples": [cls.example]}


class BitRate(Quantity):
    """Bits per second, decimal: 1G is 10^9 bit/s (IEEE 802.3)."""

    units: ClassVar[Mapping[str, int]] = {"bit/s": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    example: ClassVar[str] = "100G"


class Duration(Quantity):
    """A span of time, kept in microseconds."""

    units: ClassVar[Mapping[str, int]] = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
    example: ClassVar[str] = "2.5ms"

    @property
    def seconds(self) -> float:
        return int(self) / 1e6
