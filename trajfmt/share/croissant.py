"""The description of a bundle as a data set in Croissant 1.0 (https://docs.mlcommons.org/croissant).

It is JSON-LD and lies beside the manifest: the files are named by their paths relative to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from trajfmt.bundle.reader import Bundle
from trajfmt.bundle.report import Summary, summary_of
from trajfmt.schema.facts import phrase
from trajfmt.schema.manifest import FILE_NAME, ConvexManifest, numbered
from trajfmt.share import facts
from trajfmt.units import size

__all__ = ["NAME", "croissant"]

NAME: Final = "croissant.json"

_VERSION: Final = "http://mlcommons.org/croissant/1.0"
_RECORDS: Final = "trajectories"

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the standard prescribes."""

_FORMATS: Final = {
    ".json": "application/json",
    ".h5": "application/x-hdf5",
    ".safetensors": "application/octet-stream",  # it has no registered type
}

_FIELDS: Final = {
    "number": ("sc:Integer", "The number of the trajectory in the bundle."),
    "timesteps": ("sc:Integer", "How many timesteps it has, t = 0 included."),
    "knots": ("sc:Integer", "The timesteps whose weights are stored."),
    "digest": ("sc:Text", "What identifies it: a hash of its endpoints, which any encoding keeps."),
}


def croissant(bundle: Bundle, *, name: str, url: str | None = None, license: str | None = None) -> bytes:
    """Return the description of a bundle in Croissant 1.0.

    The distribution lists every file with its size and its SHA-256 hash. The record set `trajectories` has a
    record for each trajectory that can be read. What is unknown, such as the creator, is left out.

    Args:
        bundle: the bundle. Only its manifest is read.
        name: what the bundle is called.
        url: the page of the data set; None if it has none.
        license: the license, best as a URL; None if none is stated.
    """
    summary = summary_of(bundle)
    provenance = summary.provenance
    known: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": _description(summary),
        "conformsTo": _VERSION,
        "keywords": ["training trajectories", "dataset distillation", "trajectory matching"],
    }
    if license is not None:
        known["license"] = license
    if url is not None:
        known["url"] = url
    if provenance.dataset is not None:
        known["isBasedOn"] = {"@type": "sc:Dataset", "name": provenance.dataset}
    if provenance.recipe:
        known["measurementTechnique"] = phrase(provenance.recipe)
    known["variableMeasured"] = "weights of a neural network in training"
    known["size"] = size(summary.storage.total)
    known["identifier"] = f"sha256:{summary.sha256}"
    known["distribution"] = list(_distribution(bundle))
    if bundle.manifest.trajectories:
        known["recordSet"] = [_records(bundle)]
    return json.dumps(known, indent=1, ensure_ascii=False).encode() + b"\n"


def _description(summary: Summary) -> str:
    """Return what the bundle holds, and all facts about it."""
    known = "; ".join(f"{key}: {value}" for key, value in facts.rows(summary))
    return f"{facts.sentence(summary)} {known}."


def _distribution(bundle: Bundle) -> Iterator[dict[str, Any]]:
    files = [(entry.path, entry.bytes, entry.sha256) for entry in bundle.manifest.files]
    for path, count, sha256 in [(FILE_NAME, bundle.manifest_bytes, bundle.sha256), *files]:
        suffix = path[path.rfind(".") :]
        yield {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{count} B",
            "encodingFormat": _FORMATS.get(suffix, "application/octet-stream"),
            "sha256": sha256,
        }


def _records(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    fields: list[dict[str, Any]] = []
    for field, (kind, text) in _FIELDS.items():
        if field == "knots" and not isinstance(manifest, ConvexManifest):
            continue
        about: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"{_RECORDS}/{field}",
            "name": field,
            "description": text,
            "dataType": kind,
        }
        fields.append(about | ({"repeated": True} if field == "knots" else {}))
    records = []
    for number, entry in numbered(manifest).items():
        record = {"number": number, "timesteps": entry.timesteps, "digest": entry.digest}
        if isinstance(manifest, ConvexManifest):
            record["knots"] = entry.knots
        records.append({f"{_RECORDS}/{field}": value for field, value in record.items()})
    return {
        "@type": "cr:RecordSet",
        "@id": _RECORDS,
        "name": _RECORDS,
        "description": "The trajectories of the bundle. `trajfmt.open` reads their weights.",
        "key": {"@id": f"{_RECORDS}/number"},
        "field": fields,
        "data": records,
    }
