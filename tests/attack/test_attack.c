/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody who has taken over a worker has won nothing but that device. Each power that a policy
 * leaves is used as an attacker would use it, and the test asserts the bound (powers.h). This
 * machine's kernel need not have vhost. attack-vhost tries what workers of vhost can do, in the
 * backend VM.
 */
#include "tests/attack/test_attack.h"
#include "tests/standin/net_fixture.h"

int main(int argc, char **argv)
{
    static const CU_TestInfo *const lists[] = {common_tests, backend_tests, daemon_tests, NULL};
    return net_fixture_namespace() ? attack_main(lists, argc, argv) : 1;
}
