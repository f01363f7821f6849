/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever has taken over a worker has won nothing but that device: each power that a policy leaves
 * is used as an attacker would, and what bounds it (powers.h) is asserted. This machine's kernel
 * need not have vhost: what its workers can try is attack-vhost's, in the backend VM.
 */
#include "tests/attack/test_attack.h"
#include "tests/standin/net_fixture.h"

int main(int argc, char **argv)
{
    static const CU_TestInfo *const lists[] = {common_tests, backend_tests, daemon_tests, NULL};
    return net_fixture_namespace() ? attack_main(lists, argc, argv) : 1;
}
