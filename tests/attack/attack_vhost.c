/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attacks on the kernel's vhost, for a kernel that has vhost. attack-vhost runs in the backend
 * VM (tests/vm/storms.sh), with the modules loaded. BVDM_ATTACKERS names the folder with the
 * attacker's programs.
 */
#include "tests/attack/test_attack.h"
#include "tests/standin/net_fixture.h"

int main(int argc, char **argv)
{
    static const CU_TestInfo *const lists[] = {vhost_tests, NULL};
    return net_fixture_namespace() ? attack_main(lists, argc, argv) : 1;
}
