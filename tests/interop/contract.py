"""The contract as its source says it, comments included: what reflection must show."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

DESCRIPTORS = Path(__file__).parent / ".tools" / "descriptors.binpb"

# Field numbers within descriptor.proto, of which the paths in SourceCodeInfo consist.
MESSAGES, ENUMS, SERVICES = (
    FileDescriptorProto.DESCRIPTOR.fields_by_name[name].number for name in ("message_type", "enum_type", "service")
)
MEMBERS = 2  # DescriptorProto.field, EnumDescriptorProto.value and ServiceDescriptorProto.method alike.


@dataclass(frozen=True)
class Described:
    """A message, enum, service, or a member of one."""

    name: str
    comment: str
    """As in the source: `// …` lines."""
    number: int | None = None
    members: tuple["Described", ...] = ()


def read() -> list[Described]:
    """Every message, enum and service of the contract, by full name."""
    (file,) = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    return [
        *_described(file, MESSAGES, comments),
        *_described(file, ENUMS, comments),
        *_described(file, SERVICES, comments),
    ]


def _described(file: FileDescriptorProto, kind: int, comments: dict[tuple[int, ...], str]) -> Iterator[Described]:
    listed: dict[int, tuple[Any, str]] = {
        MESSAGES: (file.message_type, "field"),
        ENUMS: (file.enum_type, "value"),
        SERVICES: (file.service, "method"),
    }
    declarations, members_name = listed[kind]
    for index, declaration in enumerate(declarations):
        members = tuple(
            Described(member.name, _comment(comments, kind, index, MEMBERS, at), getattr(member, "number", None))
            for at, member in enumerate(getattr(declaration, members_name))
        )
        yield Described(f"{file.package}.{declaration.name}", _comment(comments, kind, index), None, members)


def _comment(comments: dict[tuple[int, ...], str], *path: int) -> str:
    lines = comments[path].splitlines()
    assert lines, f"no comment at {path}"
    return "".join(f"//{line}".rstrip() + "\n" for line in lines)
