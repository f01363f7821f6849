/* SPDX-License-Identifier: Apache-2.0 */
/* An earlier report of an audit: any file is refused with words, or differs in nothing from itself.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/audit/baseline.h"
#include "tests/fuzz/violated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct baseline baseline = {0};
    struct changes changes = {0};
    char error[BASELINE_ERROR] = "";
    if (!baseline_parse(data, size, &baseline, error)) {
        require(error[0] != '\0' && memchr(error, '\0', sizeof(error)), "no words");
        require(!strchr(error, '\n'), "words of several lines");
        return 0;
    }
    require(baseline.entries.count <= BASELINE_ENTRIES_MAX, "too many statements");
    require(changes_find(&baseline.entries, &baseline.entries, &changes) == 0, "changes_find");
    require(changes.count == 0, "a report differs from itself");
    free(changes.items);
    entries_free(&baseline.entries);
    return 0;
}
