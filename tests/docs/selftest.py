# SPDX-License-Identifier: Apache-2.0
"""Each kind of mistake that a page can have, once: all have to be found, and the good forms not."""

import blocks
from check import Result

# Words, a page, and a part of the first problem; None: no problem.
CASES = [
    ("a command that succeeds", "<!-- run -->\n\n    true\n", None),
    ("one that fails", "<!-- run -->\n\n    false; true\n", "exit status 1"),
    ("one that fails in a pipe", "<!-- run -->\n\n    false | cat\n", "exit status 1"),
    ("a name that is not set", "<!-- run -->\n\n    echo \"$no_such_name\"\n", "exit status"),
    ("a fence of sh that fails", "<!-- run -->\n```sh\nfalse\n```\n", "exit status 1"),
    ("sudo is nothing to root", "<!-- run -->\n\n    sudo test \"$(id -u)\" = 0\n", None),
    ("its /run is empty, its network its own",
     "<!-- run -->\n\n    test -z \"$(ls /run)\"; ip -4 address | grep -c inet | grep -x 1\n", None),
    ("a block without a mark", "Text\n\n    true\n", "not marked"),
    ("... in a fence", "```sh\ntrue\n```\n", "not marked"),
    ("a mark further up is not that of the block", "<!-- run -->\n\nText\n\n    true\n", "not marked"),
    ("a fence without a word", "```\nsudo true\n```\n", "a fence without a word"),
    ("text", "```text\nfalse\n```\n", None),
    ("a mark before what is no block of commands", "<!-- run -->\n```yaml\na: 1\n```\n", "not of commands"),
    ("a reason that there is not", "<!-- not run: lazy -->\n\n    true\n", "unknown reason"),
    ("an unknown stage", "<!-- run: on the moon -->\n\n    true\n", "unknown mark"),
    ("not run", "<!-- not run: board, really -->\n\n    fatload mmc 0 0x200000 bao.bin; go 0x200000\n", None),
    ("... but no shell", "<!-- not run: board -->\n\n    if true\n", "no shell"),
    ("... but with an option that there is not",
     "<!-- not run: bao -->\n\n    sudo bao-virtio-dm --configuration /etc/x.yaml &\n", "has no option --configuration"),
    ("... in the second line of a command",
     "<!-- not run: bao -->\n\n    bao-dmctl \\\n        stats --jason\n", "has no option --jason"),
    ("... with a command that there is not",
     "<!-- not run: bao -->\n\n    bao-dmctl --control /run/x.socket stop 0\n", "has no command stop"),
    ("... with those that there are", "<!-- not run: bao -->\n\n    true && bao-dmctl stats --watch 2 | cat\n", None),
    ("a command's own options are not ours",
     "<!-- not run: bao -->\n\n    bao-policy trace block/virtio -- ls --all\n", None),
    ("a file of the project that there is not",
     "<!-- not run: board -->\n\n    cp configs/examples/no-such.yaml /etc\n", "the project has no"),
    ("... below $demo", "<!-- not run: bao -->\n\n    make X=\"$demo/no-such-demo\"; true\n", None),
    ("... as a word", "<!-- not run: bao -->\n\n    \"$demo/no-such-program\" 1\n", "the project has no"),
    ("a step that there is", "<!-- not run: step demo -->\n\n    sudo ./tests/demo\n", None),
    ("a step that there is not", "<!-- not run: step dance -->\n\n    sudo ./tests/demo\n", "has no step"),
    ("a device model answers", "<!-- run: beside a device model -->\n\n    bao-dmctl status 2 | grep console\n", None),
    ("... and only there", "<!-- run -->\n\n    bao-dmctl status\n", "exit status"),
    ("the command's failure beside it", "<!-- run: beside a device model -->\n\n    bao-dmctl restart 7\n", "exit status"),
    ("a configuration",
     "```yaml\ndevices:\n  - {id: 0, type: rng, data_plane: virtio, mmio_addr: 0xa003e00}\n```\n", None),
    ("one that is refused", "```yaml\ndevices:\n  - {id: 0, type: rng, data_plane: virtio}\n```\n", "refuses"),
    ("JSON", "```json\n{\"a\": [1]}\n```\n", None),
    ("what is none", "```json\n{\"a\": [1}\n```\n", "no JSON"),
    ("a link", "# A heading, `here`\n[x](#a-heading-here) [y](README.md) [z](https://example.org/)\n", None),
    ("a link to a file that there is not", "[x](no/such.md)\n", "no such file"),
    ("a link to a heading that there is not", "# A\n[x](#b)\n", "no such heading"),
    ("... of another page", "[x](README.md#no-such-heading-of-it)\n", "no such heading"),
    ("a file that the text names", "See `broker/relay.c`, `policy/KIND.policy` and `attempt_next()`.\n", None),
    ("... and that there is not", "See `broker/replay.c`.\n", "the project has no broker/replay.c"),
    ("a function that there is not", "See `attempt_text()`.\n", "the project has no attempt_text()"),
    ("an item of a list is no command", "- item:\n\n    more of it\n", None),
]


def cases(checker):
    for words, page, expected in CASES:
        results = [checker.block(block) for block in blocks.read("PAGE.md", page)]
        results += list(checker.links("PAGE.md", page)) + list(checker.names("PAGE.md", page))
        problems = [result for result in results if result.problem]
        found = problems[0].problem if problems else None
        if (expected is None) == (found is None) and (expected or "") in (found or ""):
            yield Result("self-test", words)
        else:
            yield Result("self-test", words, "%s: expected %s, found %s" % (words, expected or "no problem", found),
                         problems[0].output if problems else page)
