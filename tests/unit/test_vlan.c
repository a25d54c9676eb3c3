// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VLANs of a port: read, and refused.
#include <check.h>

#include "root/lib/vlan.h"

static struct port_vlan vlan;

static bool allowed(unsigned id)
{
    return vlan.allowed[id / 8] >> id % 8 & 1;
}

static unsigned allowed_count(void)
{
    unsigned count = 0;
    for (unsigned id = 0; id < SWITCH_VLANS; id++) {
        count += allowed(id);
    }
    return count;
}

START_TEST(none_and_access)
{
    static const struct {
        const char *text;
        unsigned native;
    } ports[] = {{"", 0}, {"  ", 0}, {"1", 1}, {" 7\t", 7}, {"4094", 4094}};

    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        ck_assert_msg(vlan_parse(ports[i].text, &vlan), "%s", ports[i].text);
        ck_assert_int_eq(vlan.mode, PORT_ACCESS);
        ck_assert_uint_eq(vlan.native, ports[i].native);
        ck_assert_uint_eq(allowed_count(), 0);
    }
}
END_TEST

START_TEST(trunks)
{
    ck_assert(vlan_parse("trunk 5-9,12", &vlan));
    ck_assert_int_eq(vlan.mode, PORT_TRUNK);
    ck_assert_uint_eq(vlan.native, 0);
    ck_assert(!allowed(4) && allowed(5) && allowed(9) && !allowed(10) && allowed(12));
    ck_assert_uint_eq(allowed_count(), 6);

    ck_assert(vlan_parse("3  trunk 1 4094", &vlan));
    ck_assert_int_eq(vlan.mode, PORT_TRUNK);
    ck_assert_uint_eq(vlan.native, 3);
    ck_assert(allowed(1) && allowed(4094) && allowed_count() == 2);

    ck_assert(vlan_parse("trunk 1-4094", &vlan));
    ck_assert_uint_eq(allowed_count(), 4094);
}
END_TEST

START_TEST(refused)
{
    static const char *const bad[] = {
        "0",         "4095",      "99999999999999999999",
        "-1",        "7,8",       "7 8",
        "x",         "7x",        "7trunk 5",
        "trunk",     "trunk ",    "trunk5",
        "trunk 0",   "trunk 0-5", "trunk 4095",
        "trunk 9-5", "0 trunk 5", "trunk 5 native 3",
        "tru",       "trunkx 5",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!vlan_parse(bad[i], &vlan), "%s", bad[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vlan");
    TCase *t = tcase_create("vlan");
    tcase_add_test(t, none_and_access);
    tcase_add_test(t, trunks);
    tcase_add_test(t, refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
