# SPDX-License-Identifier: Apache-2.0
"""That places are found and no others, that a cell holds, and that a campaign notices and reports: in seconds."""

import contextlib
import glob
import io
import os
import shutil
import tempfile

import campaign
import cell
import judged
import places
import report
import tree

# Words, the body of a function, and what each mutant of it makes of the line.
BODIES = [
    ("relations", "if (a < b)\nx();\n", ["if (!(a < b))", "if (a <= b)", "{}"]),
    ("... each", "x(a >= b, a == b, a->b > c);\n",
     ["{}", "x(a > b, a == b, a->b > c);", "x(a >= b, a != b, a->b > c);", "x(a >= b, a == b, a->b >= c);"]),
    ("constants: one more, one less, none; not less than 0",
     "x[4] = 0x10u;\n", ["{}", "x[0] = 0x10u;", "x[3] = 0x10u;", "x[5] = 0x10u;",
                          "x[4] = 0u;", "x[4] = 0xfu;", "x[4] = 0x11u;"]),
    ("... 0 and 1", "a = 0, b = 1;\n", ["{}", "a = 1, b = 1;", "a = 0, b = 0;", "a = 0, b = 2;"]),
    ("... octal", "x = 0700;\n", ["{}", "x = 0;", "x = 0677;", "x = 0701;"]),
    ("logic", "while (a && b || c) {\n}\n",
     ["while (!(a && b || c)) {", "while (a || b || c) {", "while (a && b && c) {"]),
    ("masks", "a |= b & c;\n", ["{}", "a &= b & c;", "a |= b | c;"]),
    ("an address and what a pointer leads to are no masks", "x(&a, *b);\n", ["{}"]),
    ("results", "if (a)\nreturn true;\nreturn -EINVAL;\n", ["if (!(a))", "return false;", "return 0;"]),
    ("... of several lines keep the numbers of the lines", "return x(a,\nb);\n", ["return 0 ;"]),
    ("a call whose result is not wanted", "(void)x(a);\n", ["{}"]),
    ("a call by a pointer", "a->b[c].d(e);\n", ["{}"]),
    ("steps", "a->b++;\n--c;\n", ["{}", "{}"]),
    ("the head of a loop", "for (int i = 0; i < n; i++) {\n}\n",
     ["for (int i = 1; i < n; i++) {", "for (int i = 0; !(i < n); i++) {", "for (int i = 0; i <= n; i++) {"]),
    ("do", "do\nx();\nwhile (a);\n", ["{}", "while (!(a));"]),
    ("switch", "switch (a) {\ncase 0:\nbreak;\ndefault:\nx();\n}\n", ["case 1:", "{}"]),
    ("a label", "out:\nx();\n", ["{}"]),
    ("a declaration's initialiser", "const char *a[2] = {b(1), NULL};\n",
     ["const char *a[2] = {b(0), NULL};", "const char *a[2] = {b(2), NULL};"]),
    ("declarations", "char a[16];\nstruct s *b;\nt c, *d;\nstatic int e[3];\nenum { F = 1 };\n", []),
    ("... with a pointer to a type of ours", "t *a = b;\n", []),
    ("no type", "x(sizeof(char[8]));\n", ["{}"]),
    ("what always holds", "ENSURE(a < 1);\n_Static_assert(A == 1, \"x\");\n", []),
    ("comments", "// a < b\n/* x(1);\n   c && d */\n", []),
    ("strings and characters", "x(\"a < 1 /* \\\" && \", '<', '\\'');\n", ["{}"]),
    ("preprocessor lines", "#if A > 1\n  #define B(c) \\\n    x(c < 1)\n#endif /* a\n b < c */\n", []),
]

OUTSIDE = """\
#define LIMIT (4 < 5)
static const int table[] = {1, 2};
static const struct s row = {.a = 1, .b = x(2)};
_Static_assert(sizeof(table) == 8, "two");
enum e { A = 1, B };
struct s { int a : 3; };
int declared(int a[3]);
"""

# A project of a file and its test, which looks at one of two functions only.
PROJECT = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.22)
project(part LANGUAGES C)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
enable_testing()
add_compile_options(-Wall -Wextra -Werror)
add_library(part STATIC part.c)
add_executable(test_part test_part.c)
target_link_libraries(test_part PRIVATE part)
add_test(NAME test_part COMMAND test_part)
set_tests_properties(test_part PROPERTIES LABELS unit)
""",
    "part.c": """\
unsigned int part_looked_at(unsigned int a);
unsigned int part_unseen(unsigned int a);
unsigned int part_looked_at(unsigned int a)
{
    volatile unsigned int i = 0;
    while (i < a)
        i++;
    return i;
}
unsigned int part_unseen(unsigned int a)
{
    if (a >= 1)
        return a * 3;
    return 7 / 4;
}
""",
    "test_part.c": """\
unsigned int part_looked_at(unsigned int a);
unsigned int part_unseen(unsigned int a);
int main(void)
{
    return part_looked_at(3) == 3 && part_unseen(0) < 100 ? 0 : 1;
}
""",
}
EXPECTED = {
    "while (i <= a)": campaign.UNIT,
    "{}": campaign.UNIT,  # has no end
    "if (a >= 0)": campaign.UNCOMPILED,  # an error by -Wtype-limits
    "return a * 4;": campaign.SURVIVED,
    "return 6 / 4;": campaign.SAME,
}


def _check(good, words, more=""):
    print("%s %s%s" % ("ok" if good else "FAILED", words, "" if good else ": %s" % (more,)))
    return bool(good)


def _places():
    for words, body, expected in BODIES:
        text = "#include <x.h>\nint f(int a)\n{\n" + body + "}\n"
        made = places.mutants(text)
        found = [mutant.after for mutant in made]
        yield _check(sorted(found) == sorted(expected), words, "expected %s, found %s" % (expected, found))
        same = all(places.apply(text, mutant).count("\n") == text.count("\n") for mutant in made)
        yield _check(same, words + ": as many lines")
    yield _check(places.mutants(OUTSIDE) == [], "nothing outside of functions", places.mutants(OUTSIDE))
    many = {"a.c": list(range(100)), "b.c": [1, 2]}
    first, other = campaign.choose(many, 5, 1), campaign.choose(many, 5, 2)
    yield _check(first == campaign.choose(many, 5, 1) != other and len(first["a.c"]) == 5 and first["b.c"] == [1, 2],
                 "a sample is told by its seed", (first, other))


def _raises(text, folder, words):
    path = os.path.join(folder, "equivalent")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        judged.check(path, judged.read(path), folder)
    except judged.Wrong as error:
        return _check(words and words in str(error), "a list of equivalents: %s" % words, error)
    return _check(words is None, "a list of equivalents", "expected an error with %r" % words)


def _lists(folder):
    entry = "# read\nfile: part.c\nbefore: while (i < a)\nafter: while (i <= a)\nwhy: it is so\n"
    yield _raises(entry, folder, None)
    yield _raises(entry.replace("while (i < a)", "while (i < b)"), folder, "nothing in part.c")
    yield _raises(entry.replace("part.c", "gone.c"), folder, "gone.c: No such file")
    yield _raises(entry.replace("why: it is so", ""), folder, "no why")
    yield _raises(entry + "else: x\n", folder, "expected a line")
    left, count = judged.without(places.mutants(PROJECT["part.c"]), judged.read(os.path.join(folder, "equivalent"))
                                 if _write(folder, entry) else [], "part.c")
    yield _check(count == 1 and all(mutant.after != "while (i <= a)" for mutant in left), "what is listed is not made", count)


def _write(folder, text):
    with open(os.path.join(folder, "equivalent"), "w", encoding="utf-8") as file:
        return file.write(text)


def _in_cell(copy, at, argv, seconds=60):
    return cell.run(copy, at, [{"do": "run", "argv": argv, "seconds": seconds}], seconds + 60)


def _processes_with(word):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if word.encode() in file.read():
                yield path


CELL = """
cd "$1" && echo x > written || echo can not write in its copy
for path in "$2/tests/written" /etc/written /proc/sys/kernel/hostname /sys/written; do
    (echo x > "$path") 2>/dev/null && echo "can write $path"
done
echo x > /run/x && echo x > /tmp/x && echo x > /var/tmp/x && echo x > /dev/null || echo has no folders of its own
test -z "$(find /dev -type b)" || echo has disks
test -z "${BVDM_LONG-}" || echo takes the long form
test $$ -lt 50 || echo has no processes of its own
test "$(ls /sys/class/net)" = lo || echo has no network of its own
ip link show lo | grep -q UP || echo has no loopback
sleep 86399 &
setsid sleep 86399 &
echo end
kill -SEGV $$
"""


def _cells(root, copy, at):
    os.environ["BVDM_LONG"] = "1"
    result = _in_cell(copy, at, ["sh", "-c", CELL, "sh", at, root])
    yield _check(result["output"].split() == "end ended by signal 11".split(), "what a cell can and can't", result)
    yield _check(os.path.exists(os.path.join(copy, "written")), "its copy is seen outside")
    yield _check(result["why"] == "failed" and not list(_processes_with("86399")), "nothing outlives it", result)
    result = _in_cell(copy, at, ["sh", "-c", "trap '' TERM; sleep 86398"], 0.3)
    yield _check(result["why"] == "timeout" and not list(_processes_with("86398")), "... nor its time", result)


def _campaign(folder):
    source = os.path.join(folder, "source")
    copy = tree.Tree(os.path.join(folder, "0"), os.path.join(folder, "tree"))
    copy.refresh(source)
    copy.configure()
    campaign.SLACK = 1
    made = campaign.Campaign([copy], lambda text: None)
    made.prepare(["part.c"], 1)
    chosen = [mutant for mutant in places.mutants(PROJECT["part.c"]) if mutant.after in EXPECTED]
    result = report.Report(len(chosen), {"part.c": 0}, 90)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        made.run({"part.c": chosen}, result.heard)
        status = result.close()
    for outcome in result.outcomes:
        after = outcome.mutant.after
        yield _check(outcome.result == EXPECTED[after], "a mutant: " + after,
                     "expected '%s', is '%s'" % (EXPECTED[after], outcome.result))
    yield _check(len(result.outcomes) == len(EXPECTED), "each once", result.outcomes)
    yield _check(any(outcome.timeout for outcome in result.outcomes), "one that has no end is noticed")
    text = said.getvalue()
    yield _check("part.c:13: return a * 3; -> return a * 4;" in text, "what survived is named", text)
    yield _check(status == 1 and "FAILED part.c: 67 % noticed, expected 90 %" in text and "0 passed, 1 failed, 0 skipped" in text,
                 "a file with too many of them fails", text)
    result.at_least = 66
    with contextlib.redirect_stdout(said):
        yield _check(result.close() == 0, "... but not one with fewer")
    yield _check(copy.read("part.c") == PROJECT["part.c"], "the copy is as it was")
    copy.write("test_part.c", "int main(void) { return 1; }\n")
    try:
        campaign.Campaign([copy], lambda text: None).prepare(["part.c"], 1)
        yield _check(False, "a test that fails without a mutant is refused")
    except campaign.Refused as error:
        yield _check("test_part failed without any mutant" in str(error), "a test that fails without a mutant is refused", error)


def run(root):
    """Runs all of them. Returns the exit status."""
    results = list(_places())
    os.makedirs(os.path.join(root, "build"), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="mutate-", dir=os.path.join(root, "build"))
    try:
        source = os.path.join(folder, "source")
        os.makedirs(source)
        for name, text in PROJECT.items():
            with open(os.path.join(source, name), "w", encoding="utf-8") as file:
                file.write(text)
        results += _lists(source)
        os.unlink(os.path.join(source, "equivalent"))
        for name in ("copy", "at"):
            os.makedirs(os.path.join(folder, name))
        results += _cells(root, os.path.join(folder, "copy"), os.path.join(folder, "at"))
        results += _campaign(folder)
    finally:
        shutil.rmtree(folder)
    print("%d passed, %d failed, 0 skipped" % (sum(results), len(results) - sum(results)))
    return 0 if all(results) else 1
