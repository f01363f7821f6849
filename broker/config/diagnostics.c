/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/internal.h"

#include <stdarg.h>
#include <string.h>

static bool is_before(struct config_mark a, struct config_mark b)
{
    return a.line < b.line || (a.line == b.line && a.column < b.column);
}

/* Insert in the order of the file. Diagnostics of one place stay in the order in which they were
 * found. */
static void add(struct config_diagnostics *diags, const struct config_diagnostic *item)
{
    if (item->severity == CONFIG_ERROR)
        diags->errors++;

    size_t at = diags->count;
    while (at > 0 && is_before(item->mark, diags->items[at - 1].mark))
        at--;
    if (diags->count == CONFIG_DIAGNOSTICS_MAX) {
        diags->omitted++;
        if (at == CONFIG_DIAGNOSTICS_MAX)
            return;
    } else {
        diags->count++;
    }
    struct config_diagnostic *place = &diags->items[at];
    memmove(place + 1, place, (diags->count - 1 - at) * sizeof(*place));
    *place = *item;
}

void config_error(struct config_diagnostics *diags, struct config_mark mark, const char *format,
                  ...)
{
    struct config_diagnostic item = {.severity = CONFIG_ERROR, .mark = mark};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item.text, sizeof(item.text), format, arguments);
    va_end(arguments);
    add(diags, &item);
}

void config_note(struct config_diagnostics *diags, struct config_mark mark, const char *format, ...)
{
    struct config_diagnostic item = {.severity = CONFIG_NOTE, .mark = mark};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item.text, sizeof(item.text), format, arguments);
    va_end(arguments);
    add(diags, &item);
}

void config_diagnostics_print(const struct config_diagnostics *diags, const char *path,
                              FILE *stream)
{
    for (size_t i = 0; i < diags->count; i++) {
        const struct config_diagnostic *item = &diags->items[i];
        fprintf(stream, "%s:", path);
        if (item->mark.line > 0)
            fprintf(stream, "%u:%u:", item->mark.line, item->mark.column);
        fprintf(stream, " %s%s\n", item->severity == CONFIG_NOTE ? "note: " : "", item->text);
    }
    if (diags->omitted > 0)
        fprintf(stream, "%s: %zu more %s left out\n", path, diags->omitted,
                diags->omitted == 1 ? "message is" : "messages are");
}
