/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration reader says about a file: pieces of it that are safe to show, lists of
 * words, the word that was probably meant, and all messages in the order of the file. */
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"
#include "tests/cunit_main.h"
#include "tests/unit/config_expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Words for messages ---- */

static void expect_quoted(const char *text, const char *expected)
{
    CU_ASSERT_STRING_EQUAL(config_quote(text).text, expected);
}

/* A terminal must not obey what a file says. */
static void control_characters_are_not_quoted(void)
{
    expect_quoted("\x1f|\x20|\x7e|\x7f|\x80", "?| |~|?|\x80");
    expect_quoted("\xc2\x80|\xc2\x9f|\xc2\xa0|\xc3\x80|\xc3\x9f",
                  "??|??|\xc2\xa0|\xc3\x80|\xc3\x9f");
    expect_quoted("\xc2", "\xc2");
    expect_quoted("\xc2\x7f", "\xc2?");
    expect_quoted("", "");
}

#define SIXTY "012345678901234567890123456789012345678901234567890123456789"

static void a_long_text_is_cut_between_characters(void)
{
    expect_quoted(SIXTY, SIXTY);
    expect_quoted(SIXTY "0", SIXTY "...");
    expect_quoted("x" SIXTY "0", "x"
                                 "01234567890123456789012345678901234567890123456789012345678...");
    expect_quoted(SIXTY "\xc3\xa9", SIXTY "...");
    expect_quoted("\xe2\x82\xac" SIXTY,
                  "\xe2\x82\xac"
                  "012345678901234567890123456789012345678901234567890123456...");
    expect_quoted("01234567890123456789012345678901234567890123456789012345678\xc3\xa9|",
                  "01234567890123456789012345678901234567890123456789012345678...");
    /* The character begins one or two bytes before the end of what fits. */
    expect_quoted("0123456789012345678901234567890123456789012345678901234567\xe2\x82\xac|",
                  "0123456789012345678901234567890123456789012345678901234567...");
    expect_quoted("01234567890123456789012345678901234567890123456789012345678\xe2\x82\xac|",
                  "01234567890123456789012345678901234567890123456789012345678...");
}

/* What is on a command line need not be UTF-8. */
static void bytes_without_a_character_are_cut_as_well(void)
{
    char text[100];
    memset(text, '\x81', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    expect_quoted(text, "...");
    text[0] = 'x';
    expect_quoted(text, "...");
}

static void a_list_has_each_word_once(void)
{
    struct word_list list = {0};
    static const char *const words[] = {"a", "net", "a", "network", "work", "net", "network", "et"};
    for (size_t i = 0; i < COUNT(words); i++)
        config_list_add(&list, words[i]);
    CU_ASSERT_STRING_EQUAL(list.text, "a, net, network, work, et");
    CU_ASSERT_EQUAL(list.length, strlen(list.text));
}

static void a_word_that_does_not_fit_is_left_out(void)
{
    struct {
        struct word_list list;
        char behind;
    } room = {.behind = 'x'};
    char word[sizeof(room.list.text)];
    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    config_list_add(&room.list, "begin");
    config_list_add(&room.list, word);
    CU_ASSERT_STRING_EQUAL(room.list.text, "begin");
    word[sizeof(word) - strlen("begin, ")] = '\0'; /* one byte too many, with the 0 at the end */
    config_list_add(&room.list, word);
    CU_ASSERT_STRING_EQUAL(room.list.text, "begin");
    word[sizeof(word) - strlen("begin, ") - 1] = '\0';
    config_list_add(&room.list, word);
    CU_ASSERT_EQUAL(strlen(room.list.text), sizeof(room.list.text) - 1);
    CU_ASSERT_EQUAL(room.behind, 'x');
}

static void expect_nearest(const char *word, const char *first, const char *second, size_t nearest)
{
    const char *const candidates[] = {first, second};
    CU_ASSERT_EQUAL(config_nearest_word(word, candidates, 2), nearest);
}

/* The fewer letters a word has, the fewer may be wrong. */
static void the_nearest_word(void)
{
    expect_nearest("abcdx", "zzzzz", "abcde", 1);
    expect_nearest("abcxx", "zzzzz", "abcde", 2);
    expect_nearest("abcdxx", "zzzzzz", "abcdef", 1);
    expect_nearest("abcxxx", "zzzzzz", "abcdef", 2);
    expect_nearest("abcdefxxx", "abcdefghi", "zzzzzz", 0);
    expect_nearest("abcdexxxx", "abcdefghi", "zzzzzz", 2);
    expect_nearest("ABCDX", "abcde", "ABxxx", 0); /* case does not count */
    expect_nearest("abcdx", "abcdy", "abcdz", 0); /* the first of two */
    expect_nearest("abcdx", "abcxyx", "abcdz", 1);
    expect_nearest("bcde", "zzzz", "abcde", 1);
    expect_nearest("abcd", "abxcd", "zzzz", 0);
    expect_nearest("acbd", "abcd", "zzzz", 2); /* two letters */
    expect_nearest("x", "y", "yy", 0);
    expect_nearest("", "a", "", 2);
}

/* "cid" for "guest_cid". */
static void a_part_of_a_word_is_near(void)
{
    expect_nearest("cid", "id", "guest_cid", 1);
    expect_nearest("CID", "xxx_cid", "guest_cid", 0);
    expect_nearest("id", "guest_cid", "other_id", 2);
}

static void long_words_are_near_to_none(void)
{
    static const char a32[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char a33[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char a31_b[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    expect_nearest(a31_b, a33, a32, 1);
    expect_nearest(a31_b, a33, a33, 2);
    expect_nearest(a32, a33, "b", 0); /* a part of it */
    expect_nearest(a33, a33, a32, 2);
}

/* ---- Diagnostics ---- */

static void diagnostics_are_in_the_order_of_the_file(void)
{
    diags = (struct config_diagnostics){0};
    config_error(&diags, (struct config_mark){3, 1}, "%s", "fourth");
    config_error(&diags, (struct config_mark){2, 5}, "second");
    config_note(&diags, (struct config_mark){2, 5}, "third");
    config_error(&diags, (struct config_mark){2, 4}, "first");
    config_error(&diags, (struct config_mark){3, 1}, "fifth");
    config_error(&diags, (struct config_mark){0}, "the file");
    CU_ASSERT_EQUAL(diags.errors, 5);
    config_expect_text("order", "f: the file\nf:2:4: first\nf:2:5: second\nf:2:5: note: third\n"
                                "f:3:1: fourth\nf:3:1: fifth\n");
}

static void no_more_diagnostics_are_written_than_there_is_room_for(void)
{
    static struct {
        struct config_diagnostics diags;
        char guard[sizeof(struct config_diagnostic)];
    } full;
    memset(full.guard, 'x', sizeof(full.guard));
    for (unsigned int i = CONFIG_DIAGNOSTICS_MAX + 2; i > 0; i--)
        config_error(&full.diags, (struct config_mark){i, 1}, "%u", i);
    CU_ASSERT_EQUAL(full.diags.items[0].mark.line, 1);
    CU_ASSERT_EQUAL(full.diags.items[CONFIG_DIAGNOSTICS_MAX - 1].mark.line, CONFIG_DIAGNOSTICS_MAX);
    for (size_t i = 0; i < sizeof(full.guard); i++)
        CU_ASSERT_EQUAL_FATAL(full.guard[i], 'x');
}

static void the_last_diagnostics_are_left_out(void)
{
    diags = (struct config_diagnostics){0};
    for (unsigned int i = 0; i < CONFIG_DIAGNOSTICS_MAX; i++)
        config_error(&diags, (struct config_mark){10 + i, 1}, "%u", i);
    char *text = config_printed();
    CU_ASSERT_PTR_NULL(strstr(text, "left out"));
    free(text);
    config_error(&diags, (struct config_mark){10 + CONFIG_DIAGNOSTICS_MAX, 1}, "left out");
    CU_ASSERT_EQUAL(diags.omitted, 1);
    text = config_printed();
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nf:73:1: 63\nf: 1 more message is left out\n"));
    free(text);
    config_error(&diags, (struct config_mark){11, 1}, "another");
    CU_ASSERT_EQUAL(diags.count, CONFIG_DIAGNOSTICS_MAX);
    CU_ASSERT_EQUAL(diags.errors, CONFIG_DIAGNOSTICS_MAX + 2);
    text = config_printed();
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "f:10:1: 0\nf:11:1: 1\nf:11:1: another\nf:12:1: 2\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nf:72:1: 62\nf: 2 more messages are left out\n"));
    free(text);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"control characters are not quoted", control_characters_are_not_quoted},
        {"a long text is cut between characters", a_long_text_is_cut_between_characters},
        {"bytes without a character are cut as well", bytes_without_a_character_are_cut_as_well},
        {"a list has each word once", a_list_has_each_word_once},
        {"a word that does not fit is left out", a_word_that_does_not_fit_is_left_out},
        {"the nearest word", the_nearest_word},
        {"a part of a word is near", a_part_of_a_word_is_near},
        {"long words are near to none", long_words_are_near_to_none},
        {"diagnostics are in the order of the file", diagnostics_are_in_the_order_of_the_file},
        {"no more diagnostics are written than there is room for",
         no_more_diagnostics_are_written_than_there_is_room_for},
        {"the last diagnostics are left out", the_last_diagnostics_are_left_out},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "words about the configuration", tests);
}
