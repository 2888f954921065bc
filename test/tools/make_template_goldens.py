#!/usr/bin/env python3
"""Renders chat templates with Python's jinja2, set up as Hugging Face does it,
and stores what came out for ChatTemplateTest.

Usage: make_template_goldens.py [--gguf MODEL.gguf]    (needs jinja2 3.1.6)

Reads test/data/templates/: contexts.json, sources/*.jinja, snippets.txt.
Writes goldens.json (sources and snippets) and random.json (small random
templates) there; with --gguf, also sources/smollm2.jinja from the model."""
import argparse
import datetime
import json
import pathlib
import struct
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

import random_templates

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "templates"
NOW = datetime.datetime(2024, 7, 5, 14, 3, 9)  # A Friday.
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class GenerationBlocks(jinja2.ext.Extension):
    """{% generation %} blocks, which show what they hold."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("show", [])
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def show(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                      separators=separators, sort_keys=sort_keys)


def make_environment(optimized=True):
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, optimized=optimized,
        extensions=[GenerationBlocks, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(env, source, context):
    """{"text": ..} or {"error": kind of the exception}."""
    try:
        return {"text": env.from_string(source).render(**context)}
    except Exception as error:  # Whatever jinja2 lets through is an error.
        return {"error": f"{type(error).__name__}: {error}"[:80]}


def read_snippets():
    snippets = {}
    for part in (DATA / "snippets.txt").read_text().split("=== ")[1:]:
        name, source = part.split("\n", 1)
        snippets[name] = source
    whitespace = snippets["whitespace"] + snippets["raw"]
    snippets["whitespace with CRLF"] = whitespace.replace("\n", "\r\n")
    snippets["whitespace with CR"] = whitespace.replace("\n", "\r") + "\r\r"
    snippets["whitespace without end"] = whitespace.rstrip("\n")
    return snippets


def gguf_template(path):
    """The template that a GGUF file carries near its start."""
    head = path.open("rb").read(16 << 20)
    key = b"tokenizer.chat_template"
    start = head.index(key) + len(key)
    kind, size = struct.unpack_from("<IQ", head, start)
    assert kind == 8, "the template is a string"
    return head[start + 12:start + 12 + size]


def write(name, data):
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # One case a line, so that differences can be read.
    text = text.replace('},{"template"', '},\n{"template"').replace('{"cases":[', '{"cases":[\n')
    (DATA / name).write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.gguf:
        (DATA / "sources" / "smollm2.jinja").write_bytes(gguf_template(arguments.gguf))

    env = make_environment()
    contexts = json.loads((DATA / "contexts.json").read_text())
    contexts = {name: {**TOKENS, **context} for name, context in contexts.items()}
    cases = []
    for path in sorted((DATA / "sources").glob("*.jinja")):
        for name, context in contexts.items():
            result = render(env, path.read_bytes().decode(), context)
            cases.append({"template": path.stem, "context": name, **result})
    for snippet, source in read_snippets().items():
        for name in ("tools", "special"):
            result = render(env, source, contexts[name])
            if ("error" in result) != snippet.startswith("error"):
                sys.exit(f"{snippet}: {result}")
            cases.append({"template": snippet, "context": name, "source": source, **result})
            if "error" in result:
                break
    write("goldens.json", {"cases": cases})

    context = {**TOKENS, **random_templates.CONTEXT}
    cases = []
    unoptimized = make_environment(optimized=False)
    for source in random_templates.generate(540):
        result = render(env, source, context)
        # Folding of constants hides some errors, such as that of (1)[0:1].
        if ("error" in result) == ("error" in render(unoptimized, source, context)):
            cases.append({"template": source, **result})
    write("random.json", {"cases": cases, "context": random_templates.CONTEXT})
    errors = sum("error" in case for case in cases)
    print(f"{len(cases)} random templates, {errors} of them errors")


if __name__ == "__main__":
    main()
