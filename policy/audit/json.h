/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on stdout, one document at a time. These functions write commas and quotes. */
#ifndef POLICY_AUDIT_JSON_H
#define POLICY_AUDIT_JSON_H

#include <stdbool.h>
#include <stdint.h>

/* Opens an object '{' or an array '['. json_close() closes the innermost one; closing the outermost
 * one also ends the line. */
void json_open(char bracket);
void json_close(void);

/* Closes everything that is open: so an answer that breaks off can be parsed, too. */
void json_close_all(void);

/* The name of the next value, in an object. */
void json_key(const char *name);

/* Values. NULL becomes null. */
void json_text(const char *text);
void json_hex(uint64_t number); /* as a string: tools read numbers as doubles */
void json_number(uint64_t number);
void json_bool(bool value);

/* Key and value. */
void json_text_of(const char *name, const char *text);
void json_number_of(const char *name, uint64_t number);
void json_bool_of(const char *name, bool value);

/* Key, and an array of the parts of a text between which there is "; ". */
void json_parts_of(const char *name, const char *text);

#endif
