// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/conf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UART_CLOCK   115200u

// A piece of the text. Nothing here is NUL-terminated.
struct span {
    const char *at;
    size_t len;
};

struct parser {
    const struct conf_schema *schema;
    conf_open *open;
    void *context;
    struct conf_error *error;
    const struct conf_section *section;
    void *out;
    uint64_t seen_keys;     // of this section, by index
    uint32_t seen_sections; // by index, those without a name
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char to_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static struct span trim(struct span s)
{
    while (s.len && is_blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

static bool span_is(struct span s, const char *text)
{
    size_t i = 0;
    while (i < s.len && text[i] && s.at[i] == text[i])
        i++;
    return i == s.len && !text[i];
}

static bool span_is_word(struct span s, const char *word)
{
    size_t i = 0;
    while (i < s.len && word[i] && to_lower(s.at[i]) == word[i])
        i++;
    return i == s.len && !word[i];
}

// Cut off what is before the first blank (or `separator`) and return it; *s keeps the rest.
static struct span take_word(struct span *s, char separator)
{
    struct span word = {s->at, 0};
    while (word.len < s->len && s->at[word.len] != separator &&
           !(separator == ' ' && is_blank(s->at[word.len])))
        word.len++;
    size_t used = word.len < s->len ? word.len + 1 : word.len;
    s->at += used;
    s->len -= used;
    return trim(word);
}

static bool fail(struct conf_error *error, struct span at, const char *what)
{
    size_t n = at.len < sizeof(error->key) - 1 ? at.len : sizeof(error->key) - 1;
    for (size_t i = 0; i < n; i++)
        error->key[i] = (char)(at.at[i] >= ' ' && at.at[i] <= '~' ? at.at[i] : '?');
    error->key[n] = 0;
    error->what = what;
    return false;
}

// ---- values ----------------------------------------------------------------------------------

static bool parse_number(struct span s, uint64_t *value)
{
    unsigned base = 10;
    uint64_t result = 0;
    if (s.len > 2 && s.at[0] == '0' && to_lower(s.at[1]) == 'x') {
        base = 16;
        s.at += 2;
        s.len -= 2;
    }
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = to_lower(s.at[i]);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16u;
        if (digit >= base || result > (UINT64_MAX - digit) / base)
            return false;
        result = result * base + digit;
    }
    *value = result;
    return true;
}

static bool find_word(const struct conf_word *words, struct span s, uint64_t *value)
{
    for (; words && words->word; words++) {
        if (span_is_word(s, words->word)) {
            *value = words->value;
            return true;
        }
    }
    return false;
}

// Value readers: store to `out` (NULL: check only); NULL on success, else what is wrong.

static const char *read_number(const struct conf_key *key, struct span s, void *out)
{
    uint64_t value;
    if (!find_word(key->words, s, &value)) {
        if (key->min > key->max)
            return "not one of the known words";
        if (!parse_number(s, &value))
            return "not a number";
        if (value < key->min || value > key->max)
            return "out of range";
    }
    if (out)
        *(uint64_t *)out = value;
    return NULL;
}

static const char *read_words(const struct conf_key *key, struct span s, void *out)
{
    uint64_t all = 0, value;
    for (s = trim(s); s.len; s = trim(s)) {
        if (!find_word(key->words, take_word(&s, ' '), &value))
            return "not one of the known words";
        all |= value;
    }
    if (out)
        *(uint64_t *)out = all;
    return NULL;
}

static const char *read_string(const struct conf_key *key, struct span s, void *out)
{
    if (s.len < key->min)
        return "empty";
    if (s.len >= key->max)
        return "too long";
    if (out) {
        char *text = out;
        for (size_t i = 0; i < s.len; i++)
            text[i] = s.at[i];
        text[s.len] = 0;
    }
    return NULL;
}

// "8n1": data bits, parity, stop bits, as LCR bits.
static bool parse_framing(struct span s, uint32_t *line_control)
{
    static const char parities[] = "noems";
    static const uint8_t parity_bits[] = {0x00, 0x08, 0x18, 0x28, 0x38};
    if (s.len != 3 || s.at[0] < '5' || s.at[0] > '8' || s.at[2] < '1' || s.at[2] > '2')
        return false;
    for (size_t i = 0; i < COUNT(parity_bits); i++) {
        if (to_lower(s.at[1]) == parities[i]) {
            *line_control = (uint32_t)(s.at[0] - '5') | (s.at[2] == '2' ? 4u : 0u) | parity_bits[i];
            return true;
        }
    }
    return false;
}

// Fields that are empty or absent keep the default that is in `out`.
static const char *read_serial(const struct conf_key *key, struct span s, void *out)
{
    struct conf_serial serial = {0};
    uint64_t value;
    (void)key;
    if (out)
        serial = *(struct conf_serial *)out;
    struct span baud = take_word(&s, ','), framing = take_word(&s, ','), port = take_word(&s, ',');
    if (s.len)
        return "wants BAUD[,DPS[,PORT]]";
    if (baud.len) {
        if (!parse_number(baud, &value) || !value || value > UART_CLOCK || UART_CLOCK % value ||
            UART_CLOCK / value > 0xffff)
            return "not a speed that divides 115200";
        serial.divisor = (uint32_t)(UART_CLOCK / value);
    }
    if (framing.len && !parse_framing(framing, &serial.line_control))
        return "framing is not like 8n1";
    if (port.len) {
        if (!parse_number(port, &value) || !value || value > 0xfff8 || value % 8)
            return "not an I/O port of a UART";
        serial.port = (uint32_t)value;
    }
    if (out)
        *(struct conf_serial *)out = serial;
    return NULL;
}

static const char *read_ignored(const struct conf_key *key, struct span s, void *out)
{
    (void)key, (void)s, (void)out;
    return NULL;
}

static const char *(*const readers[CONF_TYPE_COUNT])(const struct conf_key *, struct span,
                                                     void *) = {
    [CONF_NUMBER] = read_number, [CONF_WORDS] = read_words,     [CONF_STRING] = read_string,
    [CONF_SERIAL] = read_serial, [CONF_IGNORED] = read_ignored,
};

static bool set_key(const struct conf_section *section, void *out, uint64_t *seen, struct span name,
                    struct span value, struct conf_error *error)
{
    for (size_t i = 0; i < section->key_count; i++) {
        const struct conf_key *key = &section->keys[i];
        if (!span_is(name, key->name))
            continue;
        if (*seen & (1ull << i))
            return fail(error, name, "given twice");
        *seen |= 1ull << i;
        const char *what = readers[key->type](key, value, out ? (char *)out + key->offset : NULL);
        return what ? fail(error, name, what) : true;
    }
    return fail(error, name, "unknown key");
}

// ---- lines -----------------------------------------------------------------------------------

// Take the quotes off a value that begins with one. Inside quotes everything is literal, there is
// no escape; in a value that begins otherwise the quotes are part of it (Linux: dyndbg="file x
// +p").
static bool unquote(struct span *value)
{
    size_t quotes = 0;
    if (!value->len || value->at[0] != '"')
        return true;
    for (size_t i = 0; i < value->len; i++)
        quotes += value->at[i] == '"';
    if (quotes != 2 || value->at[value->len - 1] != '"')
        return false;
    value->at++;
    value->len -= 2;
    return true;
}

// A '#' outside quotes begins a comment at the start of a line or after a blank.
static struct span strip_comment(struct span line)
{
    bool quoted = false;
    for (size_t i = 0; i < line.len; i++) {
        if (line.at[i] == '"')
            quoted = !quoted;
        if (line.at[i] == '#' && !quoted && (i == 0 || is_blank(line.at[i - 1]))) {
            line.len = i;
            break;
        }
    }
    return trim(line);
}

static bool is_name(struct span s)
{
    if (!s.len || s.len >= CONF_NAME_SIZE)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = to_lower(s.at[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

static bool open_section(struct parser *p, size_t index, struct span name)
{
    char text[CONF_NAME_SIZE] = {0};
    const char *what = NULL;
    for (size_t i = 0; i < name.len; i++)
        text[i] = name.at[i];
    p->section = &p->schema->sections[index];
    p->seen_keys = 0;
    if (!p->section->has_name && (p->seen_sections & (1u << index)))
        return fail(p->error, (struct span){0}, "section given twice");
    p->seen_sections |= 1u << index;
    p->out = p->open(p->context, p->section, text, &what);
    return what ? fail(p->error, name, what) : true;
}

static bool parse_header(struct parser *p, struct span line)
{
    if (line.at[line.len - 1] != ']')
        return fail(p->error, line, "section without ]");
    struct span name = trim((struct span){line.at + 1, line.len - 2});
    struct span type = take_word(&name, ' ');
    name = trim(name);
    for (size_t i = 0; i < p->schema->section_count; i++) {
        const struct conf_section *section = &p->schema->sections[i];
        if (!section->name[0] || !span_is(type, section->name))
            continue;
        if (section->has_name ? !is_name(name) : name.len != 0)
            return fail(p->error, line,
                        section->has_name ? "wants a name: letters, digits, - _ ."
                                          : "takes no name");
        return open_section(p, i, name);
    }
    return fail(p->error, line, "unknown section");
}

static bool parse_line(struct parser *p, struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.at[i] < ' ' && line.at[i] != '\t')
            return fail(p->error, (struct span){0}, "control character");
    line = strip_comment(line);
    if (!line.len)
        return true;
    if (line.at[0] == '[')
        return parse_header(p, line);
    struct span value = line, key = take_word(&value, '=');
    if (key.len == line.len)
        return fail(p->error, key, "line is not key = value");
    value = trim(value);
    if (!unquote(&value))
        return fail(p->error, key, "quotes do not enclose the value");
    return set_key(p->section, p->out, &p->seen_keys, key, value, p->error);
}

// A sound file begins with an optional UTF-8 byte order mark. NULL: fine, and *s is behind it.
static const char *check_encoding(struct span *s)
{
    const unsigned char *b = (const unsigned char *)s->at;
    if (s->len > CONF_MAX_TEXT)
        return "file is too long";
    if (s->len >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff)))
        return "UTF-16 text: save it as UTF-8";
    if (s->len >= 3 && b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf) {
        s->at += 3;
        s->len -= 3;
    }
    return NULL;
}

bool conf_parse(const char *text, size_t len, const struct conf_schema *schema, conf_open *open,
                void *context, struct conf_error *error)
{
    struct parser p = {.schema = schema, .open = open, .context = context, .error = error};
    struct span rest = {text, len};
    *error = (struct conf_error){.line = 1};
    const char *what = check_encoding(&rest);
    if (what)
        return fail(error, (struct span){0}, what);
    for (size_t i = 0; i < schema->section_count; i++)
        if (!schema->sections[i].name[0] && !open_section(&p, i, (struct span){0}))
            return false;
    while (rest.len) {
        struct span line = take_word(&rest, '\n');
        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        if (!parse_line(&p, line))
            return false;
        error->line++;
    }
    return true;
}

// The next word of load options; blanks inside quotes do not end it. An open quote reaches to the
// end.
static struct span take_option(struct span *s)
{
    struct span word = {s->at, 0};
    bool quoted = false;
    while (word.len < s->len && (quoted || !is_blank(s->at[word.len])))
        if (s->at[word.len++] == '"')
            quoted = !quoted;
    s->at += word.len;
    s->len -= word.len;
    return word;
}

bool conf_parse_words(const char *text, size_t len, const struct conf_section *section, void *out,
                      struct conf_error *error)
{
    uint64_t seen = 0;
    struct span rest = trim((struct span){text, len});
    *error = (struct conf_error){0};
    for (bool first = true; rest.len; first = false, rest = trim(rest)) {
        struct span word = take_option(&rest), value = word, key = take_word(&value, '=');
        if (key.len == word.len) {
            if (first)
                continue;
            return fail(error, word, "option is not key=value");
        }
        if (!unquote(&value))
            return fail(error, key, "quotes do not enclose the value");
        if (!set_key(section, out, &seen, key, value, error))
            return false;
    }
    return true;
}

// ---- messages --------------------------------------------------------------------------------

static size_t append(char *buffer, size_t size, size_t at, const char *text)
{
    while (*text && at + 1 < size)
        buffer[at++] = *text++;
    return at;
}

void conf_error_format(const struct conf_error *error, const char *file, char *buffer, size_t size)
{
    char digits[12] = {0};
    size_t first = sizeof(digits) - 1, at = 0;
    if (!size)
        return;
    for (unsigned line = error->line; line; line /= 10)
        digits[--first] = (char)('0' + line % 10);
    at = append(buffer, size, at, file);
    if (error->line) {
        at = append(buffer, size, at, ":");
        at = append(buffer, size, at, digits + first);
    }
    at = append(buffer, size, at, ": ");
    if (error->key[0]) {
        at = append(buffer, size, at, error->key);
        at = append(buffer, size, at, ": ");
    }
    at = append(buffer, size, at, error->what ? error->what : "");
    buffer[at] = 0;
}
