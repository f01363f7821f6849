/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attacks over the kernel's vhost, for a kernel that has it: attack-vhost runs in the backend
 * VM (tests/vm/storms.sh), with the modules loaded and the attacker's programs in a folder of their
 * own, which BVDM_ATTACKERS names.
 */
#include "tests/attack/test_attack.h"
#include "tests/standin/net_fixture.h"

int main(int argc, char **argv)
{
    static const CU_TestInfo *const lists[] = {vhost_tests, NULL};
    return net_fixture_namespace() ? attack_main(lists, argc, argv) : 1;
}
