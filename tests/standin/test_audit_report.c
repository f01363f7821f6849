/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of an audit as evidence: it is what its schema says, it names what was looked at, it
 * is written whole or not at all so that it can be signed, and a later one tells what is different,
 * and nothing else.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/audit_session.h"
#include "tests/standin/fixture.h"

#define DEVICES 3u

static struct fixture fixture;

static void start(void)
{
    char yaml[768];
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    snprintf(yaml, sizeof(yaml),
             "devices:\n"
             "  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0x%llx\n"
             "    file_path: \"@/disk.img\"\n"
             "  - id: 1\n    type: vsock\n    data_plane: virtio\n    mmio_addr: 0x%llx\n"
             "    guest_cid: 3\n    socket_path: \"@/v.sock\"\n"
             "  - id: 2\n    type: console\n    data_plane: virtio\n    mmio_addr: 0x%llx\n",
             (unsigned long long)fixture_base(0), (unsigned long long)fixture_base(1),
             (unsigned long long)fixture_base(2));
    fixture_configure(&fixture, yaml);
    fixture_start(&fixture, DEVICES, DEVICES);
}

static void stop(void)
{
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* In the fixture's directory, where the reports are kept. */
static int audit(const char *options)
{
    return audit_ask("cd '%s' && timeout 100 " PROGRAM_DIR "/bao-dmctl --control ./control audit "
                     "%s 2>&1",
                     fixture.dir, options);
}

static int shell(const char *command)
{
    return audit_ask("cd '%s' && { %s; } 2>&1", fixture.dir, command);
}

static void expect_nothing_different(void)
{
    int status = audit("--against kept.json");
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT(audit_says("\n0 changes since the report of 2"));
    CU_ASSERT(audit_says(", 0 not as expected\n"));
    if (status != 0)
        puts(audit_answer);
}

/* ---- A report ---- */

static void it_is_what_its_schema_says(void)
{
    start();
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
    CU_ASSERT_EQUAL(shell(ACCEPTS " " SCHEMA " <kept.json"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
    CU_ASSERT_EQUAL(shell(SHAPE " " DOCUMENT " verify <kept.json"), 0);
    /* Also that of a comparison, and one of a single process. */
    audit_add_fd(standin_pid(fixture.standin));
    CU_ASSERT_EQUAL(audit("--json --against kept.json --output changed.json"), 1);
    CU_ASSERT_EQUAL(shell(ACCEPTS " " SCHEMA " <changed.json"), 0);
    CU_ASSERT_EQUAL(shell(SHAPE " " DOCUMENT " verify <changed.json"), 0);
    CU_ASSERT_EQUAL(audit_run("verify %d --json | " ACCEPTS " " SCHEMA, fixture.workers[0]), 0);
    stop();
}

/* By other tools: sha256sum, uname, date. */
static void it_names_what_was_looked_at(void)
{
    start();
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    CU_ASSERT_EQUAL(
        shell("sha256sum " PROGRAM_DIR "/bao-* *.yaml >sums; uname -rvm >uname; "
              "date -u +%Y-%m-%dT%H >date; " PROGRAM_DIR "/bao-seccomp hash >policies; "
              "python3 -c \"import json; d = json.load(open('kept.json'));\n"
              "sums = {l.split()[1]: l.split()[0] for l in open('sums')}\n"
              "policies = {tuple(reversed(l.split())) for l in open('policies')}\n"
              "k = d['kernel']; u = open('uname').read().strip()\n"
              "assert ' '.join((k['release'], k['version'], k['machine'])) == u, (k, u)\n"
              "assert d['time'][:13] <= open('date').read().strip(), d['time']\n"
              "d['processes'] = [p for p in d['processes'] if p['role'] != 'holder']\n"
              "assert len(d['processes']) == 6, d['processes']\n"
              "assert all(p['sha256'] == sums[p['program']] for p in d['processes'])\n"
              "assert d['auditor']['sha256'] == sums['" PROGRAM_DIR "/bao-seccomp']\n"
              "c, = d['configurations']\n"
              "assert c['sha256'] == sums[c['file'].rsplit('/')[-1]], c\n"
              "assert all(p['configuration'] == c['file'] for p in d['processes'])\n"
              "assert len(d['policies']) > 10\n"
              "assert {(p['arch'] + '/' + p['policy'], p['sha256']) for p in d['policies']} <= "
              "policies\""),
        0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
    /* And for people. */
    CU_ASSERT_EQUAL(audit("--output report.txt"), 0);
    CU_ASSERT_EQUAL(shell("grep -F \"$(sha256sum <" PROGRAM_DIR "/bao-virtio-worker | cut -c-64)\" "
                          "report.txt && "
                          "grep -F \"$(cat *.yaml | sha256sum | cut -c-64)\" report.txt"),
                    0);
    CU_ASSERT_EQUAL(audit("--markdown --output report.md"), 0);
    CU_ASSERT_EQUAL(shell("grep -F \"$(sha256sum <" PROGRAM_DIR
                          "/bao-virtio-worker | cut -c-64)\" report.md && "
                          "grep -F \"$(cat *.yaml | sha256sum | cut -c-64)\" report.md"),
                    0);
    stop();
}

/* ---- Two reports ---- */

/* Other pids, sockets and fd numbers of keeper and broker are nothing different. */
static void what_passes_is_not_different(void)
{
    uint64_t value;
    start();
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    expect_nothing_different();
    for (unsigned int i = 0; i < DEVICES; i++) {
        kill(fixture.workers[i], SIGKILL);
        CU_ASSERT_EQUAL(standin_read(fixture.standin, i, fixture_base(i), 4, &value, 20000), 0);
    }
    expect_nothing_different();
    kill(fixture.broker, SIGKILL);
    CU_ASSERT(fixture_wait_broker(&fixture, fixture.broker) > 0);
    for (unsigned int i = 0; i < DEVICES; i++)
        CU_ASSERT_EQUAL(standin_read(fixture.standin, i, fixture_base(i), 4, &value, 20000), 0);
    expect_nothing_different();
    /* Any writer of JSON may have had it in hand. */
    CU_ASSERT_EQUAL(shell("python3 -c \"import json; d = json.load(open('kept.json'));\n"
                          "json.dump(d, open('kept.json', 'w'), separators=(',', ':'))\""),
                    0);
    expect_nothing_different();
    stop();
}

static void what_is_different_is_told(void)
{
    start();
    pid_t keeper = standin_pid(fixture.standin);
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    long fd = audit_add_fd(keeper);
    CU_ASSERT_EQUAL(audit("--against kept.json"), 1);
    CU_ASSERT(audit_says("keeper bao-virtio-dm, "));
    CU_ASSERT(audit_says(": fd\n  before  not there\n  now     not as expected: "
                         "anon_inode:[eventpoll] (expected: no such file)\n"));
    CU_ASSERT(audit_says("\n1 change since the report of 2"));
    /* What was wrong before as well is nothing different; but it is still wrong. */
    CU_ASSERT_EQUAL(audit("--json --output wrong.json"), 1);
    CU_ASSERT_EQUAL(audit("--against wrong.json"), 1);
    CU_ASSERT(audit_says("\n0 changes since "));
    CU_ASSERT(audit_says("  WRONG  fd "));
    audit_remove_fd(keeper, fd);
    expect_nothing_different();
    CU_ASSERT_EQUAL(audit("--against wrong.json --json"), 1);
    CU_ASSERT(audit_says("\"before\": \"not as expected: anon_inode:[eventpoll] (expected: no such "
                         "file)\", \"after\": null"));
    CU_ASSERT_EQUAL(audit("--against wrong.json --markdown"), 1);
    CU_ASSERT(audit_says("## Changes since the report of 2"));
    CU_ASSERT_EQUAL(shell("echo '# another line' >>\"$(ls -d *.yaml)\""), 0);
    CU_ASSERT_EQUAL(audit("--against kept.json"), 1);
    CU_ASSERT(audit_says(": configuration\n  before  as expected: the file is as it was read\n"
                         "  now     to know: the file has changed since it was read\n"));
    CU_ASSERT(audit_says("\n1 change since the report of 2"));
    stop();
}

/* Makes a report otherN.json of kept.json by each statement of Python. */
static void make_others(const char *const statements[][2], size_t count)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/statements", fixture.dir);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%s\n", statements[i][0]);
    CU_ASSERT_EQUAL(fclose(file), 0);
    CU_ASSERT_EQUAL(shell("python3 -c \"import json\n"
                          "for n, statement in enumerate(open('statements')):\n"
                          "    d = json.load(open('kept.json'))\n"
                          "    exec(statement)\n"
                          "    json.dump(d, open(f'other{n}.json', 'w'))\""),
                    0);
}

/* A process more, one less, another program, another kernel, another policy: each by name. */
static void each_part_is_compared(void)
{
    static const char *const cases[][2] = {
        {"d['host'] = 'elsewhere'", "machine: host\n  before  elsewhere\n"},
        {"d['kernel']['release'] = '1.0'", "machine: kernel\n  before  1.0\n"},
        {"d['kernel']['version'] = '#1'", "machine: kernel's version\n  before  #1\n"},
        {"d['auditor']['sha256'] = None", "auditor: sha256\n  before  \n"},
        {"next(p for p in d['policies'] if p['policy'] == 'block/virtio')['sha256'] = 'f' * 64",
         "policies: block/virtio\n  before  ffff"},
        {"d['policies'] = [p for p in d['policies'] if p['policy'] != 'block/virtio']",
         "policies: block/virtio\n  before  not there\n"},
        {"d['configurations'] = []", "configurations: "},
        {"next(p for p in d['processes'] if p['name'] == 'block 0')['sha256'] = 'e' * 64",
         ": program\n  before  " PROGRAM_DIR "/bao-virtio-worker, SHA-256 eeee"},
        {"d['processes'] = [p for p in d['processes'] if p['name'] != 'block 0']",
         ": program\n  before  not there\n  now     " PROGRAM_DIR "/bao-virtio-worker, SHA-256 "},
        {"next(p for p in d['processes'] if p['name'] == 'block 0')['name'] = 'block 7'",
         "\n2 changes since "},
        {"next(c for p in d['processes'] if p['name'] == 'block 0' for c in p['checks'] if "
         "c['check'] == 'fd 8')['found'] = '/dev/sda: the image'",
         ": fd 8\n  before  as expected: /dev/sda: the image\n"},
        {"d['time'] = '1999-12-31T00:00:00Z'; d['host'] = 'x'",
         "1 change since the report of 1999-12-31T00:00:00Z\n"},
    };
    start();
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    make_others(cases, sizeof(cases) / sizeof(cases[0]));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char options[40];
        snprintf(options, sizeof(options), "--against other%zu.json", i);
        CU_ASSERT_EQUAL(audit(options), 1);
        CU_ASSERT(audit_says(cases[i][1]));
        if (!strstr(cases[i][1], "2 changes"))
            CU_ASSERT(audit_says("\n1 change since "));
    }
    /* A passing thing of the earlier report is not missed. */
    CU_ASSERT_EQUAL(shell("python3 -c \"import json; d = json.load(open('kept.json'))\n"
                          "d['processes'][0]['checks'].append({'check': 'x', 'verdict': 'to know', "
                          "'expected': '', 'found': 'y', 'lasting': False})\n"
                          "d['processes'].append(dict(d['processes'][0], name='z', checks=["
                          "dict(d['processes'][0]['checks'][-1])]))\n"
                          "json.dump(d, open('kept.json', 'w'))\""),
                    0);
    expect_nothing_different();
    stop();
}

static void no_report_is_refused(void)
{
    static const char *const cases[][2] = {
        {"", "expected a report"},
        {"[]", "expected a report"},
        {"{\\\"report\\\": \\\"x\\\"}", "expected a report"},
        {"{", "line 2: expected JSON"},
        {"{\\\"report\\\": \\\"bao-virtio-dm audit\\\"}", "expected \"version\""},
        {"{\\\"report\\\": \\\"bao-virtio-dm audit\\\", \\\"version\\\": 2}",
         "expected a report of version 1, found 2"},
        {"{\\\"report\\\": \\\"bao-virtio-dm audit\\\", \\\"version\\\": 1}", "expected \"time\""},
    };
    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        audit_ask("cd '%s' && echo \"%s\" >no.json", fixture.dir, cases[i][0]);
        CU_ASSERT_EQUAL(audit("--against no.json --output kept"), 2);
        CU_ASSERT(audit_says(cases[i][1]));
    }
    /* YAML's alias stands for a large object in three bytes. */
    CU_ASSERT_EQUAL(shell("python3 -c \"import json; keys = {f'k{i}': 0 for i in range(2000)}\n"
                          "words = ['role', 'name', 'program', 'sha256', 'configuration']\n"
                          "one = json.dumps({**keys, **dict.fromkeys(words, 'x'), 'checks': []})\n"
                          "d = {'report': 'bao-virtio-dm audit', 'version': 1, 'time': '', "
                          "'host': '', 'kernel': dict.fromkeys(['release', 'version', 'machine'], "
                          "''), 'auditor': {'version': '', 'sha256': ''}, 'policies': [], "
                          "'configurations': []}\n"
                          "print(json.dumps(d)[:-1] + ', \\\"processes\\\": [&a ' + one + "
                          "', *a' * 20000 + ']}')\" >no.json"),
                    0);
    CU_ASSERT_EQUAL(audit("--against no.json"), 2);
    CU_ASSERT(audit_says("expected a report, found too many objects"));
    CU_ASSERT_EQUAL(audit("--against /no/such/file"), 2);
    CU_ASSERT(audit_says("/no/such/file: No such file or directory\n"));
    CU_ASSERT_EQUAL(shell("test -e kept"), 1);
    CU_ASSERT_EQUAL(audit_run("list --against x"), 2);
    CU_ASSERT(audit_says("--against with 'list': expected verify"));
    CU_ASSERT_EQUAL(audit_run("hash --output x"), 2);
    CU_ASSERT_EQUAL(audit_ask(PROGRAM_DIR "/bao-dmctl status --against x 2>&1"), 1);
    stop();
}

/* ---- A signature ---- */

static void it_is_written_whole_or_not_at_all(void)
{
    start();
    CU_ASSERT_EQUAL(shell("echo before >kept.json"), 0);
    CU_ASSERT_EQUAL(audit("--json --against /dev/null --output kept.json"), 2);
    CU_ASSERT_EQUAL(shell("cat kept.json"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "before\n");
    CU_ASSERT_EQUAL(audit("--json --output kept.json"), 0);
    CU_ASSERT_EQUAL(shell("python3 -m json.tool kept.json >/dev/null && stat -c %a kept.json"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "600\n");
    CU_ASSERT_EQUAL(audit("--json --output /no/such/kept.json"), 2);
    CU_ASSERT(audit_says("could not be written: No such file or directory\n"));
    CU_ASSERT_EQUAL(shell("ls -d kept.json*"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "kept.json\n"); /* nothing is left beside it */
    CU_ASSERT_EQUAL(shell("mkdir full && mount -t tmpfs -o size=4k none full"), 0);
    CU_ASSERT_EQUAL(audit("--json --output full/kept.json"), 2);
    CU_ASSERT_EQUAL(shell("ls full; umount full"), 0);
    CU_ASSERT_STRING_EQUAL(audit_answer, "");
    stop();
}

/* As docs/POLICY.md has it; any other tool signs a file as well. */
static void it_can_be_signed(void)
{
    start();
    CU_ASSERT_EQUAL(audit("--json --output report.json"), 0);
    CU_ASSERT_EQUAL(shell("ssh-keygen -q -t ed25519 -N '' -f key && "
                          "ssh-keygen -Y sign -f key -n bao-audit report.json && "
                          "echo \"auditor $(cat key.pub)\" >signers"),
                    0);
    static const char check[] = "ssh-keygen -Y verify -f signers -I auditor -n bao-audit "
                                "-s report.json.sig <report.json";
    CU_ASSERT_EQUAL(shell(check), 0);
    CU_ASSERT_EQUAL(audit("--against report.json"), 0);
    CU_ASSERT_EQUAL(shell("sed -i 's/as expected/As expected/' report.json"), 0);
    CU_ASSERT_NOT_EQUAL(shell(check), 0);
    stop();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it is what its schema says", it_is_what_its_schema_says},
        {"it names what was looked at", it_names_what_was_looked_at},
        {"what passes is not different", what_passes_is_not_different},
        {"what is different is told", what_is_different_is_told},
        {"each part is compared", each_part_is_compared},
        {"no report is refused", no_report_is_refused},
        {"it is written whole or not at all", it_is_written_whole_or_not_at_all},
        {"it can be signed", it_can_be_signed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "the report of an audit", tests);
}
