# SPDX-License-Identifier: Apache-2.0
"""The tokens of a C file, without its comments and preprocessor lines."""

import bisect
import collections
import re

# start and end are offsets into the text; line counts from 1.
Token = collections.namedtuple("Token", "kind text start end line")

# Longest first. A line continued by a backslash belongs to the preprocessor line before it.
PATTERN = re.compile(r"""
    (?P<directive> (?<![^\n]) [ \t]* \# (?: \\\n | /\*.*?\*/ | [^\n] )* )
  | (?P<space>   (?: [ \t\r\n\f\v] | \\\n )+ )
  | (?P<comment> //[^\n]* | /\*.*?\*/ )
  | (?P<string>  (?: u8 | [uUL] )? " (?: \\. | [^"\\\n] )* " )
  | (?P<char>    [uUL]? ' (?: \\. | [^'\\\n] )+ ' )
  | (?P<number>  \.?[0-9] (?: [eEpP][+-] | [0-9A-Za-z_.] )* )
  | (?P<word>    [A-Za-z_] [A-Za-z0-9_]* )
  | (?P<op>      \.\.\. | <<= | >>= | -> | \+\+ | -- | << | >> | <= | >= | == | != | && | \|\|
               | [-+*/%&|^]= | [][(){}.&*+~!/%<>^|?:;=,-] )
""", re.VERBOSE | re.DOTALL)


class Unreadable(Exception):
    """The text is not C, or this lexer does not know enough of it."""


def tokens(text):
    """The words, numbers, strings, characters and operators of `text`, in order."""
    starts = [0] + [match.end() for match in re.finditer("\n", text)]
    found, position = [], 0
    while position < len(text):
        # Space before a '#' must not hide that the '#' is the first on its line.
        match = PATTERN.match(text, position)
        if match and match.lastgroup == "space":
            line_start = text.rfind("\n", 0, match.end()) + 1
            if text.startswith("#", match.end()) and line_start > match.start():
                match = PATTERN.match(text, line_start)
        if not match:
            line = bisect.bisect_right(starts, position)
            raise Unreadable("line %d: %r" % (line, text[position:position + 20]))
        if match.lastgroup not in ("space", "comment", "directive"):
            line = bisect.bisect_right(starts, match.start())
            found.append(Token(match.lastgroup, match.group(), match.start(), match.end(), line))
        position = match.end()
    return found
