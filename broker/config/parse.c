/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML to raw devices, with the event interface of libyaml: only this interface shows aliases, tags
 * and every position. A configuration needs no aliases, tags and the like: they hide what a file
 * says, or make it larger than it looks. They are reported wherever they stand, and reading goes
 * on.
 *
 * Each read_ function is called when the current event is the first event of a node, and returns
 * when the current event is the one after the node. After a syntax error the current event is
 * YAML_NO_EVENT for ever, and failed() is true.
 */
#include "broker/config/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current event */
    struct config_diagnostics *diags;
    const char *data; /* without a byte order mark */
    size_t size, taken;
    size_t depth; /* of lists and mappings, at the current event */
    bool ended;   /* an error, which was reported, has ended the reading */
    int error;    /* -ENOMEM */
};

/* A correct file needs 3. The time that libyaml takes grows with the square of the depth. */
#define DEPTH_MAX 16

static struct config_mark mark_of(yaml_mark_t mark)
{
    return (struct config_mark){(unsigned int)mark.line + 1, (unsigned int)mark.column + 1};
}

static struct config_mark here(const struct reader *reader)
{
    return mark_of(reader->event.start_mark);
}

/* The position of a byte that libyaml could not read as a character, and so did not count. */
static struct config_mark mark_of_offset(const struct reader *reader, size_t offset)
{
    struct config_mark mark = {1, 1};
    for (size_t i = 0; i < offset && i < reader->size; i++) {
        unsigned char byte = (unsigned char)reader->data[i];
        bool is_crlf = byte == '\n' && i > 0 && reader->data[i - 1] == '\r'; /* its second byte */
        if (byte == '\r' || (byte == '\n' && !is_crlf))
            mark = (struct config_mark){mark.line + 1, 1};
        else if ((byte & 0xc0) != 0x80 && !is_crlf)
            mark.column++;
    }
    return mark;
}

static void report_syntax_error(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem ? parser->problem : "unknown problem";
    if (parser->error == YAML_MEMORY_ERROR) {
        reader->error = -ENOMEM;
    } else if (parser->error == YAML_READER_ERROR) {
        config_error(reader->diags, mark_of_offset(reader, parser->problem_offset),
                     "not text: %s; expected UTF-8 without control characters", problem);
    } else {
        config_error(reader->diags, mark_of(parser->problem_mark),
                     "not YAML: %s%s%s; expected the keys of a device one a line, all in the same "
                     "column, indented by spaces",
                     problem, parser->context ? " " : "", parser->context ? parser->context : "");
    }
}

static void report_anchor_and_tag(struct reader *reader, const yaml_char_t *anchor,
                                  const yaml_char_t *tag)
{
    if (anchor)
        config_error(reader->diags, here(reader),
                     "anchor \"&%s\"; expected none: aliases are not used in this file",
                     config_quote((const char *)anchor).text);
    static const char standard[] = "tag:yaml.org,2002:"; /* "!!" stands for this */
    bool is_standard = tag && strncmp((const char *)tag, standard, strlen(standard)) == 0;
    if (tag)
        config_error(reader->diags, here(reader),
                     "tag \"%s%s\"; expected none: the keys have fixed types",
                     is_standard ? "!!" : "",
                     config_quote((const char *)tag + (is_standard ? strlen(standard) : 0)).text);
}

/* Called once for each event. */
static void report_unwanted(struct reader *reader)
{
    const yaml_event_t *event = &reader->event;
    if (event->type == YAML_ALIAS_EVENT)
        config_error(reader->diags, here(reader),
                     "alias \"*%s\"; expected the value itself: aliases are not used in this file",
                     config_quote((const char *)event->data.alias.anchor).text);
    else if (event->type == YAML_SCALAR_EVENT)
        report_anchor_and_tag(reader, event->data.scalar.anchor, event->data.scalar.tag);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        report_anchor_and_tag(reader, event->data.sequence_start.anchor,
                              event->data.sequence_start.tag);
    else if (event->type == YAML_MAPPING_START_EVENT)
        report_anchor_and_tag(reader, event->data.mapping_start.anchor,
                              event->data.mapping_start.tag);
    else if (event->type == YAML_DOCUMENT_START_EVENT &&
             event->data.document_start.tag_directives.start !=
                 event->data.document_start.tag_directives.end)
        config_error(reader->diags, here(reader),
                     "%%TAG directive; expected none: the keys have fixed types");
}

static bool has(const struct reader *reader, yaml_event_type_t type)
{
    return reader->event.type == type;
}

static bool failed(const struct reader *reader)
{
    return reader->ended || reader->error != 0;
}

static bool begins_collection(const struct reader *reader)
{
    return has(reader, YAML_SEQUENCE_START_EVENT) || has(reader, YAML_MAPPING_START_EVENT);
}

static bool ends_collection(const struct reader *reader)
{
    return has(reader, YAML_SEQUENCE_END_EVENT) || has(reader, YAML_MAPPING_END_EVENT);
}

static void end(struct reader *reader)
{
    yaml_event_delete(&reader->event); /* sets YAML_NO_EVENT */
    reader->ended = true;
}

/* Make the next event the current one. */
static void advance(struct reader *reader)
{
    if (failed(reader))
        return;
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        report_syntax_error(reader);
        end(reader);
        return;
    }
    report_unwanted(reader);
    reader->depth += begins_collection(reader);
    reader->depth -= ends_collection(reader);
    if (reader->depth > DEPTH_MAX) {
        config_error(
            reader->diags, here(reader),
            "lists or mappings more than %d deep; expected a list of devices with simple keys",
            DEPTH_MAX);
        end(reader);
    }
}

static void skip_node(struct reader *reader)
{
    size_t depth = 0;
    do {
        depth += begins_collection(reader);
        depth -= ends_collection(reader);
        advance(reader);
    } while (depth > 0 && !failed(reader));
}

/* Words for the node that begins here, for a message. */
static const char *node_words(const struct reader *reader)
{
    if (has(reader, YAML_SEQUENCE_START_EVENT))
        return "a list";
    if (has(reader, YAML_MAPPING_START_EVENT))
        return "a mapping of keys";
    return "a single value";
}

/* Is the current event the name of a key? If not, it is reported. */
static bool is_key_name(struct reader *reader)
{
    if (has(reader, YAML_ALIAS_EVENT))
        return false; /* it has been reported already */
    if (has(reader, YAML_SCALAR_EVENT))
        return true;
    config_error(reader->diags, here(reader), "%s as a key; expected the name of a key",
                 node_words(reader));
    return false;
}

static const char *scalar_text(const struct reader *reader)
{
    return (const char *)reader->event.data.scalar.value;
}

static void read_scalar(struct reader *reader, enum config_key key, struct raw_value *value)
{
    const struct raw_scalar scalar = {
        .text = scalar_text(reader),
        .length = reader->event.data.scalar.length,
        .plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE,
    };
    int result = key_read_value(key, &scalar, value, reader->diags);
    if (result < 0)
        reader->error = result;
}

static void read_list(struct reader *reader, enum config_key key, struct raw_value *value)
{
    const struct config_mark mark = value->mark;
    bool valid = true;
    advance(reader);
    while (!has(reader, YAML_SEQUENCE_END_EVENT) && !failed(reader)) {
        value->mark = here(reader); /* the mark of the item, for messages about the item */
        value->valid = false;
        if (has(reader, YAML_SCALAR_EVENT))
            read_scalar(reader, key, value);
        else if (!has(reader, YAML_ALIAS_EVENT))
            config_error(reader->diags, value->mark, "%s in %s; expected %s", node_words(reader),
                         key_infos[key].name, key_infos[key].expected);
        valid = valid && value->valid;
        skip_node(reader);
    }
    value->valid = valid;
    value->mark = mark;
    advance(reader);
}

static void read_value(struct reader *reader, enum config_key key, struct raw_value *value)
{
    value->mark = here(reader);
    if (has(reader, YAML_SEQUENCE_START_EVENT) && key_takes_list(key)) {
        read_list(reader, key, value);
        return;
    }
    if (has(reader, YAML_SCALAR_EVENT)) {
        read_scalar(reader, key, value);
    } else if (!has(reader, YAML_ALIAS_EVENT) && !failed(reader)) {
        config_error(reader->diags, value->mark, "%s is %s; expected %s", key_infos[key].name,
                     node_words(reader), key_infos[key].expected);
    }
    skip_node(reader);
}

static void report_unknown_key(struct reader *reader, struct raw_device *device)
{
    const char *name = scalar_text(reader);
    enum config_key nearest = key_nearest(name);
    if (nearest != CONFIG_KEYS) {
        device->mistyped |= 1ull << nearest;
        config_error(reader->diags, here(reader), "unknown key \"%s\"; did you mean \"%s\"?",
                     config_quote(name).text, key_infos[nearest].name);
        return;
    }
    struct word_list names = {0};
    for (enum config_key key = 0; key < CONFIG_KEYS; key++)
        config_list_add(&names, key_infos[key].name);
    config_error(reader->diags, here(reader), "unknown key \"%s\"; expected one of %s",
                 config_quote(name).text, names.text);
}

static void read_key_and_value(struct reader *reader, struct raw_device *device)
{
    if (!is_key_name(reader)) {
        skip_node(reader);
        skip_node(reader);
        return;
    }
    enum config_key key = key_find(scalar_text(reader));
    if (key == CONFIG_KEYS) {
        report_unknown_key(reader, device);
        advance(reader);
        skip_node(reader);
        return;
    }
    struct raw_value *value = &device->values[key];
    if (value->given) {
        config_error(reader->diags, here(reader),
                     "%s a second time in this device; expected once (first in line %u)",
                     key_infos[key].name, value->key_mark.line);
        advance(reader);
        skip_node(reader);
        return;
    }
    value->given = true;
    value->key_mark = here(reader);
    advance(reader);
    read_value(reader, key, value);
}

static void read_device(struct reader *reader, struct raw_config *raw)
{
    struct config_mark mark = here(reader);
    if (!has(reader, YAML_MAPPING_START_EVENT)) {
        if (!has(reader, YAML_ALIAS_EVENT))
            config_error(reader->diags, mark,
                         "%s in the place of a device; expected its keys, beginning by \"- id:\"",
                         node_words(reader));
        skip_node(reader);
        return;
    }
    struct raw_device *device = &raw->devices[raw->device_count++];
    device->mark = mark;
    advance(reader);
    while (!has(reader, YAML_MAPPING_END_EVENT) && !failed(reader))
        read_key_and_value(reader, device);
    device->complete = !failed(reader);
    advance(reader);
}

static void read_devices(struct reader *reader, struct raw_config *raw)
{
    struct config_mark mark = here(reader);
    if (!has(reader, YAML_SEQUENCE_START_EVENT)) {
        if (!has(reader, YAML_ALIAS_EVENT) && !failed(reader))
            config_error(reader->diags, mark,
                         "devices is no list; expected a device after each \"-\"");
        skip_node(reader);
        return;
    }
    advance(reader);
    if (has(reader, YAML_SEQUENCE_END_EVENT))
        config_error(reader->diags, mark, "devices is empty; expected at least one device");
    while (!has(reader, YAML_SEQUENCE_END_EVENT) && !failed(reader)) {
        if (raw->device_count == BAO_DEVICES_MAX) {
            config_error(reader->diags, here(reader), "a device too many; expected %d at most",
                         BAO_DEVICES_MAX);
            while (!has(reader, YAML_SEQUENCE_END_EVENT) && !failed(reader))
                skip_node(reader);
            break;
        }
        read_device(reader, raw);
    }
    advance(reader);
}

/* Is the key at the top of the file `devices`, or probably meant to be? If not `devices`, report
 * it. */
static bool is_devices_key(struct reader *reader)
{
    static const char *const devices = "devices";
    const char *name = scalar_text(reader);
    if (strcmp(name, devices) == 0)
        return true;
    bool is_similar = config_nearest_word(name, &devices, 1) == 0;
    if (is_similar)
        config_error(reader->diags, here(reader), "unknown key \"%s\"; did you mean \"devices\"?",
                     config_quote(name).text);
    else if (key_find(name) != CONFIG_KEYS)
        config_error(reader->diags, here(reader),
                     "%s outside of a device; expected it under \"devices:\", after a \"-\"", name);
    else
        config_error(reader->diags, here(reader),
                     "unknown key \"%s\"; the only key here is \"devices\"",
                     config_quote(name).text);
    return is_similar;
}

/* Read a key at the top of the file and its value. Returns true if there is a list of devices by
 * now. */
static bool read_top_key(struct reader *reader, struct raw_config *raw, bool seen)
{
    struct config_mark mark = here(reader);
    bool is_devices = is_key_name(reader) && is_devices_key(reader);
    skip_node(reader);
    if (is_devices && !seen) {
        read_devices(reader, raw);
        return true;
    }
    if (is_devices)
        config_error(reader->diags, mark, "devices a second time; expected one list");
    skip_node(reader);
    return seen;
}

static void read_document(struct reader *reader, struct raw_config *raw)
{
    struct config_mark mark = here(reader);
    if (!has(reader, YAML_MAPPING_START_EVENT)) {
        if (!has(reader, YAML_ALIAS_EVENT) && !failed(reader))
            config_error(reader->diags, mark,
                         "%s at the top; expected \"devices:\" and a list of devices",
                         node_words(reader));
        skip_node(reader);
        return;
    }
    bool has_devices = false;
    advance(reader);
    while (!has(reader, YAML_MAPPING_END_EVENT) && !failed(reader))
        has_devices = read_top_key(reader, raw, has_devices);
    if (!has_devices && !failed(reader))
        config_error(reader->diags, mark,
                     "no devices; expected \"devices:\" and a list of devices");
    advance(reader);
}

static void read_stream(struct reader *reader, struct raw_config *raw)
{
    advance(reader); /* the start of the stream */
    advance(reader);
    if (has(reader, YAML_STREAM_END_EVENT))
        config_error(reader->diags, (struct config_mark){1, 1},
                     "the file is empty; expected \"devices:\" and a list of devices");
    if (!has(reader, YAML_DOCUMENT_START_EVENT))
        return;
    advance(reader);
    read_document(reader, raw);
    if (has(reader, YAML_DOCUMENT_END_EVENT))
        advance(reader);
    if (has(reader, YAML_DOCUMENT_START_EVENT))
        config_error(reader->diags, here(reader),
                     "a second document; expected one: all devices in one list");
}

/*
 * Gives libyaml its input byte by byte. libyaml decodes all input that it has before it parses any
 * of it, so in a larger piece a bad byte would hide the errors before it.
 */
static int give_byte(void *data, unsigned char *buffer, size_t size, size_t *ret_size)
{
    struct reader *reader = data;
    bool has_more = size > 0 && reader->taken < reader->size;
    if (has_more)
        *buffer = (unsigned char)reader->data[reader->taken++];
    *ret_size = has_more;
    return 1;
}

int config_parse_yaml(const char *data, size_t size, struct raw_config *ret,
                      struct config_diagnostics *diags)
{
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    bool has_bom = size >= sizeof(byte_order_mark) &&
                   memcmp(data, byte_order_mark, sizeof(byte_order_mark)) == 0;
    size_t skipped = has_bom ? sizeof(byte_order_mark) : 0;
    struct reader reader = {.diags = diags, .data = data + skipped, .size = size - skipped};
    if (!yaml_parser_initialize(&reader.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input(&reader.parser, give_byte, &reader);
    read_stream(&reader, ret);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return reader.error;
}

void config_raw_free(const struct raw_config *raw)
{
    for (size_t i = 0; i < raw->device_count; i++) {
        for (size_t key = 0; key < CONFIG_KEYS; key++)
            free(raw->devices[i].values[key].text);
    }
}
