"""Small random templates: expressions, nested blocks, whitespace control."""
import random

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be <|im_end|> brief."},
        {"role": "user", "content": " Grüße, 'you' \"two\"\n", "n": 3},
        {"role": "assistant", "content": None, "calls": [{"name": "f", "args": {"x": 1.5, "y": [True, None]}}]},
        {"role": "tool", "content": "a,b,,c", "n": -7},
    ],
    "flag": True,
    "zero": 0,
    "loop_n": 2,
    "pi": 3.25,
    "word": "Straße",
    "table": {"b": 2, "a": [1, 2, 3], "nested": {"k": "v"}},
}

NUMBERS = ["0", "1", "2", "3", "7", "-1", "-4", "1.5", "2.0", "zero", "pi", "loop_n"]
STRINGS = ["''", "'a'", "'ab c'", "\"it's\"", "'ÄÖü'", "'x\\ny'", "word", "messages[0].role",
           "messages[1].content", "messages[3].content", "messages[1]['role']"]
LISTS = ["[]", "[1, 2, 3]", "['b', 'A', 'c']", "(1, 'x')", "table.a", "range(4)", "messages",
         "messages[2].calls", "'abc'", "table", "[[1, 2], [3, 4]]", "word"]
ANYTHING = ["none", "true", "false", "missing", "messages[2].content", "flag", "{}", "{'k': 1}",
            "table", "messages[9]", "table.nested.k", "messages[-1].n", "messages[0].n"]
# What stays a string, and what becomes something else.
STRING_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "reverse", "replace('a', 'oo')",
                  "string", "tojson", "default('d')", "default('d', true)", "join('-')",
                  "indent(2, true)"]
STRING_ENDINGS = [" | length", " | list", " | first", " | last", " | int", " | float", ".split(',')",
                  ".split()", ".startswith('a')", ".endswith('c')", ".find('b')", ".splitlines()",
                  ".rsplit(None, 1)", ".count('a')", "[0]", "[-2]", " | sort"]
STRING_METHODS = ["strip()", "upper()", "lower()", "title()", "lstrip('a')", "replace('b', '')",
                  "capitalize()", "rstrip()"]
LIST_FILTERS = ["list", "reverse | list", "map('string') | list", "select | list",
                "reject('none') | list", "select('string') | list", "select('number') | list",
                "map('upper') | list", "default([])"]
LIST_ENDINGS = ["map(attribute='role') | list", "selectattr('role', 'eq', 'user') | list | tojson",
                "rejectattr('n') | list | length", "map('length') | list", "map('first') | list",
                "tojson(indent=2)", "tojson(sort_keys=true)", "sort(reverse=true)", "map('string') | sort",
                "count",
                "length", "first", "last", "join(',')", "tojson", "string", "unique | list", "sort",
                "max", "min", "sum", "map('upper') | join"]
TESTS = ["defined", "none", "string", "number", "mapping", "iterable", "sequence", "true", "odd",
         "even", "integer", "float", "boolean", "undefined", "lower", "in [1, 'a']",
         "divisibleby 2", "eq 1", "callable"]


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.names = ["v0", "v1", "loop_n"]

    def pick(self, items):
        return self.rng.choice(items)

    def number(self, depth):
        if depth == 0 or self.rng.random() < 0.3:
            return self.pick(NUMBERS)
        kind = self.rng.randrange(4)
        a, b = self.number(depth - 1), self.number(depth - 1)
        if kind == 0:
            return f"({a} {self.pick(['+', '-', '*', '/ 4 -', '// 3 +', '% 5 -'])} {b})"
        if kind == 1:
            return f"{a} {self.pick(['+', '-', '*'])} {b}"
        if kind == 2:
            return f"{self.listing(depth - 1)} | length"
        return f"({a} | {self.pick(['abs', 'int', 'float', 'round', 'string | length'])})"

    def string(self, depth):
        if depth == 0 or self.rng.random() < 0.25:
            return self.pick(STRINGS)
        kind = self.rng.randrange(6)
        a = self.string(depth - 1)
        if kind == 0:
            return f"({a} + {self.string(depth - 1)})"
        if kind == 1:
            return f"({a} ~ {self.expression(depth - 1)})"
        if kind == 2:
            return f"({a} | {self.pick(STRING_FILTERS)})"
        if kind == 3:
            return f"({a}).{self.pick(STRING_METHODS)}"
        if kind == 4:
            return f"({a})[{self.slice()}]"
        return f"({a} * {self.rng.randrange(4)})"

    def slice(self):
        bounds = [self.pick(["", "", "0", "1", "2", "-1", "-2", "5"]) for _ in range(2)]
        step = self.pick(["", "", ":", ":2", ":-1", ":-2"])
        return f"{bounds[0]}:{bounds[1]}{step}"

    def listing(self, depth):
        if depth == 0 or self.rng.random() < 0.4:
            return self.pick(LISTS)
        kind = self.rng.randrange(5)
        if kind == 0:
            items = ", ".join(self.expression(depth - 1) for _ in range(self.rng.randrange(4)))
            return f"[{items}]"
        if kind == 1:
            return f"({self.listing(depth - 1)})[{self.slice()}]"
        if kind == 2:
            return f"({self.listing(depth - 1)} | {self.pick(LIST_FILTERS)})"
        if kind == 3:
            return f"({self.string(depth - 1)}).split({self.pick(['', repr('a'), repr(',')])})"
        return f"table{self.pick(['.items()', '.keys()', '.values()', '.a', ' | dictsort', ' | items'])} | list"

    def condition(self, depth):
        if depth == 0 or self.rng.random() < 0.3:
            return self.pick(["flag", "zero", "missing", "true", "''", "messages", "loop_n"])
        kind = self.rng.randrange(5)
        if kind == 0:
            op = self.pick(["==", "!=", "<", ">", "<=", ">="])
            side = self.pick([self.number, self.string])
            return f"{side(depth - 1)} {op} {side(depth - 1)}"
        if kind == 1:
            return f"{self.expression(depth - 1)} {self.pick(['in', 'not in'])} {self.listing(depth - 1)}"
        if kind == 2:
            return f"({self.expression(depth - 1)}) {self.pick(['is', 'is not'])} {self.pick(TESTS)}"
        if kind == 3:
            return f"({self.condition(depth - 1)} {self.pick(['and', 'or'])} {self.condition(depth - 1)})"
        return f"not {self.condition(depth - 1)}"

    def expression(self, depth):
        kind = self.rng.randrange(9)
        if kind == 8:
            return f"({self.string(depth)}){self.pick(STRING_ENDINGS)}"
        if kind < 2:
            return self.number(depth)
        if kind < 4:
            return self.string(depth)
        if kind == 4:
            return self.listing(depth) + self.pick(["", f" | {self.pick(LIST_ENDINGS)}"])
        if kind == 5:
            return f"({self.condition(depth)})"
        if kind == 6 and depth > 0:
            return f"({self.expression(depth - 1)} if {self.condition(depth - 1)} else {self.expression(depth - 1)})"
        return self.pick(ANYTHING + self.names)

    def sign(self):
        return self.pick(["", "", "", "-", "+"])

    def end_sign(self):
        return self.pick(["", "", "", "-"])

    def tag(self, text):
        space = self.pick([" ", " ", ""])
        end = self.pick(["", "", "", "-", "+"])
        return f"{{%{self.sign()}{space}{text}{space or ' '}{end}%}}"

    def text(self):
        return self.pick(["", " ", "\n", "\n  ", "t", "x \n", "  y", "\t", "\n\n", "{ ", "}} ", "ä\n"])

    def block(self, depth, in_loop):
        return "".join(self.text() + self.statement(depth, in_loop) for _ in range(self.rng.randint(1, 3))) + self.text()

    def statement(self, depth, in_loop):
        kind = self.rng.randrange(14)
        if kind == 12 and depth > 0:
            return self.macro(depth)
        if kind == 13 and depth > 0:
            return self.pick([self.namespace, self.with_block])(depth)
        if depth == 0 or kind < 5:
            return f"{{{{{self.pick(['', '', '-'])} {self.expression(2)} {self.end_sign()}}}}}"
        if kind < 7:
            branches = self.tag(f"if {self.condition(2)}") + self.block(depth - 1, in_loop)
            if self.rng.random() < 0.3:
                branches += self.tag(f"elif {self.condition(2)}") + self.block(depth - 1, in_loop)
            if self.rng.random() < 0.5:
                branches += self.tag("else") + self.block(depth - 1, in_loop)
            return branches + self.tag("endif")
        if kind < 9:
            condition = f" if {self.pick(['x', 'x != 1', 'x is string', 'flag'])}" if self.rng.random() < 0.3 else ""
            body = self.block(depth - 1, True)
            if self.rng.random() < 0.4:
                attribute = self.pick(["index", "index0", "first", "last", "length", "revindex", "previtem", "nextitem"])
                body += f"{{{{ loop.{attribute} }}}}{{{{ x }}}}"
            other = self.tag("else") + self.block(depth - 1, in_loop) if self.rng.random() < 0.3 else ""
            return self.tag(f"for x in {self.listing(1)}{condition}") + body + other + self.tag("endfor")
        if kind == 9 and self.rng.random() < 0.7:
            return self.tag(f"set {self.pick(['v0', 'v1'])} = {self.expression(2)}")
        if kind == 9:
            return self.tag(f"set loop_n = {self.number(2)}")
        if kind == 10:
            if in_loop and self.rng.random() < 0.5:
                return self.tag(f"if {self.condition(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
            return self.tag("set v1") + self.block(depth - 1, False) + self.tag("endset")
        if self.rng.random() < 0.5:
            return self.pick(["{# c #}", "{#- c -#}", "{# c -#}", "{#+ c #}"])
        return self.tag("filter upper") + self.block(depth - 1, False) + self.tag("endfilter")

    def macro(self, depth):
        parameters = self.pick(["", "a", "a, b=2", "a, b=a", "a=loop_n, b='d'"])
        arguments = self.pick(["", self.expression(1), f"b={self.expression(1)}", f"{self.expression(1)}, {self.number(1)}"])
        definition = self.tag(f"macro m0({parameters})") + self.block(depth - 1, False) + "{{ a }}{{ b }}" + self.tag("endmacro")
        if self.rng.random() < 0.3:
            definition = definition.replace("{{ b }}", "{{ caller() }}")
            return definition + self.tag(f"call m0({arguments})") + self.block(depth - 1, False) + self.tag("endcall")
        return definition + self.text() + f"{{{{ m0({arguments}) }}}}" + self.text() + f"{{{{ m0({self.expression(0)}) | upper }}}}"

    def namespace(self, depth):
        loop = self.tag(f"for x in {self.listing(1)}") + self.tag(f"set ns.v = {self.pick(['ns.v + 1', 'x', 'ns.v ~ x', self.expression(1)])}")
        return self.tag("set ns = namespace(v=1)") + loop + self.block(depth - 1, True) + self.tag("endfor") + "{{ ns.v }}"

    def with_block(self, depth):
        return self.tag(f"with v0 = {self.expression(1)}, w = v0") + self.block(depth - 1, False) + "{{ w }}" + self.tag("endwith")


def generate(count):
    return [Generator(seed).block(2, False) for seed in range(count)]
